"""The axes of a projection: derivatives and weights as matrices, and eigenvectors.

With the derivative D_i of `_derivative.py` and the weights W_i of an axis, B_i is
W_i^(1/2) D_i W_i^(-1/2). The eigenvectors of B_i B_iᵀ are sines and cosines of a
periodic axis, and left singular vectors of B_i between walls: the small ones of its
eigenvalues, squares of singular values, are then accurate too.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.lax import Precision
from jaxtyping import Array, Bool, Float

from ...operators._arithmetic import power_of_two
from ._derivative import fourier_modes, periodic_derivative, wall_derivative
from ._grid import Grid

SMALLEST = 2 / 3
"""Power of eps, in units of the largest, below which a singular value σ is a zero, as
it is but for rounding where points are symmetric. Counted as one it would let (eps/σ)²
of the field into the result, as a zero it leaves σ times the field in the divergence.
The smallest that are none are about the smallest spacing over the length."""

UNEQUAL = 1e-3
"""Of a spacing: points and weights of a periodic axis that differ by more are meant
so. In float32 they are off by their rounding."""


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


def lines_of(grid: Grid, dtype: Any) -> tuple[tuple[Line, ...], Float[Array, ""]]:
    """Return the axes in a unit of length near that of the grid, and this unit.

    The projection is the same in all units, and squares of 1e20 are infinite in 32
    bits.

    Args:
        grid: the grid.
        dtype: of the result.
    """
    grid = jax.tree.map(lambda a: a.astype(precise(a.dtype)), grid)
    widest = max((a.dtype for a in grid.lengths), key=lambda each: each.itemsize)
    unit = power_of_two(jnp.max(jnp.stack([a.astype(widest) for a in grid.lengths])))
    grid = jax.tree.map(lambda a: a / unit.astype(a.dtype), grid)
    lines = [_line(grid, axis, dtype) for axis in range(len(grid.shape))]
    # Found in the dtype of the grid, in which points that are symmetric are so.
    return jax.tree.map(
        lambda a: lax.stop_gradient(a).astype(dtype), (tuple(lines), unit)
    )


def precise(dtype: Any) -> Any:
    """Return the dtype to compute in: in one of 16 bits nothing is solved."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


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


def require_suitable(grid: Grid) -> None:
    """Check of the axes what is known of them.

    Raises:
        ValueError: a periodic axis whose points are not equally far from each other or
            have unequal weights; weights between walls that are not positive.
    """
    for axis in range(len(grid.shape)):
        if _is_traced(grid, axis):
            continue
        points_suit, weights_suit = _suits(grid, axis, np)
        if not points_suit:
            raise ValueError(
                f"the points of the periodic axis {axis} are not equally far from each "
                "other, as the derivatives of DivergenceFree ask for"
            )
        if not weights_suit:
            kind = "equal" if grid.periodic[axis] else "positive between its ends"
            raise ValueError(
                f"the weights of axis {axis} must be {kind}, as the norm of "
                "DivergenceFree asks for; leave them out for those of the "
                "trapezoidal rule"
            )


def is_suitable(grid: Grid) -> Bool[Array, ""]:
    """Return the same of axes that are traced."""
    found = [_suits(grid, axis, jnp) for axis in range(len(grid.shape))]
    return jnp.all(jnp.stack([each for pair in found for each in pair]))


def _is_traced(grid: Grid, axis: int) -> bool:
    of_axis = (grid.coordinates[axis], grid.lengths[axis], grid.weights[axis])
    return any(isinstance(each, Tracer) for each in of_axis)


def _suits(grid: Grid, axis: int, xp: Any) -> tuple[Any, Any]:
    """Whether the points and the weights of an axis are what they have to be."""
    x, weights = xp.asarray(grid.coordinates[axis]), xp.asarray(grid.weights[axis])
    if not grid.periodic[axis]:
        is_positive = xp.all(weights[1:-1] > 0) & xp.all(weights >= 0)
        return xp.ones((), bool), is_positive
    mean = xp.asarray(grid.lengths[axis]) / len(x)
    off = xp.max(xp.abs(xp.diff(x) - mean))
    return off <= UNEQUAL * mean, xp.ptp(weights) <= UNEQUAL * xp.max(weights)
