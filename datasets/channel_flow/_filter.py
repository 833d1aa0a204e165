"""Velocities at common points of a coarse grid: the mean over each of its cells.

The coarse grid has cells of its own, uniform along the walls and stretched across them
like the fine ones. Velocities go to the centres of the fine cells, as means of the two
faces, and from there into coarse cells by the volume that they share, a box filter,
which keeps the mean. Points are the centres of the coarse cells and one on each wall,
where velocities are zero: 33 points across are 31 cells and two walls.

The same box means, on the faces, take a flow to a coarser grid; linear interpolation
takes it to a finer one. Each is a small matrix per axis.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float

from ._grid import StaggeredGrid, wall_normal
from ._operators import Velocity, X, Y, Z, mean


class FilteredGrid(NamedTuple):
    """The points of a filtered field, as NumPy arrays.

    Attributes:
        x, y, z: coordinates of the points in h; x and z are periodic with `lengths`.
        weights: quadrature weights per axis, the widths of the cells around the points
            and zero on the walls.
        lengths: of the box.

    Examples:
        The same points for a neural operator:

        >>> import krylax as kx
        >>> from krylax.learned import neural_operators as no
        >>> flow = kx.datasets.channel_flow.Channel(180, (8, 16, 8))
        >>> grid = no.Grid.of_channel(flow.filtered_grid((4, 9, 4)))
        >>> grid.shape
        (4, 9, 4)
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    lengths: tuple[float, float, float]


def filtered_grid(grid: StaggeredGrid, shape: tuple[int, int, int]) -> FilteredGrid:
    """Return the points of a coarse grid."""
    Lx, Ly, Lz = grid.lengths
    faces, widths, _ = wall_normal(shape[Y] - 2, grid.stretching)
    dx, dz = Lx / shape[X], Lz / shape[Z]
    return FilteredGrid(
        dx * (np.arange(shape[X]) + 0.5),
        np.concatenate([[0.0], (faces[1:] + faces[:-1]) / 2, [Ly]]),
        dz * (np.arange(shape[Z]) + 0.5),
        (np.full(shape[X], dx), np.pad(widths, 1), np.full(shape[Z], dz)),
        grid.lengths,
    )


def filter_matrices(
    grid: StaggeredGrid, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return per axis the matrix that takes values at fine centres to coarse points."""
    coarse_faces = (
        np.arange(shape[X] + 1) / shape[X],
        wall_normal(shape[Y] - 2, grid.stretching)[0],
        np.arange(shape[Z] + 1) / shape[Z],
    )
    along, across, aside = (
        _shared(_faces(grid, axis), faces) for axis, faces in enumerate(coarse_faces)
    )
    return along, np.pad(across, ((1, 1), (0, 0))), aside


def filtered(
    velocity: Velocity, grid: StaggeredGrid, shape: tuple[int, int, int]
) -> Float[Array, "3 _ _ _"]:
    """Return the three velocities at the points of the coarse grid."""
    u, v, w = velocity
    v = jnp.pad(v, ((0, 0), (1, 1), (0, 0)))
    at_centres = (
        (u + jnp.roll(u, -1, X)) / 2,
        mean(v, Y),
        (w + jnp.roll(w, -1, Z)) / 2,
    )
    matrices = filter_matrices(grid, shape)
    return jnp.stack([_multiplied(matrices, q) for q in at_centres])


def transferred(
    velocity: Velocity, source: StaggeredGrid, target: StaggeredGrid
) -> Velocity:
    """Return the velocities on the faces of another grid, with some divergence."""
    u, v, w = velocity
    # Across the walls, v is known on them too.
    v = jnp.pad(v, ((0, 0), (1, 1), (0, 0)))
    centres = [_between_centres(source, target, axis) for axis in (X, Y, Z)]
    faces = [_between_faces(source, target, axis) for axis in (X, Y, Z)]
    return (
        _multiplied((faces[X], centres[Y], centres[Z]), u),
        _multiplied((centres[X], faces[Y][1:-1], centres[Z]), v),
        _multiplied((centres[X], centres[Y], faces[Z]), w),
    )


def _between_centres(
    source: StaggeredGrid, target: StaggeredGrid, axis: int
) -> np.ndarray:
    """Return the box means of a coarser axis, the interpolation to a finer one."""
    old, new = _faces(source, axis), _faces(target, axis)
    if len(new) <= len(old):
        return _shared(old, new)
    places, points = (old[1:] + old[:-1]) / 2, (new[1:] + new[:-1]) / 2
    if axis == Y:
        # Velocities along a wall are zero on it.
        places = np.concatenate([old[:1], places, old[-1:]])
        return _interpolation(places, points)[:, 1:-1]
    return _around_the_period(places, points)


def _between_faces(
    source: StaggeredGrid, target: StaggeredGrid, axis: int
) -> np.ndarray:
    """Return the interpolation between the faces of an axis."""
    old, new = _faces(source, axis), _faces(target, axis)
    if axis == Y:
        return _interpolation(old, new)
    return _around_the_period(old[:-1], new[:-1])


def _faces(grid: StaggeredGrid, axis: int) -> np.ndarray:
    """Return the faces of an axis, both ends included, in [0, 1] along the walls."""
    n = grid.shape[axis]
    if axis == Y:
        return wall_normal(n, grid.stretching)[0]
    return np.arange(n + 1) / n


def _shared(fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """Return the part of each coarse interval that each fine one takes up."""
    high = np.minimum(coarse[1:, None], fine[1:])
    low = np.maximum(coarse[:-1, None], fine[:-1])
    return np.maximum(high - low, 0) / np.diff(coarse)[:, None]


def _interpolation(places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the matrix of linear interpolation."""
    columns = [np.interp(points, places, values) for values in np.eye(len(places))]
    return np.stack(columns, axis=1)


def _around_the_period(places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the matrix of linear interpolation with the period one."""
    n = len(places)
    longer = np.concatenate([places[-1:] - 1, places, places[:1] + 1])
    matrix = _interpolation(longer, points)
    matrix[:, n] += matrix[:, 0]
    matrix[:, 1] += matrix[:, n + 1]
    return matrix[:, 1:-1]


def _multiplied(
    matrices: tuple[np.ndarray, ...], field: Float[Array, "_ _ _"]
) -> Float[Array, "_ _ _"]:
    """Return the field with every line multiplied by the matrix of its axis."""
    for axis, matrix in enumerate(matrices):
        product = jnp.tensordot(
            jnp.asarray(matrix.astype(field.dtype)),
            field,
            axes=(1, axis),
            precision=Precision.HIGHEST,
        )
        field = jnp.moveaxis(product, 0, axis)
    return field
