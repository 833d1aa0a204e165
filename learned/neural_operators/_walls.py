"""The walls of a grid, and the velocity among the channels of a field.

The ends of an axis that is not periodic are walls. They lie on its first and last
points where the quadrature weights of the axis add up to the distance between these,
as those of the trapezoidal rule do; what they add up to beyond it lies between the end
points and the walls, as half a cell does where points are the centres of cells, and is
shared in proportion to the weights of the end points.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators._arguments import as_items, require_integer, shown
from ._grid import Grid

ROUNDING = 0.05
"""Of a spacing: weights that add up to more than this beyond the end points are meant
so. The points of a Gauss rule are 0.4 spacings from the end of their interval."""


def wall_distances(
    grid: Grid, axis: int
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return how far the points of an axis are from its first and its last wall."""
    x, weights = grid.coordinates[axis], grid.weights[axis]
    first, last = weights[0], weights[-1]
    beyond = jnp.sum(weights) - (x[-1] - x[0])
    spacings = (x[1] - x[0]) + (x[-1] - x[-2])
    beyond = jnp.where(beyond > ROUNDING * spacings, beyond, 0)
    total = first + last
    share = jnp.where(total > 0, first / jnp.where(total > 0, total, 1), 0.5)
    return x - x[0] + share * beyond, x[-1] - x + (1 - share) * beyond


def along(values: Float[Array, " n"], axis: int, ndim: int) -> Float[Array, "..."]:
    """Return values along an axis as an array of so many axes."""
    return values.reshape((1,) * axis + (-1,) + (1,) * (ndim - 1 - axis))


def as_channels(channels: Any) -> tuple[int, ...] | None:
    """Return the numbers of channels, None for all of them.

    Raises:
        ValueError: no numbers, none at all, or one that is negative or comes twice.
    """
    if channels is None:
        return None
    wanted = "the numbers of different channels, from 0"
    found = as_items(channels, "channels", wanted)
    for each in found:
        require_integer(each, "channels", f"; expected {wanted}")
    numbers = tuple(int(each) for each in found)
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ValueError(f"channels must be {wanted}, got {shown(channels)}")
    return numbers


def fitted(
    fields: Any, grid: Any, channels: Sequence[int] | None, name: str
) -> tuple[Float[Array, "..."], tuple[int, ...]]:
    """Return a field that fits its grid, and which of its channels are velocities.

    Args:
        fields: (channels, *shape).
        grid: of the field.
        channels: of the velocities, None for all.
        name: of the constraint, for messages.

    Raises:
        TypeError: grid is something else.
        ValueError: no grid, or one of another shape; no real field; too few channels.
    """
    if grid is None:
        raise ValueError(
            f"{name} needs the grid of the field, which says where the walls are; give "
            "no.Grid(...) as in train(..., grid=grid) and surrogate(x, grid)"
        )
    if not isinstance(grid, Grid):
        raise TypeError(f"{name} needs a Grid, got {shown(grid)}")
    fields = jnp.asarray(fields)
    if not jnp.issubdtype(fields.dtype, jnp.floating):
        raise ValueError(f"{name} is for real fields, got {fields.dtype.name}")
    if fields.shape[1:] != grid.shape or not fields.ndim:
        raise ValueError(
            f"{name} is for fields (channels, *shape) on a grid of shape {grid.shape}, "
            f"got {fields.shape}; give the grid of the field, and batches by jax.vmap"
        )
    chosen = tuple(range(len(fields))) if channels is None else tuple(channels)
    if max(chosen, default=0) >= len(fields):
        raise ValueError(
            f"{name} is for channels {chosen}, and the field has {len(fields)}, "
            "numbered from 0"
        )
    return fields, chosen
