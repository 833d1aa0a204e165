"""A grid of a multigrid hierarchy, with the ways from and to the next one."""

from functools import reduce
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact

from ...operators._materialise import materialise
from ._conductances import copy_pairs, sum_pairs


class Level(eqx.Module):
    """A grid of the hierarchy.

    Attributes:
        operator: A on this grid, with `mv`.
        inverse: the inverse of its diagonal, of a shape that broadcasts.
        is_linked: which cells have a link, if not all: others have no place on coarser
            grids and are left to the smoother.
        shape: of its fields.
        widths: per axis, the sizes of the cells where fields are densities, and
            averages go down; `None` where they are contents, and sums go down.
    """

    operator: Any
    inverse: Inexact[Array, "..."]
    is_linked: Bool[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)
    widths: tuple[tuple[float, ...], ...] | None = eqx.field(static=True, default=None)

    def restrict(self, r: Inexact[Array, "..."], shape: tuple[int, ...]):
        """Return a field of the next grid from one of this."""
        if self.is_linked is not None:
            r = jnp.where(self.is_linked, r, 0)
        for axis, size in enumerate(self.shape):
            if shape[axis] == size:
                continue
            if self.widths is not None:
                r = _along(_shares(self.widths[axis]), axis, r) * r
            r = sum_pairs(r, axis)
        return r

    def volumes(self) -> np.ndarray:
        """The sizes of the cells, flat."""
        if self.widths is None:
            return np.ones(int(np.prod(self.shape)))
        return reduce(np.multiply.outer, [np.array(w) for w in self.widths]).ravel()

    def prolong(self, e: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return a field of this grid from one of the next."""
        # The contiguous axis first, and held: the others then copy whole rows, in 1
        # instead of 4 ms to 128³ points.
        for axis in reversed(range(len(self.shape))):
            if e.shape[axis] != self.shape[axis]:
                e = copy_pairs(e, axis, self.shape[axis])
            if axis == len(self.shape) - 1:
                e = materialise(e)
        return e if self.is_linked is None else jnp.where(self.is_linked, e, 0)


def axes_to_coarsen(shape: tuple[int, ...], coarsest: int) -> list[int]:
    """The axes along which the next grid is coarser, none if this is the last."""
    if int(np.prod(shape)) <= coarsest:
        return []
    return [axis for axis, size in enumerate(shape) if size > 2]


def _shares(widths: tuple[float, ...]) -> np.ndarray:
    """Each cell's part of the pair that it merges into."""
    pairs = np.add.reduceat(np.array(widths), np.arange(0, len(widths), 2))
    shares = np.array(widths) / np.repeat(pairs, 2)[: len(widths)]
    return shares[:1] if np.ptp(shares) == 0 else shares


def _along(values: np.ndarray, axis: int, like: Inexact[Array, "..."]):
    shape = [-1 if a == axis else 1 for a in range(like.ndim)]
    return jnp.asarray(values.reshape(shape), like.dtype)
