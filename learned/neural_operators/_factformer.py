"""The factorised transformer: blocks of axial attention, one after the other.

    v₀ = lift(x) + positions,   v_{i+1} = v_i + F_i(v_i),   u = project(v_L),

with distinct blocks F_i, as a rule of chained mixing: Z. Li, D. Shu, A. Barati
Farimani, Scalable Transformer for PDE Surrogate Modeling, NeurIPS 2023.

Differs from the source:
1. Its latent marching, by which it makes many frames at once, is not here; a model is
   applied to its own results.
2. Its blocks of convolutions are `downsample` (`_factformer_coarse.py`).
3. Maps after a mean are applied behind it, equal in exact arithmetic.
"""

from dataclasses import asdict
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key
from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._arguments import require_count, require_key
from ..training import register
from ._axial_kernel import Axis
from ._factformer_ends import Ends, Features, drawn_parts
from ._factformer_layout import Layout, Mixing, Norm, checked_layout
from ._factorised_block import FactorisedBlock
from ._grid import Grid


class FactFormer(AbstractOperator):
    """A factorised transformer of distinct blocks.

    Args:
        num_dimensions: axes of the grid, 1, 2 or 3.
        in_channels: of one frame.
        out_channels: of the result.
        width: number of features of a point, even.
        num_heads: of the attention along each axis.
        head_width: number of values of a head.
        num_layers: number of blocks.
        kernel_multiplier: width of queries and keys over `head_width`; published are 2
            in 2-D and 3 in 3-D.
        num_frames: as the following, described for `IFactFormer`.
        mixing: of the axes' kernels, published is "chained".
        norm: of what is mixed, published is "heads".
        num_output_mlps: perceptrons of two layers at the end of a block.
        feature_scale: deviation of the random frequencies of positions.
        quadrature: whether means and sums over points are integrals.
        periodic_rotary: whether cyclic shifts along periodic axes are kept exactly.
        increment: whether the result is added to the last frame.
        downsample: whether the blocks work at half the resolution.
        remat: whether the derivative computes blocks again instead of keeping them.
        dtype: of the weights and of the computation; the result has that of x.
        key: from which the weights are drawn.

    Attributes:
        ends: lift, positions and projection.
        blocks: F_i.

    Raises:
        ValueError: a setting that is out of range, or widths that do not fit.

    Cost: that of an `IFactFormer` with as many iterations.

    Examples:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> model = no.FactFormer(
        ...     2, 1, 1, width=16, num_heads=2, head_width=8, num_layers=2,
        ...     key=jax.random.key(0),
        ... )
        >>> eqx.filter_jit(model)(jnp.ones((1, 8, 9))).shape
        (1, 8, 9)

    References:
        Li et al., NeurIPS 2023, arXiv 2305.17560.
    """

    ends: Ends
    blocks: tuple[FactorisedBlock, ...]
    layout: Layout = eqx.field(static=True)

    def __init__(
        self,
        num_dimensions: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 128,
        num_heads: int = 8,
        head_width: int = 64,
        num_layers: int = 4,
        kernel_multiplier: int = 3,
        num_frames: int = 1,
        mixing: Mixing = "chained",
        norm: Norm = "heads",
        num_output_mlps: int = 1,
        feature_scale: float = 8.0,
        quadrature: bool = False,
        periodic_rotary: bool = False,
        increment: bool = False,
        downsample: bool = False,
        remat: bool = True,
        dtype: DTypeLike = jnp.float32,
        key: Key[Array, ""],
    ) -> None:
        require_count(num_layers, "num_layers")
        require_key(key)
        self.layout = checked_layout(
            num_dimensions=num_dimensions,
            in_channels=in_channels,
            out_channels=out_channels,
            width=width,
            num_heads=num_heads,
            head_width=head_width,
            kernel_multiplier=kernel_multiplier,
            num_frames=num_frames,
            mixing=mixing,
            norm=norm,
            num_output_mlps=num_output_mlps,
            feature_scale=feature_scale,
            quadrature=quadrature,
            periodic_rotary=periodic_rotary,
            increment=increment,
            downsample=downsample,
            remat=remat,
            dtype=dtype,
        )
        self.ends, self.blocks = drawn_parts(self.layout, int(num_layers), key)

    @property
    @override
    def in_structure(self) -> None:
        return None

    @override
    def __call__(self, x: Any, grid: Grid | None = None) -> Float[Array, "..."]:
        """Return the result on the grid of the input.

        Args:
            x: fields of shape (num_frames * in_channels, *shape), frame after frame.
            grid: of the points, by default the unit box with equal spacings and its
                ends, not periodic.

        Returns:
            Fields of shape (out_channels, *shape) in the dtype of x.

        Raises:
            TypeError: grid is something else.
            ValueError: other channels or axes, fields that are not real, a grid of
                another shape, or with `downsample` fewer than three points on an axis.
        """
        return self.ends(x, grid, self._advanced)

    def _advanced(self, v: Features, axes: tuple[Axis, ...]) -> Features:
        for block in self.blocks:
            change = eqx.filter_checkpoint(block) if self.layout.remat else block
            v = v + change(v, axes)
        return v


register(FactFormer, lambda m: {**asdict(m.layout), "num_layers": len(m.blocks)})
