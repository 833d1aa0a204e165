"""The planes across one axis of a grid, kept and left out by turns.

Fields have the axis along lines first and the one that is halved second. Kept planes
are 0, 2, ...; beside left plane f, which is 2f + 1, are kept planes f and f + 1.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from ...operators._materialise import materialise
from ...operators.grids._boundary import Faces
from ...operators.grids._offsets import Offset, at_offset, neighbour

Field = Inexact[Array, "..."]

CACHE_PERIOD = 64
"""Cells after which lines of a cache begin to coincide."""


class Planes(eqx.Module):
    """How many planes of both kinds there are, and what lies beyond the last.

    Attributes:
        num_kept: the kept ones.
        num_left: those between, as many or one less.
        faces: the boundary conditions.
    """

    num_kept: int = eqx.field(static=True)
    num_left: int = eqx.field(static=True)
    faces: Faces = eqx.field(static=True)

    @property
    def is_closed(self) -> bool:
        """Whether the last plane is a neighbour of the first."""
        return self.faces[1][0] == "periodic"

    def at(self, x: Field, offset: Offset) -> Field:
        """Return the cell at an offset within its plane."""
        return at_offset(x, offset, self.faces)

    def before(self, x: Field) -> Field:
        """Return for each left plane the kept one before it."""
        return lax.slice_in_dim(x, 0, self.num_left, axis=1)

    def after(self, x: Field) -> Field:
        """Return for each left plane the kept one after it, zero beyond a wall."""
        if self.num_kept > self.num_left:
            return lax.slice_in_dim(x, 1, self.num_kept, axis=1)
        return neighbour(x, 1, "high", self.faces)

    def to_before(self, y: Field) -> Field:
        """The transpose of `before`."""
        return _padded(y, 0, self.num_kept - self.num_left)

    def to_after(self, y: Field) -> Field:
        """The transpose of `after`."""
        if self.num_kept > self.num_left:
            return _padded(y, 1, 0)
        return neighbour(y, 1, "low", self.faces)


def split(x: Field) -> tuple[Field, Field]:
    """Return the kept planes of a field and the left ones."""
    size = x.shape[1]
    return (
        lax.slice_in_dim(x, 0, size, stride=2, axis=1),
        lax.slice_in_dim(x, 1, size, stride=2, axis=1),
    )


def joined(kept: Field, left: Field) -> Field:
    """Return the field whose planes these are."""
    size = kept.shape[1] + left.shape[1]
    if left.shape[1] < kept.shape[1]:
        left = _padded(left, 0, 1)
    both = jnp.stack([kept, left], axis=2)
    both = both.reshape(kept.shape[0], -1, *kept.shape[2:])
    return lax.slice_in_dim(both, 0, size, axis=1)


def transposed(x: Field, order: tuple[int, ...]) -> Field:
    """Return a field with its axes in another order, computed once and stored."""
    if order == tuple(range(x.ndim)):
        return materialise(x)
    if x.shape[-1] % CACHE_PERIOD or order[-1] == x.ndim - 1:
        return jnp.transpose(materialise(x), order)
    # Cells one row apart would share a line of the cache: 256 x 256 cells take 160 us,
    # and 60 us with rows of another length.
    widths = [(0, 0, 0)] * (x.ndim - 1) + [(0, 8, 0)]
    padded = materialise(lax.pad(x, jnp.zeros((), x.dtype), widths))
    last = order.index(x.ndim - 1)
    return lax.slice_in_dim(jnp.transpose(padded, order), 0, x.shape[-1], axis=last)


def _padded(x: Field, low: int, high: int) -> Field:
    widths = [(0, 0, 0)] * x.ndim
    widths[1] = (low, high, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), widths)
