"""A cycle over grids in fields of one shape, by one loop.

A program holds what is done on each shape once more, so that small grids, of which
there are many, would take as long to compile as large ones. Here their fields are
padded by cells that are linked to nothing, which changes no number.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._control_flow import scan
from ...operators._field import Structure, array_structure
from ...operators._materialise import materialise
from ._line_level import LineLevel
from ._planes import Field, transposed

Shape = tuple[int, ...]


class LoopedCycle(AbstractLinearOperator):
    """The V-cycle over grids in fields of one shape.

    Attributes:
        levels: all of them, stacked.
        coarse_inverse: an approximate inverse on the last grid.
        shape: of the first grid.
        order: its axes in the order of the first level's fields.
        turn: the axes of a level's fields in the order of the next one's.
    """

    levels: LineLevel
    coarse_inverse: AbstractLinearOperator
    shape: Shape = eqx.field(static=True)
    order: tuple[int, ...] = eqx.field(static=True)
    turn: tuple[int, ...] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.shape, self.levels.in_structure.dtype)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.coarse_inverse.tags

    @property
    @override
    def T(self) -> "LoopedCycle":
        return self

    @override
    def mv(self, x: Field) -> Field:
        room, back = self.levels.shape, inverse_order(self.turn)

        def descend(b: Field, level: LineLevel) -> tuple[Field, Any]:
            state, r = level.descend(b)
            return padded(transposed(r, self.turn), room), state

        def ascend(e: Field, level_and_state: Any) -> tuple[Field, None]:
            level, state = level_and_state
            e = cut(transposed(e, back), level.coarse_structure.shape)
            return level.ascend(state, materialise(e)), None

        b = transposed(x, self.order)
        r, states = scan(descend, padded(b, room), self.levels)
        last: Any = self.coarse_inverse.in_structure
        e = self.coarse_inverse.mv(cut(r, last.shape))
        e, _ = scan(ascend, padded(e, room), (self.levels, states), reverse=True)
        return transposed(cut(e, b.shape), inverse_order(self.order))


def inverse_order(order: tuple[int, ...]) -> tuple[int, ...]:
    """Return the order that undoes another one."""
    return tuple(order.index(axis) for axis in range(len(order)))


def padded(x: Field, shape: Shape) -> Field:
    """Return a field with zeros up to a shape."""
    widths = [(0, to - size, 0) for to, size in zip(shape, x.shape, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), widths)


def cut(x: Field, shape: Shape) -> Field:
    """Return the first cells of a field."""
    return lax.slice(x, (0,) * x.ndim, shape)
