"""Random media: where the parts of a medium lie, in the unit cube.

Positions and sizes are those of the unit cube, not of cells, so that a sample is the
same medium on every grid. A part that is thinner than a cell is one cell thick: the
cell that holds its middle. Each function draws from the generator that it is given
(`generator` of `_noise.py`) and returns one value per cell.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

Shape = tuple[int, ...]
# What islands cover where they do not overlap: 1/16, as one of 2 x 2 in 8 x 8 cells.
_COVERED = 1 / 16


def channels(
    num_points: Shape, random: np.random.Generator, *, count: int, width: float
) -> Bool[np.ndarray, "*num_points"]:
    """Return which cells lie in straight channels from side to side.

    They run along each axis in turn, two axes or three.
    """
    inside = np.zeros(num_points, bool)
    rank = len(num_points)
    for i, centre in enumerate(random.uniform(size=(count, rank))):
        sizes = [np.inf if axis == i % rank else width for axis in range(rank)]
        inside[_box(num_points, centre, sizes)] = True
    return inside


def islands(
    num_points: Shape, random: np.random.Generator, *, width: float
) -> Bool[np.ndarray, "*num_points"]:
    """Return which cells lie in boxes of 1/2 to 7/2 widths per axis, drawn anywhere.

    They may overlap, and cover about a sixteenth.
    """
    rank = len(num_points)
    count = max(1, round(_COVERED / (2 * width) ** rank))
    inside = np.zeros(num_points, bool)
    centres = random.uniform(size=(count, rank))
    sizes = random.uniform(0.5 * width, 3.5 * width, (count, rank))
    for centre, size in zip(centres, sizes, strict=True):
        inside[_box(num_points, centre, size)] = True
    return inside


def layers(
    num_points: Shape, random: np.random.Generator, *, width: float
) -> Bool[np.ndarray, "*num_points"]:
    """Return which cells lie in every second of the layers across a random axis."""
    axis, offset = int(random.integers(len(num_points))), random.uniform()
    n = num_points[axis]
    is_second = _places(n, width, offset) % 2 == 1
    along = is_second.reshape(n, *[1] * (len(num_points) - 1 - axis))
    return np.broadcast_to(along, num_points)


def blocks(
    num_points: Shape, random: np.random.Generator, *, width: float
) -> Float[np.ndarray, "*num_points"]:
    """Return a number in [0, 1) for each block of a random lattice of that width."""
    offsets = random.uniform(size=len(num_points))
    places = [
        _places(n, width, offset) for n, offset in zip(num_points, offsets, strict=True)
    ]
    # As many on every grid, so that the numbers are the same.
    num_blocks = math.ceil(1 / width) + 1
    return random.uniform(size=(num_blocks,) * len(num_points))[np.ix_(*places)]


def walls(
    num_points: Shape, random: np.random.Generator, *, count: int, width: float
) -> Bool[np.ndarray, "*num_points"]:
    """Return which cells lie in plane walls across a random axis.

    They are 1/16 to 1/4 long along the other axes.
    """
    inside, rank = np.zeros(num_points, bool), len(num_points)
    for _ in range(count):
        centre, sizes = random.uniform(size=rank), random.uniform(1 / 16, 1 / 4, rank)
        sizes[random.integers(rank)] = width
        inside[_box(num_points, centre, sizes)] = True
    return inside


def _box(num_points: Shape, centre: Any, sizes: Any) -> tuple[slice, ...]:
    """Return the slices of the cells whose centres lie in a box, at least one each."""
    box = []
    for n, middle, size in zip(num_points, centre, sizes, strict=True):
        low = max(n * (middle - size / 2) + 0.5, 0)
        high = min(n * (middle + size / 2) + 0.5, n)
        first, last = math.floor(low), math.floor(high)
        own = math.floor(n * middle)
        box.append(slice(min(first, own), max(last, own + 1)))
    return tuple(box)


def _places(n: int, width: float, offset: float) -> np.ndarray:
    """Return in which interval of a lattice each of n cell centres lies, from 0."""
    return np.floor((np.arange(n) + 0.5) / (n * width) + offset).astype(int)
