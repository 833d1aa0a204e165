"""The Fourier neural operator.

    v = P [u, x],    v ← σ(W_l v + b_l + K_l v),  l = 1..L,    u⁺ = Q₂ σ(Q₁ v),

without σ in the last of the L layers; K_l maps the lowest Fourier modes, W_l and b_l
each point (`_spectral_block.py`), P and Q the channels (`_fno_ends.py`).

Z. Li, N. Kovachki, K. Azizzadenesheli, B. Liu, K. Bhattacharya, A. Stuart, A.
Anandkumar, Fourier Neural Operator for Parametric Partial Differential Equations, ICLR
2021, arXiv 2010.08895, section 4 and figure 2.

Differs from the paper: no batch normalisation, as in the authors' later code.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key
from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._arguments import require_count, require_number
from ..training import arguments_of, register
from ._fno_ends import Ends, Frames, as_dtype, split_key
from ._gelu import gelu
from ._grid import Grid
from ._spectral import modes_per_axis
from ._spectral_block import SpectralBlock


class FNO(AbstractOperator):
    """A Fourier neural operator, for grids of any size with equally spaced points.

    It continues a field periodically along all axes. `padding` helps where the field
    is not periodic: the authors' code for Darcy flow adds 9 zeros to 85 points.

    Args:
        num_dimensions: axes of the grid, 1, 2 or 3.
        in_channels: of a frame of the input.
        out_channels: of the result.
        num_modes: the paper's k_max, one per axis or the same for all: the modes from 0
            to k_max - 1 of the last axis, from -k_max to k_max - 1 of the others.
        width: channels of v, the paper's d_v.
        num_layers: L.
        key: from which the weights are drawn.
        hidden_channels: between Q₁ and Q₂.
        num_frames: how many frames are the input, the oldest first.
        increment: whether the last frame is added to the result.
        padding: zeros behind the last point of the axes that are not periodic, as a
            part of their points.
        dtype: of the weights and of the computation; the result has that of the input.

    Raises:
        ValueError: another number of axes or modes, counts that are not positive, an
            increment of another number of channels, or a negative padding.

    Cost: per sample and layer, 2 width² operations per point, 8 width² per mode, and
    the transforms. In training, two fields of `width` channels are kept per layer, and
    two of `hidden_channels`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> model = no.FNO(2, 3, 1, num_modes=(4, 6), width=8, key=jax.random.key(0))
        >>> jax.jit(jax.vmap(model))(jnp.ones((5, 3, 16, 24))).shape
        (5, 1, 16, 24)
        >>> jax.eval_shape(model, jnp.ones((3, 128, 128))).shape
        (1, 128, 128)

    References:
        Li et al., ICLR 2021, arXiv 2010.08895.
    """

    ends: Ends
    layers: tuple[SpectralBlock, ...]
    padding: float = eqx.field(static=True)
    arguments: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __init__(
        self,
        num_dimensions: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        num_modes: int | Sequence[int] = 16,
        width: int = 32,
        num_layers: int = 4,
        *,
        key: Key[Array, ""],
        hidden_channels: int = 128,
        num_frames: int = 1,
        increment: bool = False,
        padding: float = 0.0,
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        self.arguments = arguments_of(locals())
        frames = Frames(
            num_dimensions, in_channels, out_channels, num_frames, increment
        )
        modes = modes_per_axis(num_modes, num_dimensions)
        require_count(num_layers, "num_layers")
        self.padding, dtype = as_padding(padding), as_dtype(dtype)
        first, *keys = split_key(key, 1 + num_layers)
        self.ends = Ends(frames, width, hidden_channels, key=first, dtype=dtype)
        self.layers = tuple(
            SpectralBlock(width, modes, key=key, dtype=dtype) for key in keys
        )

    @property
    @override
    def in_structure(self) -> None:
        return None

    @override
    def __call__(self, x: Any, grid: Grid | None = None) -> Float[Array, "..."]:
        """Return the prediction for the frames x.

        Args:
            x: of shape (num_frames in_channels, *shape).
            grid: where its values lie, by default `Grid.uniform` of the unit box.

        Raises:
            TypeError: grid is something else.
            ValueError: x is no real array of this many channels and axes, the grid has
                another shape, or it has fewer points than the modes need.
        """
        v, grid = self.ends.enter(x, grid)
        shape = grid.shape
        v = padded(v, grid.periodic, self.padding)
        *inner, last = self.layers
        for layer in inner:
            v = gelu(layer(v))
        v = last(v)[tuple(map(slice, shape))]
        return self.ends.leave(v, x)


register(FNO)


def padded(
    v: Float[Array, "*shape c"], periodic: Sequence[bool], padding: float
) -> Float[Array, "*padded c"]:
    """Return a field with zeros behind the axes that are not periodic."""
    if padding == 0:
        return v
    widths = [
        (0, 0 if is_periodic else math.ceil(padding * n))
        for n, is_periodic in zip(v.shape, periodic, strict=False)
    ]
    return jnp.pad(v, [*widths, (0, 0)])


def as_padding(padding: Any) -> float:
    """Return the part of an axis that is padded.

    Raises:
        ValueError: it is negative or not finite.
    """
    require_number(
        padding, "padding", 0, math.inf, "a part of an axis, 0 or more", closed=True
    )
    return float(padding)
