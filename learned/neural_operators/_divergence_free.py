"""The nearest velocity without divergence, by one separable solve.

With the derivatives D_i of `_derivative.py` and W the quadrature weights of the points,
the field v of least (v - u)ᵀ W (v - u) with D v = Σ D_i v_i = 0 is

    v = u - W⁻¹ Dᵀ p,    D W⁻¹ Dᵀ p = D u.

In p = W^(1/2) q the operator is a Kronecker sum of the matrices B_i B_iᵀ, where B_i is
W_i^(1/2) D_i W_i^(-1/2) along its own axis (`_projected_axes.py`). So one step of
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
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...operators import Dense, KroneckerSum
from ...operators._along_axis import multiply_along
from ...operators._arguments import counted
from ...operators._control_flow import scan
from ...solvers import FastDiagonalization, Status
from ...solvers._solve import solve
from ...solvers.core._linear_solve import linear_solve
from ...solvers.factorization._fast_diagonalization import FastDiagonalInverse
from ..training import register
from ._grid import Grid
from ._projected_axes import Line, is_suitable, lines_of, precise, require_suitable
from ._walls import along, as_channels, fitted


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
            axes, fields that do not fit, or what is known of the grid: a periodic axis
            whose points are not equally far from each other or have unequal weights,
            weights between walls that are not positive. Where these are traced the
            result is NaN.

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
            fields: (channels, *shape); in 16 bits they are projected in float32.
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
                f"{counted(len(channels), 'channel')} on "
                f"{counted(len(grid.shape), 'axis', 'axes')}; name them, in "
                "the order of the axes, DivergenceFree(channels=(0, 1, 2))"
            )
        require_suitable(grid)
        return fields, grid, channels


register(DivergenceFree)


@eqx.filter_jit
def _constrained(
    fields: Float[Array, "..."], grid: Grid, channels: tuple[int, ...]
) -> Float[Array, "..."]:
    chosen, dtype = np.asarray(channels), precise(fields.dtype)
    lines, _ = lines_of(grid, dtype)
    found = _projected(fields[chosen].astype(dtype), lines)
    # What was not known of the grid before.
    found = jnp.where(is_suitable(grid), found, jnp.nan)
    return fields.at[chosen].set(found.astype(fields.dtype))


@eqx.filter_jit
def _divergence_of(
    fields: Float[Array, "..."], grid: Grid, channels: tuple[int, ...]
) -> Float[Array, "..."]:
    dtype = precise(fields.dtype)
    lines, unit = lines_of(grid, dtype)
    found = _divergence(lines, fields[np.asarray(channels)].astype(dtype)) / unit
    return found.astype(fields.dtype)


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
        found = solve(A, b, solver, preconditioner=inverse, unroll=1)
        # One NaN is a field whose divergence nobody knows.
        is_finite = found.status != Status.nonfinite_input
        return jnp.where(is_finite, found.value, jnp.nan)

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
