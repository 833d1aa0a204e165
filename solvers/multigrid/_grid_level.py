"""A grid as a level of multigrid: pairs of cells along each axis merge."""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact
from typing_extensions import override

from ...operators._field import Structure, array_structure
from ...operators._materialise import materialise
from ...operators.grids._network import Network
from ._conductances import copy_pairs, sum_pairs
from ._jacobi_sweeps import JacobiSweeps
from ._level import AbstractLevel, AbstractSmoother

Widths = tuple[tuple[float, ...], ...]


class Grid(eqx.Module):
    """A grid of the hierarchy, with the operator on it.

    Attributes:
        operator: A on this grid, with `mv`.
        inverse: the inverse of its diagonal, of a shape that broadcasts.
        is_linked: which cells have a link, if not all. Cells without one do not appear
            on coarser grids and are left to the smoother.
        shape: of its fields.
        widths: per axis, the cell sizes, if fields are densities, which are averaged on
            restriction; `None` if they are integrals over cells, which are summed.
    """

    operator: Any
    inverse: Inexact[Array, "..."]
    is_linked: Bool[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)
    widths: Widths | None = eqx.field(static=True, default=None)

    def volumes(self) -> np.ndarray:
        """The sizes of the cells, flat."""
        if self.widths is None:
            return np.ones(int(np.prod(self.shape)))
        return reduce(np.multiply.outer, [np.array(w) for w in self.widths]).ravel()


class GridLevel(AbstractLevel):
    """A grid above the coarsest one.

    Attributes:
        operator: A on this grid, with `mv`.
        smoother: of this grid.
        is_linked: as of `Grid`.
        shape: of its fields.
        coarse_shape: of fields on the next grid.
        widths: as of `Grid`.
        known: what is known of A.
    """

    operator: Any
    smoother: AbstractSmoother
    is_linked: Bool[Array, "..."] | None
    shape: tuple[int, ...] = eqx.field(static=True)
    coarse_shape: tuple[int, ...] = eqx.field(static=True)
    widths: Widths | None = eqx.field(static=True)
    dtype: jnp.dtype = eqx.field(static=True)
    known: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.shape, self.dtype)

    @property
    @override
    def coarse_structure(self) -> Structure:
        return array_structure(self.coarse_shape, self.dtype)

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.operator.mv(x)

    @override
    def restrict(self, r: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        if self.is_linked is not None:
            r = jnp.where(self.is_linked, r, 0)
        for axis, size in enumerate(self.shape):
            if self.coarse_shape[axis] == size:
                continue
            if self.widths is not None:
                r = _along(_shares(self.widths[axis]), axis, r) * r
            r = sum_pairs(r, axis)
        return r

    @override
    def prolong(self, e: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        # The contiguous axis first, and held: the others then copy whole rows, in 1
        # instead of 4 ms to 128³ points.
        for axis in reversed(range(len(self.shape))):
            if e.shape[axis] != self.shape[axis]:
                e = copy_pairs(e, axis, self.shape[axis])
            if axis == len(self.shape) - 1:
                e = materialise(e)
        return e if self.is_linked is None else jnp.where(self.is_linked, e, 0)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.known

    @property
    @override
    def has_adjoint_transfers(self) -> bool:
        # In the inner products that are weighted by the sizes of the cells.
        return True

    @property
    @override
    def T(self) -> "GridLevel | None":
        smoother = self.smoother.T
        if smoother is None or self.widths is not None:
            return None
        # A network is symmetric, complex or not.
        is_own = isinstance(self.operator, Network)
        operator = self.operator if is_own else self.operator.T
        return eqx.tree_at(
            lambda level: (level.operator, level.smoother),
            self,
            (operator, smoother),
        )


def levels_of_grids(
    grids: Sequence[Grid],
    steps: tuple[float, ...],
    tags: frozenset[str],
) -> tuple[GridLevel, ...]:
    """Return each grid but the last one as a level, smoothed by Jacobi sweeps.

    Args:
        grids: from fine to coarse.
        steps: of the sweeps.
        tags: of the operator on the finest grid; the grids below inherit them.
    """
    return tuple(
        GridLevel(
            operator=grid.operator,
            smoother=JacobiSweeps(grid.inverse, steps),
            is_linked=grid.is_linked,
            shape=grid.shape,
            coarse_shape=below.shape,
            widths=grid.widths,
            dtype=grid.inverse.dtype,
            known=tags - {"singular"},
        )
        for grid, below in pairwise(grids)
    )


def axes_to_coarsen(
    shape: tuple[int, ...], coarsest: int, ahead: Sequence[int] = ()
) -> list[int]:
    """The axes along which the next grid is coarser, none if this is the last.

    Args:
        shape: of the grid.
        coarsest: number of cells of the last grid at most.
        ahead: how many times each axis is still to be halved before the others.
    """
    if int(np.prod(shape)) <= coarsest:
        return []
    axes = [axis for axis, size in enumerate(shape) if size > 2]
    if not ahead:
        return axes
    most = max((ahead[axis] for axis in axes), default=0)
    return [axis for axis in axes if ahead[axis] == most]


def left_ahead(ahead: Sequence[int], axes: list[int]) -> list[int]:
    """Return how many times each axis is ahead of the others after a halving."""
    left = [count - (axis in axes) for axis, count in enumerate(ahead)]
    return [count - min(left) for count in left]


def _shares(widths: tuple[float, ...]) -> np.ndarray:
    """Return the fraction of each cell in the size of its pair."""
    pairs = np.add.reduceat(np.array(widths), np.arange(0, len(widths), 2))
    shares = np.array(widths) / np.repeat(pairs, 2)[: len(widths)]
    return shares[:1] if np.ptp(shares) == 0 else shares


def _along(
    values: np.ndarray, axis: int, like: Inexact[Array, "..."]
) -> Inexact[Array, "..."]:
    shape = [-1 if a == axis else 1 for a in range(like.ndim)]
    return jnp.asarray(values.reshape(shape), like.dtype)
