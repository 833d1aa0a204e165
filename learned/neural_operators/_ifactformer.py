"""The implicit factorised transformer: one block of axial attention, iterated.

    v₀ = lift(x) + positions,   v_{l+1} = v_l + F(v_l) / L,   u = project(v_L),

with one F of few parameters, so that L steps are those of Euler's method for dv/dt =
F(v). The kernels of F are made anew of each v_l. With `equilibrium` it is one step of
the implicit Euler method instead, v = v₀ + F(v) (`_equilibrium.py`).

*Chained* mixing is IFactFormer-o: H. Yang, Z. Li, X. Wang, J. Wang, An implicit
factorized transformer with applications to fast prediction of three-dimensional
turbulence, Theor. Appl. Mech. Lett. 2024. *Parallel* mixing is IFactFormer-m: H. Yang
et al., arXiv 2412.18840.

Differs from the source:
1. Maps after a mean are applied behind it, equal in exact arithmetic.
2. The coordinates are those of the grid, where the published code has equally spaced
   ones on all axes, both ends of periodic ones included.
3. The states of the iterations are kept for the derivative and the rest is computed
   again.
"""

from dataclasses import asdict
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key
from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._arguments import require_count, require_key
from ..training import register
from ._axial_kernel import Axis
from ._equilibrium import Equilibrium
from ._factformer_ends import Ends, Features, drawn_parts
from ._factformer_layout import Layout, Mixing, Norm, checked_layout
from ._factorised_block import FactorisedBlock
from ._grid import Grid
from ._implicit_step import as_tolerance, require_tolerance, solved, value_or_nan


