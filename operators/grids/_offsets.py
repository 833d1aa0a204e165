"""Offsets of a stencil: -1, 0 or 1 along each axis, and the cells that they lead to."""

from collections.abc import Iterable
from operator import index
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Inexact

from ._boundary import Faces
from ._shift import Side, edge_in_zeros, opposite, shift_in_zero

Offset: TypeAlias = tuple[int, ...]


def along(axis: int, step: int, num_axes: int) -> Offset:
    """Return the offset of some steps along one axis."""
    return tuple(step if a == axis else 0 for a in range(num_axes))


def negated(offset: Offset) -> Offset:
    """Return the opposite offset."""
    return tuple(-step for step in offset)


def num_axes_of(offset: Offset) -> int:
    """Return along how many axes an offset leads."""
    return sum(step != 0 for step in offset)


def neighbour(
    x: Inexact[Array, "..."], axis: int, side: Side, faces: Faces
) -> Inexact[Array, "..."]:
    """Return each cell's neighbour, zero outside, wrapped on a periodic axis."""
    shifted = shift_in_zero(x, axis, side)
    if faces[axis][0] != "periodic":
        return shifted
    return shifted + edge_in_zeros(x, axis, opposite(side), side)


def at_offset(
    x: Inexact[Array, "..."], offset: Offset, faces: Faces
) -> Inexact[Array, "..."]:
    """Return the cell at an offset from each cell, zero outside."""
    for axis, step in enumerate(offset):
        if step:
            x = neighbour(x, axis, "low" if step < 0 else "high", faces)
    return x


def as_offsets(
    offsets: Iterable[Any], num_axes: int, is_symmetric: bool
) -> tuple[Offset, ...]:
    """Return the offsets of a stencil, checked.

    Raises:
        ValueError: one that is none, or of a symmetric stencil one that leads back.
    """
    if not 1 <= num_axes <= 3:
        raise ValueError(f"a grid has one to three axes, got {num_axes}")
    return tuple(_as_offset(offset, num_axes, is_symmetric) for offset in offsets)


def _as_offset(offset: Any, num_axes: int, is_symmetric: bool) -> Offset:
    try:
        # NumPy's integers would be taken for arrays where offsets are static.
        found = tuple(index(step) for step in offset)
    except TypeError:
        found = ()
    if len(found) != num_axes or not set(found) <= {-1, 0, 1} or not any(found):
        raise ValueError(
            f"an offset is -1, 0 or 1 along each of the {num_axes} axes and not all"
            f" zero, got {offset}; the weight of the cell itself is the centre"
        )
    if is_symmetric and found < negated(found):
        raise ValueError(
            "a symmetric stencil is given by the offsets that lead on in row-major "
            f"order, got {found}; leave it out, or give {negated(found)} instead"
        )
    return found


def require_neighbours(
    offsets: tuple[Offset, ...], shape: tuple[int, ...], faces: Faces
) -> None:
    """Check that no offset goes round an axis of one cell, back to the cell itself.

    Its weight would be part of the diagonal, and of the matrix's triangles too.

    Raises:
        ValueError: one that does.
    """
    for offset in offsets:
        for axis, step in enumerate(offset):
            if step and shape[axis] == 1 and faces[axis][0] == "periodic":
                raise ValueError(
                    f"axis {axis} is periodic and has one cell, so that the offset "
                    f"{offset} leads along it to the cell itself; leave it out, and add"
                    " its weight to the centre or to the offset along the other axes"
                )


def is_inside(
    offset: Offset, shape: tuple[int, ...], faces: Faces
) -> Bool[Array, "..."]:
    """Return whether the cell at an offset is one of the grid."""
    inside = jnp.ones(shape, bool)
    for axis, step in enumerate(offset):
        if step and faces[axis][0] != "periodic":
            place = lax.broadcasted_iota(jnp.int32, shape, axis)
            inside &= place != (0 if step < 0 else shape[axis] - 1)
    return inside


def is_inside_known(
    offset: Offset, shape: tuple[int, ...], faces: Faces
) -> Bool[np.ndarray, "..."]:
    """Return the same on the host."""
    inside = np.ones(shape, bool)
    for axis, step in enumerate(offset):
        if step and faces[axis][0] != "periodic":
            end = 0 if step < 0 else shape[axis] - 1
            inside[(slice(None),) * axis + (end,)] = False
    return inside


def cells_at(index: np.ndarray, offset: Offset) -> np.ndarray:
    """Return the number of the cell at an offset from each, on axes that go round."""
    return np.roll(index, negated(offset), axis=tuple(range(index.ndim)))
