"""The small grids of a hierarchy in one loop, since a program holds each shape anew.

Of the ten levels between 256² and 64 cells, four have at most 32². Their fields are
padded to the shape of the first by cells that are linked to nothing, which changes no
number, so that one loop makes these levels and two more are the cycle over them: half
as much to compile for 256² cells, for no more time than before. Up to 64² cells in the
loop compile in two thirds of that, but a cycle then takes 1.5 for 1.2 ms.

The axes are turned after each level, such that the second one of its fields is halved
and lines are along the one that was halved before.
"""

import itertools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import ratio
from ...operators._control_flow import scan
from ...operators._field import Structure, array_structure
from ...operators._materialise import materialise
from ...operators.grids._offsets import Offset
from ._coarse_inverse import CoarseInverse, inverse_matrix
from ._couplings import Couplings
from ._grid_level import Grid
from ._halved_grid import halve
from ._line_level import LineLevel, LineSweeps
from ._planes import Field, transposed

Shape = tuple[int, ...]

SMALL = {2: 32**2, 3: 16**3}
"""Cells of a grid that is small, by number of axes: in three dimensions a level takes
longer to compile, and small grids are a smaller part of all.
"""


class SmallGrids(AbstractLinearOperator):
    """The V-cycle over small grids.

    Attributes:
        levels: all of them, stacked, with fields of one shape.
        coarse_inverse: the inverse on the last grid.
        shape: of the first grid.
        order: its axes in the order of the first level's.
    """

    levels: LineLevel
    coarse_inverse: CoarseInverse
    shape: Shape = eqx.field(static=True)
    order: tuple[int, ...] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.shape, self.coarse_inverse.matrix.dtype)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.coarse_inverse.tags

    @property
    @override
    def T(self) -> "SmallGrids":
        return self

    @override
    def mv(self, x: Field) -> Field:
        room = self.levels.shape
        turn = _turned(tuple(range(len(room))))

        def descend(b: Field, level: LineLevel) -> tuple[Field, Any]:
            state, r = level.descend(b)
            return _padded(transposed(r, turn), room), state

        def ascend(e: Field, level_and_state: Any) -> tuple[Field, None]:
            level, state = level_and_state
            e = _cut(transposed(e, _inverse(turn)), level.coarse_structure.shape)
            return level.ascend(state, materialise(e)), None

        b = transposed(x, self.order)
        r, states = scan(descend, _padded(b, room), self.levels)
        e = self.coarse_inverse.mv(_cut(r, self.coarse_inverse.shape))
        e, _ = scan(ascend, _padded(e, room), (self.levels, states), reverse=True)
        return transposed(_cut(e, b.shape), _inverse(self.order))


def small_grids(
    couplings: Couplings,
    coarsest: int,
    steps: tuple[float, ...],
    known: frozenset[str],
) -> SmallGrids | None:
    """Return the cycle on a grid of few cells, or `None` where no loop can make it.

    Args:
        couplings: of the grid.
        coarsest: number of cells of the last grid at most.
        steps: of the Jacobi sweeps.
        known: tags of the operator.
    """
    shape, faces = couplings.slack.shape, couplings.faces
    first, *others = sorted(range(len(shape)), key=lambda axis: shape[axis])
    order = (first, *others[-1:], *others[:-1])
    shapes = _shapes(tuple(shape[axis] for axis in order), coarsest)
    room = (shapes[0][0], shapes[0][1] + shapes[0][1] % 2, *shapes[0][2:])
    # An end that closes would not be next to the start of its axis after padding.
    is_closed = any(low == "periodic" for low, _ in faces)
    has_room = all(n <= there for s in shapes for n, there in zip(s, room, strict=True))
    if is_closed or not has_room or len(shapes) == 1:
        return None

    def coarsen(fine: Couplings, _: None) -> tuple[Couplings, LineLevel]:
        grid, held, lines, coarse = halve(fine)
        sweeps = LineSweeps.of(grid, held, lines, steps)
        level = LineLevel(sweeps, grid, tuple(range(len(room))), room, known)
        return _in_room(coarse.transposed(_turned(level.order)), room), level

    finest = _in_room(couplings.transposed(order), room)
    last, levels = scan(coarsen, finest, length=len(shapes) - 1)
    links = {t: _cut(link, shapes[-1]) for t, link in last.links.items()}
    last = Couplings(_cut(last.slack, shapes[-1]), links, last.faces).stencil()
    matrix = inverse_matrix(Grid(last, ratio(1, last.centre), None, last.shape), known)
    return SmallGrids(levels, CoarseInverse(matrix, last.shape, known), shape, order)


def _turned(axes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what belongs to each axis in the order of the next level."""
    return (*axes[1:], axes[0])


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


def _shapes(shape: Shape, coarsest: int) -> list[Shape]:
    """Return the shapes of the grids, each in the order of its level."""
    shapes = [shape]
    while np.prod(shapes[-1]) > coarsest:
        lines, size, *others = shapes[-1]
        shapes.append(_turned((lines, size - size // 2, *others)))
    return shapes


def _in_room(couplings: Couplings, room: Shape) -> Couplings:
    """Return links to all neighbours, up to a shape."""
    slack = _padded(couplings.slack, room)
    links = {
        t: _padded(couplings.links[t], room)
        if t in couplings.links
        else jnp.zeros_like(slack)
        for t in _offsets_on(len(room))
    }
    # What the walls hold is in the slack, so that they are alike when axes are turned.
    return Couplings(slack, links, (("neumann", "neumann"),) * len(room))


def _offsets_on(num_axes: int) -> list[Offset]:
    """Return those that lead on, as `Couplings` of a level that is turned have them."""
    zero = (0,) * num_axes
    offsets = itertools.product((-1, 0, 1), repeat=num_axes)
    return [t for t in offsets if t[1] > 0 or (t[1] == 0 and t > zero)]


def _padded(x: Field, shape: Shape) -> Field:
    widths = [(0, to - size, 0) for to, size in zip(shape, x.shape, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), widths)


def _cut(x: Field, shape: Shape) -> Field:
    return lax.slice(x, (0,) * x.ndim, shape)
