"""A field and the grid that it is on, as the models take them."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators._arguments import counted, shown
from ..training import Grid as Grid
from ..training._grid import per_axis as per_axis


def fitted(
    x: Any, grid: Grid | None, num_dimensions: int, num_channels: int
) -> tuple[Float[Array, "..."], Grid]:
    """Return a field and its grid, the unit box where none is given.

    Raises:
        TypeError: grid is something else.
        ValueError: x is no real array of this many channels and axes; or a grid of
            another shape.
    """
    x = jnp.asarray(x)
    if x.ndim != num_dimensions + 1 or x.shape[0] != num_channels:
        raise ValueError(
            f"the model is for fields of shape ({num_channels}, *grid), its channels "
            f"first and {counted(num_dimensions, 'axis', 'axes')} behind them, got "
            f"{x.shape}; batches by jax.vmap, other channels by in_channels and "
            "num_frames"
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"the model is for real fields, got {x.dtype.name}")
    shape = x.shape[1:]
    if grid is None:
        grid = Grid.uniform(shape, dtype=x.dtype)
    if not isinstance(grid, Grid):
        raise TypeError(f"grid must be a Grid or None, got {shown(grid)}")
    if grid.shape != shape:
        raise ValueError(
            f"the grid has shape {grid.shape}, the field {shape}; give the grid of the "
            "field, as in model(x, grid)"
        )
    return x, grid


def positions(grid: Grid) -> Float[Array, "*grid axes"]:
    """Return the coordinates of all points."""
    return jnp.stack(jnp.meshgrid(*grid.coordinates, indexing="ij"), axis=-1)
