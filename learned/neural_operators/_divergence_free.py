"""The nearest velocity without divergence, by one separable solve.

With the derivatives D_i of `_derivative.py` and W the quadrature weights of the points,
the field v of least (v - u)ᵀ W (v - u) with D v = Σ D_i v_i = 0 is

    v = u - W⁻¹ Dᵀ p,    D W⁻¹ Dᵀ p = D u.

In p = W^(1/2) q the operator is a Kronecker sum of the matrices B_i B_iᵀ, where B_i is
W_i^(1/2) D_i W_i^(-1/2) along its own axis. Its eigenvectors are sines and cosines of
the periodic axes, and left singular vectors of B_i between walls: the small ones of
its eigenvalues, squares of singular values, are then accurate too. So one step of
`FastDiagonalization` solves it; a second solve, for the divergence of the result, takes
away what rounding left, which on stretched points is more than that of D u itself.

The pressure of a staggered grid sees all modes. This one, at the points themselves,
does not see those that no D_i sees: the highest mode of an even periodic axis, and of
an odd number of symmetric points between walls the one that alternates. They are left
as they are: what D finds no divergence in is never changed.

A. J. Chorin, Numerical solution of the Navier-Stokes equations, Math. Comput. 22
(1968), doi:10.1090/S0025-5718-1968-0242392-2.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.lax import Precision
from jaxtyping import Array, Float

from ...operators import Dense, KroneckerSum
from ...operators._along_axis import multiply_along
from ...operators._control_flow import scan
from ...solvers import FastDiagonalization
from ...solvers._solve import solve
from ...solvers.core._linear_solve import linear_solve
from ...solvers.factorization._fast_diagonalization import FastDiagonalInverse
from ..training import register
from ._derivative import fourier_modes, periodic_derivative, wall_derivative
from ._grid import Grid
from ._walls import along, as_channels, fitted

SMALLEST = 2 / 3
"""Power of eps, in units of the largest, below which a singular value σ is a zero, as
it is but for rounding where points are symmetric. Counted as one it would let (eps/σ)²
of the field into the result, as a zero it leaves σ times the field in the divergence.
The smallest that are none are about the smallest spacing over the length."""


class DivergenceFree(eqx.Module):
    """Velocity without divergence, the nearest one in the norm of the grid's weights.

    A constraint for `training.train(..., constraint=)`, a linear projection. The
    divergence is that of `divergence`: spectral along periodic axes, whose points have
    to be equally far from each other, and of second order between walls. No flow goes
    through walls, the ends of the other axes, and the velocity along a wall stays as it
    is: zero after `NoSlip`.

    On grids that resolve the flow it changes little. Where they do not, as with means
    over coarse cells, the true field has a divergence of this kind too, and the error
    of a model cannot be less than the part that is taken away from the data: look at
    that part before training with it.

    Args:
        channels: those that are the velocity, one per axis and in their order; by
            default all.

    Raises:
        ValueError: channels that are no numbers; on use, no grid, other channels than
            axes, a periodic axis with points that are known not to be equally far from
            each other, or fields that do not fit.

    Cost: 2 solves, about 20 d products per point with matrices of the size of an axis,
    for d axes, and a singular value decomposition per axis with walls.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> grid = no.Grid.uniform((8, 9), periodic=(True, False))
        >>> constraint = no.DivergenceFree()
        >>> u = constraint(jax.random.normal(jax.random.key(0), (2, 8, 9)), grid)
        >>> bool(jnp.max(jnp.abs(constraint.divergence(u, grid))) < 1e-12)
        True
    """

    channels: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, channels: Sequence[int] | None = None) -> None:
        self.channels = as_channels(channels)

    def __call__(
        self, fields: Float[Array, "..."], grid: Grid | None
    ) -> Float[Array, "..."]:
        """Return the field with a velocity without divergence.

        The grid has derivative zero.

        Args:
            fields: (channels, *shape).
            grid: that it is on.
        """
        return _constrained(*self._fitted(fields, grid))

    def divergence(
        self, fields: Float[Array, "..."], grid: Grid | None
    ) -> Float[Array, "..."]:
        """Return the divergence that is taken away, zero at points on walls.

        Args:
            fields: (channels, *shape).
            grid: that it is on.
        """
        return _divergence_of(*self._fitted(fields, grid))

    def _fitted(self, fields: Any, grid: Any) -> tuple[Any, Grid, tuple[int, ...]]:
        fields, channels = fitted(fields, grid, self.channels, "DivergenceFree")
        if len(channels) != len(grid.shape):
            raise ValueError(
                f"DivergenceFree is for a velocity of one channel per axis, got "
                f"{len(channels)} channels on {len(grid.shape)} axes; name them, in "
                "the order of the axes, DivergenceFree(channels=(0, 1, 2))"
            )
        _require_equal_spacings(grid)
        return fields, grid, channels


register(DivergenceFree)


class Line(eqx.Module):
    """What the projection needs to know of an axis.

    Attributes:
        derivative: D_i.
        slope: W_i⁻¹ D_iᵀ W_i^(1/2), zero on walls.
        symmetric: B_i B_iᵀ.
        scale: W_i^(1/2).
        inverse_scale: W_i^(-1/2), zero where the weight is.
        inside: 0 for points on walls, 1 for all others.
        vectors: orthonormal eigenvectors of `symmetric`, as columns.
        values: their eigenvalues.
    """

    derivative: Float[Array, "n n"]
    slope: Float[Array, "n n"]
    symmetric: Float[Array, "n n"]
    scale: Float[Array, " n"]
    inverse_scale: Float[Array, " n"]
    inside: Float[Array, " n"]
    vectors: Float[Array, "n n"]
    values: Float[Array, " n"]


def _lines(grid: Grid, dtype: Any) -> tuple[Line, ...]:
    lines = [_line(grid, axis, dtype) for axis in range(len(grid.shape))]
    # Found in the dtype of the grid, in which points that are symmetric are so.
    return tuple(jax.tree.map(lambda a: lax.stop_gradient(a).astype(dtype), lines))


def _line(grid: Grid, axis: int, other: Any) -> Line:
    n, dtype = grid.shape[axis], grid.coordinates[axis].dtype
    length = grid.lengths[axis]
    if grid.periodic[axis]:
        D, inside = periodic_derivative(n, length), jnp.ones(n, dtype)
        weights = jnp.full(n, 1 / n, dtype) * length
    else:
        D, inside = wall_derivative(grid, axis)
        weights = grid.weights[axis]
    has_weight = weights > 0
    safe = jnp.where(has_weight, weights, 1)
    scale = jnp.where(has_weight, jnp.sqrt(safe), 0)
    inverse_scale = jnp.where(has_weight, 1 / jnp.sqrt(safe), 0)
    # A column that is not to change has no weight in the other direction.
    free = inverse_scale * inside
    B = scale[:, None] * D * free[None, :]
    if grid.periodic[axis]:
        modes, numbers = fourier_modes(n)
        vectors = jnp.asarray(modes, dtype)
        values = (2 * np.pi / length * jnp.asarray(numbers, dtype)) ** 2
    else:
        vectors, singular, _ = jnp.linalg.svd(lax.stop_gradient(B))
        eps = max(float(jnp.finfo(each).eps) for each in (dtype, other))
        floor = eps**SMALLEST * singular[0]
        values = jnp.where(singular > floor, singular, 0) ** 2
    slope = free[:, None] * B.T
    symmetric = jnp.matmul(B, B.T, precision=Precision.HIGHEST)
    return Line(D, slope, symmetric, scale, inverse_scale, inside, vectors, values)


@eqx.filter_jit
def _constrained(
    fields: Float[Array, "..."], grid: Grid, channels: tuple[int, ...]
) -> Float[Array, "..."]:
    chosen = np.asarray(channels)
    lines = _lines(grid, fields.dtype)
    return fields.at[chosen].set(_projected(fields[chosen], lines))


@eqx.filter_jit
def _divergence_of(
    fields: Float[Array, "..."], grid: Grid, channels: tuple[int, ...]
) -> Float[Array, "..."]:
    return _divergence(_lines(grid, fields.dtype), fields[np.asarray(channels)])


def _projected(
    velocity: Float[Array, "axes ..."], lines: tuple[Line, ...]
) -> Float[Array, "axes ..."]:
    A = KroneckerSum(
        *[Dense(line.symmetric, tags="positive_semidefinite") for line in lines]
    )
    inverse = _inverse(lines)
    velocity = jnp.stack(
        [
            u * along(line.inside, axis, u.ndim)
            for axis, (u, line) in enumerate(zip(velocity, lines, strict=True))
        ]
    )

    def solved(matvec: Any, b: Float[Array, "..."]) -> Any:
        del matvec
        # Exactly one step, so that a divergence that is all rounding is no failure.
        solver = FastDiagonalization()
        return solve(A, b, solver, preconditioner=inverse, unroll=1).value

    def corrected(u: Float[Array, "axes ..."], _: None) -> tuple[Any, None]:
        b = _scaled(_divergence(lines, u), lines)
        # Derivatives are solves with their own right-hand sides, as the step for one
        # that is zero or rounding is not taken.
        pressure = linear_solve(A.mv, b, solved, None, symmetric=True)
        return u - _slopes(lines, pressure), None

    velocity, _ = scan(corrected, velocity, length=2)
    return velocity


def _divergence(
    lines: tuple[Line, ...], velocity: Float[Array, "axes ..."]
) -> Float[Array, "..."]:
    """Σ D_i u_i at points that are on no wall."""
    terms = [
        multiply_along(line.derivative, u, axis)
        for axis, (u, line) in enumerate(zip(velocity, lines, strict=True))
    ]
    total = reduce(jnp.add, terms)
    for axis, line in enumerate(lines):
        total = total * along(line.inside, axis, total.ndim)
    return total


def _scaled(x: Float[Array, "..."], lines: tuple[Line, ...]) -> Any:
    """W^(1/2) x."""
    for axis, line in enumerate(lines):
        x = x * along(line.scale, axis, x.ndim)
    return x


def _slopes(
    lines: tuple[Line, ...], pressure: Float[Array, "..."]
) -> Float[Array, "axes ..."]:
    """W⁻¹ Dᵀ W^(1/2) q, of which no part is on a wall."""
    slopes = []
    for axis, line in enumerate(lines):
        q = multiply_along(line.slope, pressure, axis)
        for other, each in enumerate(lines):
            if other != axis:
                q = q * along(each.inverse_scale, other, q.ndim)
        slopes.append(q)
    return jnp.stack(slopes)


def _inverse(lines: tuple[Line, ...]) -> FastDiagonalInverse:
    """The pseudo-inverse of the Kronecker sum."""
    sums = reduce(jnp.add.outer, [line.values for line in lines])
    is_zero = sums <= 0
    inverse = jnp.where(is_zero, 0, 1 / jnp.where(is_zero, 1, sums))
    vectors = tuple(line.vectors for line in lines)
    tags = frozenset({"symmetric", "hermitian", "positive_semidefinite"})
    return FastDiagonalInverse(vectors, inverse, tags)


def _require_equal_spacings(grid: Grid) -> None:
    """Check the periodic axes whose points are known."""
    for axis, (x, length) in enumerate(
        zip(grid.coordinates, grid.lengths, strict=True)
    ):
        if not grid.periodic[axis] or isinstance(x, Tracer):
            continue
        steps, mean = np.diff(np.asarray(x, np.float64)), float(length) / len(x)
        if np.max(np.abs(steps - mean)) > 1e-3 * mean:
            raise ValueError(
                f"the points of the periodic axis {axis} are not equally far from each "
                "other, as the derivatives of DivergenceFree ask for"
            )
