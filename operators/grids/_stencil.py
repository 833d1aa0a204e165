"""A stencil: what each cell of a grid takes from itself and from its neighbours.

(A u)_i = (centre_i + shift_i) u_i + Σ_o coupling_oi u_{i+o}, where an offset o is -1, 0
or 1 along each axis. Beyond the grid u is zero, or on a periodic axis goes round. The
transpose of a stencil is a stencil, with opposite offsets.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from .._arguments import require_flag, shown
from .._diagonal_blocks import MatrixDiagonals
from .._field import Field, as_finite, is_traced, require_finite
from .._sparse import Sparse
from ._boundary import BoundaryLike, Condition, Faces, as_faces
from ._offsets import (
    Offset,
    along,
    as_offsets,
    at_offset,
    cells_at,
    is_inside,
    is_inside_known,
    negated,
    num_axes_of,
    require_neighbours,
)


class Stencil(eqx.Module):
    """The couplings of the cells of a grid; `Stencil.of` makes one.

    An operator on a grid answers with it as its property `stencil`; that is all that
    `Multigrid` (along the axes alone), `SSOR`, `IncompleteCholesky`, `IncompleteLU` and
    `BlockJacobi` need.

    Attributes:
        centre: per cell, the weight of the cell itself, without `shift`.
        couplings: per offset, the weight of the cell at that offset, zero where that
            leads out of the grid.
        offsets: of the couplings.
        faces: the boundary conditions. Products need only "periodic" of them; no
            "dirichlet" says that the operator may be singular.
        is_symmetric: whether the coupling of i to j is that of j to i. Then one offset
            of each opposite pair is stored, the one that leads on in row-major order.
        shift: the part of the diagonal that belongs to no coupling and no wall, such as
            that of a term c u in the equation; `None` for zero.
    """

    centre: Inexact[Array, "..."]
    couplings: tuple[Inexact[Array, "..."], ...]
    offsets: tuple[Offset, ...] = eqx.field(static=True)
    faces: Faces = eqx.field(static=True)
    is_symmetric: bool = eqx.field(static=True)
    shift: Inexact[Array, "..."] | None = None

    @classmethod
    def of(
        cls,
        centre: Any,
        couplings: Mapping[Offset, Any],
        *,
        boundary: BoundaryLike = "dirichlet",
        is_symmetric: bool = False,
    ) -> "Stencil":
        """Return the stencil with these couplings.

        Args:
            centre: per cell, its own weight: the diagonal of the operator.
            couplings: by offset, such as (0, 1) for the next cell along the last of two
                axes, the weight that each cell gives to the cell there; of a shape that
                broadcasts to the grid. What leads out of the grid is ignored.
            boundary: as of the operators on grids.
            is_symmetric: each of the couplings holds in both directions: the weight of
                i + o in the row of i is that of i in the row of i + o. Give one offset
                of each opposite pair, then: the one that leads on in row-major order.

        Raises:
            ValueError: a grid that has not one to three axes; an offset that is none,
                of a symmetric stencil one that leads back, or one along a periodic axis
                of one cell; couplings that do not broadcast to the grid, or complex
                ones beside a real centre; infinities or NaN.

        Examples:
            >>> import jax.numpy as jnp, krylax as kx
            >>> line = kx.operators.Stencil.of(
            ...     2 * jnp.ones(3), {(1,): -1.0}, is_symmetric=True
            ... )
            >>> line.mv(jnp.array([1.0, 2.0, 4.0]))
            Array([ 0., -1.,  6.], dtype=float64)
        """
        centre = as_finite(centre, "centre")
        faces = as_faces(boundary, centre.ndim)
        require_flag(is_symmetric, "is_symmetric")
        if not isinstance(couplings, Mapping):
            raise ValueError(
                "couplings must be weights by offset, such as {(0, 1): -1.0}, got "
                f"{shown(couplings)}"
            )
        offsets = as_offsets(couplings, centre.ndim, is_symmetric)
        require_neighbours(offsets, centre.shape, faces)
        return cls(
            centre=centre,
            couplings=tuple(
                _as_coupling(weight, offset, centre, faces)
                for offset, weight in zip(offsets, couplings.values(), strict=True)
            ),
            offsets=offsets,
            faces=faces,
            is_symmetric=is_symmetric,
        )

    @classmethod
    def along_axes(
        cls,
        centre: Inexact[Array, "..."],
        low: Sequence[Inexact[Array, "..."]],
        high: Sequence[Inexact[Array, "..."]],
        faces: Faces,
    ) -> "Stencil":
        """The stencil of previous and next cells per axis, zero outside of the grid."""
        num_axes = len(faces)
        pairs = zip(low, high, strict=True)
        offsets = [
            along(axis, step, num_axes) for axis in range(num_axes) for step in (-1, 1)
        ]
        couplings = tuple(weight for pair in pairs for weight in pair)
        return cls(centre, couplings, tuple(offsets), faces, is_symmetric=False)

    @classmethod
    def of_links(
        cls,
        centre: Inexact[Array, "..."],
        links: Sequence[Inexact[Array, "..."]],
        faces: Faces,
        shift: Inexact[Array, "..."] | None = None,
    ) -> "Stencil":
        """The symmetric stencil of conductances to the next cell along each axis."""
        offsets = tuple(along(axis, 1, len(faces)) for axis in range(len(faces)))
        return cls(centre, tuple(-x for x in links), offsets, faces, True, shift)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return self.centre.shape

    @property
    def is_axial(self) -> bool:
        """Whether all couplings are along an axis: the 2d+1-point stencils."""
        return all(num_axes_of(offset) == 1 for offset in self.offsets)

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes go round."""
        return tuple(pair[0] == "periodic" for pair in self.faces)

    @property
    def low(self) -> tuple[Inexact[Array, "..."], ...]:
        """Per axis, the weight of the previous cell."""
        num_axes = len(self.faces)
        return tuple(self.coupling(along(a, -1, num_axes)) for a in range(num_axes))

    @property
    def high(self) -> tuple[Inexact[Array, "..."], ...]:
        """Per axis, the weight of the next cell."""
        num_axes = len(self.faces)
        return tuple(self.coupling(along(a, 1, num_axes)) for a in range(num_axes))

    @property
    def T(self) -> "Stencil":
        """The transposed stencil."""
        if self.is_symmetric:
            return self
        couplings = tuple(map(self._seen_from_there, self.offsets, self.couplings))
        offsets = tuple(map(negated, self.offsets))
        return Stencil(self.centre, couplings, offsets, self.faces, False, self.shift)

    def diagonal(self) -> Inexact[Array, "..."]:
        """The diagonal of the operator."""
        return self.centre if self.shift is None else self.centre + self.shift

    def coupling(self, offset: Offset) -> Inexact[Array, "..."]:
        """Return per cell the weight of the cell at this offset."""
        if offset in self.offsets:
            return self.couplings[self.offsets.index(offset)]
        back = negated(offset)
        if self.is_symmetric and back in self.offsets:
            forward = self.couplings[self.offsets.index(back)]
            return self._seen_from_there(back, forward)
        return jnp.zeros_like(self.centre)

    def complete(self) -> "Stencil":
        """Return the stencil with both offsets of every pair stored."""
        if not self.is_symmetric:
            return self
        offsets = [o for pair in self.offsets for o in (negated(pair), pair)]
        couplings = tuple(map(self.coupling, offsets))
        return Stencil(
            self.centre, couplings, tuple(offsets), self.faces, False, self.shift
        )

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return A x."""
        terms = [self.diagonal() * x]
        for offset, weight in zip(self.offsets, self.couplings, strict=True):
            terms.append(weight * at_offset(x, offset, self.faces))
            if self.is_symmetric:
                terms.append(at_offset(weight * x, negated(offset), self.faces))
        return reduce(add, terms)

    def scaled(self, factor: Inexact[Array, ""]) -> "Stencil":
        """Return the multiple c A."""
        factor = factor.astype(self.centre.dtype)
        return jax.tree.map(lambda leaf: factor * leaf, self)

    def plus(self, other: "Stencil") -> "Stencil | None":
        """Return the sum A + B, `None` where the axes go round differently."""
        if not self.offsets or not other.offsets:
            faces = (self if self.offsets else other).faces
        elif self.periodic == other.periodic:
            faces = _sum_of_faces(self.faces, other.faces)
        else:
            return None
        is_symmetric = self.is_symmetric and other.is_symmetric
        left, right = (
            (self, other) if is_symmetric else (self.complete(), other.complete())
        )
        couplings = dict(zip(left.offsets, left.couplings, strict=True))
        for offset, weight in zip(right.offsets, right.couplings, strict=True):
            known = couplings.get(offset)
            couplings[offset] = weight if known is None else known + weight
        shifts = [s for s in (self.shift, other.shift) if s is not None]
        return Stencil(
            centre=self.centre + other.centre,
            couplings=tuple(couplings.values()),
            offsets=tuple(couplings),
            faces=faces,
            is_symmetric=is_symmetric,
            shift=reduce(add, shifts) if shifts else None,
        )

    def matrix_diagonals(self) -> MatrixDiagonals:
        """The diagonals of the matrix, cells numbered row-major."""
        index = np.arange(self.centre.size).reshape(self.shape)
        found = [(0, self.diagonal().reshape(-1))]
        full = self.complete()
        for offset, weight in zip(full.offsets, full.couplings, strict=True):
            distance = cells_at(index, offset) - index
            inside = is_inside_known(offset, self.shape, self.faces)
            for step in np.unique(distance[inside]):
                kept = inside & (distance == step)
                # Where all is kept nothing is left to select.
                values = (
                    weight if np.all(kept | ~inside) else jnp.where(kept, weight, 0)
                )
                found.append((int(step), values.reshape(-1)))
        return found

    def as_sparse(self) -> Sparse:
        """The matrix, cells numbered row-major, with a pattern that is not traced."""
        index = np.arange(self.centre.size).reshape(self.shape)
        full = self.complete()
        rows, columns, values = [index.ravel()], [index.ravel()], [self.diagonal()]
        kept = [np.ones(index.size, bool)]
        for offset, weight in zip(full.offsets, full.couplings, strict=True):
            rows.append(index.ravel())
            columns.append(cells_at(index, offset).ravel())
            kept.append(is_inside_known(offset, self.shape, self.faces).ravel())
            values.append(weight)
        places = np.flatnonzero(np.concatenate(kept))
        i, j = np.concatenate(rows)[places], np.concatenate(columns)[places]
        order = np.lexsort((j, i))
        flat = jnp.concatenate([value.reshape(-1) for value in values])
        indptr = np.concatenate([[0], np.cumsum(np.bincount(i, minlength=index.size))])
        return Sparse(flat[places[order]], j[order], indptr, (index.size, index.size))

    def _seen_from_there(
        self, offset: Offset, weight: Inexact[Array, "..."]
    ) -> Inexact[Array, "..."]:
        """The weights of a coupling, stored at the cells that it leads to."""
        return at_offset(weight, negated(offset), self.faces)


def stencil_of_diagonal(values: Field) -> Stencil | None:
    """A diagonal as a stencil without couplings, if its field is one of a grid."""
    if not isinstance(values, jax.Array) or not 1 <= values.ndim <= 3:
        return None
    wall: tuple[Condition, Condition] = ("neumann", "neumann")
    faces: Faces = (wall,) * values.ndim
    return Stencil(jnp.zeros_like(values), (), (), faces, True, values)


def _sum_of_faces(left: Faces, right: Faces) -> Faces:
    """Dirichlet where one is: one wall that holds the value is enough."""

    def of_pair(a: Condition, b: Condition) -> Condition:
        return "dirichlet" if "dirichlet" in (a, b) else a

    pairs = zip(left, right, strict=True)
    return tuple((of_pair(a, c), of_pair(b, d)) for (a, b), (c, d) in pairs)


def _as_coupling(
    weight: Any, offset: Offset, centre: Inexact[Array, "..."], faces: Faces
) -> Inexact[Array, "..."]:
    """Return one weight per cell, zero where the offset leads out of the grid."""
    if not isinstance(weight, jax.Array):
        weight = np.asarray(weight)
    is_real = not jnp.iscomplexobj(centre)
    if is_real and jnp.iscomplexobj(weight):
        raise ValueError(
            f"the centre of a stencil is real, got a complex coupling at {offset}; "
            "give the centre in a complex dtype"
        )
    try:
        np.broadcast_shapes(jnp.shape(weight), centre.shape)
    except ValueError:
        fits = False
    else:
        fits = jnp.ndim(weight) in (0, centre.ndim)
    if not fits:
        raise ValueError(
            f"a coupling has one weight, or one per cell, shape {centre.shape}, got "
            f"shape {jnp.shape(weight)} at {offset}"
        )
    if not is_traced(weight):
        # What leads out of the grid may be anything.
        known = is_inside_known(offset, centre.shape, faces)
        require_finite(np.where(known, weight, 0), f"the coupling at {offset}")
    inside = is_inside(offset, centre.shape, faces)
    return jnp.where(inside, jnp.asarray(weight, centre.dtype), 0)
