"""The small grids of a hierarchy in one loop.

Of the ten levels between 256² and 64 cells, four have at most 32² cells: in a loop, all
compile in half the time, for no more time to solve. Up to 64² cells in the loop compile
in two thirds of that, but a cycle then takes 1.5 for 1.2 ms.

The axes are turned after each level, such that the second one of its fields is halved
and lines are along the one that was halved before.
"""

from typing import Any

import numpy as np

from ...operators._arithmetic import ratio
from ._coarse_inverse import CoarseInverse, inverse_matrix
from ._couplings import Couplings
from ._grid_level import Grid
from ._halving import looped_levels
from ._looped_cycle import LoopedCycle, Shape

SMALL = {2: 32**2, 3: 16**3}
"""Cells of a grid that is small, by number of axes: in three dimensions a level takes
longer to compile, and small grids are a smaller part of all.
"""


def small_grids(
    couplings: Couplings,
    coarsest: int,
    steps: tuple[float, ...],
    known: frozenset[str],
) -> LoopedCycle | None:
    """Return the cycle on a grid of few cells, or `None` where no loop can make it.

    Args:
        couplings: of the grid.
        coarsest: number of cells of the last grid at most.
        steps: of the Jacobi sweeps.
        known: tags of the operator.
    """
    shape = couplings.slack.shape
    first, *others = sorted(range(len(shape)), key=lambda axis: shape[axis])
    order = (first, *others[-1:], *others[:-1])
    shapes = _shapes(tuple(shape[axis] for axis in order), coarsest)
    turn = _turned(tuple(range(len(shape))))
    found = looped_levels(couplings.transposed(order), shapes, turn, steps)
    if found is None:
        return None
    levels, last = found[0], found[1].stencil()
    matrix = inverse_matrix(Grid(last, ratio(1, last.centre), None, last.shape), known)
    inverse = CoarseInverse(matrix, last.shape, known)
    return LoopedCycle(levels, inverse, shape, order, turn)


def _turned(axes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what belongs to each axis in the order of the next level."""
    return (*axes[1:], axes[0])


def _shapes(shape: Shape, coarsest: int) -> list[Shape]:
    """Return the shapes of the grids, each in the order of its level."""
    shapes = [shape]
    while np.prod(shapes[-1]) > coarsest:
        lines, size, *others = shapes[-1]
        shapes.append(_turned((lines, size - size // 2, *others)))
    return shapes