class IFactFormer(AbstractOperator):
    """A factorised transformer that iterates one block.

    Args:
        num_dimensions: axes of the grid, 1, 2 or 3.
        in_channels: of one frame.
        out_channels: of the result.
        width: number of features of a point, even.
        num_heads: of the attention along each axis.
        head_width: number of values of a head.
        num_iterations: L, of steps 1/L.
        kernel_multiplier: width of queries and keys over `head_width`.
        num_frames: how many states in time the input has, the last one last.
        mixing: of the axes' kernels, "parallel" (m) or "chained" (o).
        norm: of what is mixed: "instance", per channel over space; "slab", per index of
            the first axis over all else, as the code was when arXiv 2412.18840
            appeared; or "heads", per head, as in `FactFormer`.
        num_output_mlps: perceptrons of two layers at the end of a block.
        feature_scale: deviation of the random frequencies of positions, in periods per
            unit of length.
        quadrature: whether means and sums over points are integrals by the weights of
            the grid, so that the result converges on any sequence of grids. Without it,
            points count equally wherever they are.
        periodic_rotary: whether nothing but harmonics of the period says where on a
            periodic axis a point is, so that cyclic shifts of the input by whole cells
            are shifts of the result.
        increment: whether the result is added to the last frame.
        downsample: whether the blocks work on pairs of points, with half the resolution
            per axis (`_factformer_coarse.py`). Shifts are then those by pairs.
        remat: whether the derivative computes iterations again and keeps only their
            states: a sixth of the memory for 8 iterations, and no slower on CPUs.
        equilibrium: relative tolerance to which v = v₀ + F(v) is solved in the place of
            the iterations, 1e-4 for example; a deep equilibrium model. By default None,
            `num_iterations` of them. F is bounded, so that there is a solution; where
            none is found the result is NaN, and `model.equilibrium(x, grid)` says why.
            `remat` has then no effect. At least ten times the rounding unit of `dtype`,
            1.2e-6 in float32; not in 16 bits.
        dtype: of the weights and of the computation; the result has that of x.
        key: from which the weights are drawn.

    Attributes:
        ends: lift, positions and projection.
        block: F.

    Raises:
        ValueError: a setting that is out of range, or widths that do not fit.

    Cost: per iteration and N points 2 N [D H + H Σ n_a + c H D + D²] operations, D the
    width, H all heads' values, n_a the points of the axes and c their number, 1 for
    chained mixing. An equilibrium takes 2 or 3 evaluations of F without training; with
    weights that were trained for 6 iterations, 14 to 18 to a tolerance of 1e-3 and 17
    to 23 to 1e-4, and its derivative some 20 products with the Jacobian of F besides.
    On one core, at 32² points, width 32, 2 heads of 16 and 1e-3, a gradient took 49 ms
    instead of the 16 of 6 iterations, and four times as long to compile.

    Examples:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> model = no.IFactFormer(
        ...     2, 1, 1, width=16, num_heads=2, head_width=8, num_iterations=3,
        ...     key=jax.random.key(0),
        ... )
        >>> grid = no.Grid.uniform((8, 9), periodic=(True, False))
        >>> eqx.filter_jit(model)(jnp.ones((1, 8, 9)), grid).shape
        (1, 8, 9)
        >>> no.num_parameters(model)
        7161

    References:
        Yang et al., Theor. Appl. Mech. Lett. 2024 (o); arXiv 2412.18840 (m).
    """

    ends: Ends
    block: FactorisedBlock
    layout: Layout = eqx.field(static=True)
    num_iterations: int = eqx.field(static=True)
    rtol: float | None = eqx.field(static=True)

    def __init__(
        self,
        num_dimensions: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 96,
        num_heads: int = 5,
        head_width: int = 96,
        num_iterations: int = 10,
        kernel_multiplier: int = 3,
        num_frames: int = 1,
        mixing: Mixing = "parallel",
        norm: Norm = "instance",
        num_output_mlps: int = 1,
        feature_scale: float = 8.0,
        quadrature: bool = False,
        periodic_rotary: bool = False,
        increment: bool = False,
        downsample: bool = False,
        remat: bool = True,
        equilibrium: float | None = None,
        dtype: DTypeLike = jnp.float32,
        key: Key[Array, ""],
    ) -> None:
        require_count(num_iterations, "num_iterations")
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
        self.rtol = as_tolerance(equilibrium, self.layout.dtype)
        self.num_iterations = int(num_iterations)
        self.ends, (self.block,) = drawn_parts(self.layout, 1, key)

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
        if self.rtol is None:
            return self.ends(x, grid, self._iterated)
        return self.ends(x, grid, lambda v, axes: value_or_nan(self._solved(v, axes)))

    def equilibrium(self, x: Any, grid: Grid | None = None) -> Equilibrium:
        """Return v behind the iterations, whether it has converged, and its cost.

        Args:
            x: as for the call.
            grid: as for the call.

        Raises:
            TypeError: as for the call.
            ValueError: the model iterates, or as for the call.
        """
        require_tolerance(self.rtol, type(self))
        found: list[Equilibrium] = []

        def advance(v: Features, axes: tuple[Axis, ...]) -> Features:
            found.append(self._solved(v, axes))
            return v

        self.ends(x, grid, advance)
        return found[0]

    def _solved(self, v: Features, axes: tuple[Axis, ...]) -> Equilibrium:
        return solved(Field(self.block, axes), v, self.rtol)

    def _iterated(self, v: Features, axes: tuple[Axis, ...]) -> Features:
        def step(v: Features, _: None) -> tuple[Features, None]:
            return v + self.block(v, axes) / self.num_iterations, None

        if self.layout.remat:
            step = jax.checkpoint(step, prevent_cse=False)
        return jax.lax.scan(step, v, None, length=self.num_iterations)[0]


def _recorded(model: IFactFormer) -> dict[str, Any]:
    own = {"num_iterations": model.num_iterations, "equilibrium": model.rtol}
    return {**asdict(model.layout), **own}


register(IFactFormer, _recorded)


class Field(eqx.Module):
    """F on a grid."""

    block: FactorisedBlock
    axes: tuple[Axis, ...]

    def __call__(self, v: Features) -> Features:
        """Return F(v)."""
        return self.block(v, self.axes)
