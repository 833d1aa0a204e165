"""A stencil of neighbours along the axes of a grid that need not be symmetric.

(A u)_i = centre_i u_i + Σ_axes (low_i u_{i-1} + high_i u_{i+1}). Its transpose is a
stencil too, with the roles of low and high exchanged and moved by one cell.
"""

from functools import reduce
from operator import add

import equinox as eqx
from jaxtyping import Array, Inexact

from .._declared import AbstractDeclaredOperator, Declared
from .._field import Structure, structure_of
from .._operator import AbstractLinearOperator
from ._boundary import Faces
from ._shift import Side, edge_in_zeros, opposite, shift_in_zero


class Stencil(eqx.Module):
    """Weights of each cell and of its neighbours.

    Attributes:
        centre: weight of the cell itself.
        low: per axis, the weight of the previous cell; at the first cell that of the
            wrap of a periodic axis, else zero.
        high: per axis, the weight of the next cell, likewise.
        faces: the boundary conditions, of which only "periodic" matters here.
    """

    centre: Inexact[Array, "..."]
    low: tuple[Inexact[Array, "..."], ...]
    high: tuple[Inexact[Array, "..."], ...]
    faces: Faces = eqx.field(static=True)

    @property
    def T(self) -> "Stencil":
        """The transposed stencil."""
        num_axes = len(self.faces)
        low = [neighbour(self.high[a], a, "low", self.faces) for a in range(num_axes)]
        high = [neighbour(self.low[a], a, "high", self.faces) for a in range(num_axes)]
        return Stencil(self.centre, tuple(low), tuple(high), self.faces)

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return A x."""
        terms = [self.centre * x]
        for axis, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            terms.append(low * neighbour(x, axis, "low", self.faces))
            terms.append(high * neighbour(x, axis, "high", self.faces))
        return reduce(add, terms)


class StencilOperator(AbstractDeclaredOperator):
    """A stencil as an operator; the transpose of one that knows more about itself."""

    stencil: Stencil
    declared: Declared
    original: AbstractLinearOperator

    @property
    def in_structure(self) -> Structure:
        """An array with one entry per cell."""
        return structure_of(self.stencil.centre)

    @property
    def T(self) -> AbstractLinearOperator:
        """The operator that this is the transpose of."""
        return self.original

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return A x."""
        return self.stencil.mv(x)

    def diagonal(self) -> Inexact[Array, "..."]:
        """The weights of the cells themselves."""
        return self.stencil.centre


def neighbour(
    x: Inexact[Array, "..."], axis: int, side: Side, faces: Faces
) -> Inexact[Array, "..."]:
    """Return each cell's neighbour, zero outside, wrapped on a periodic axis."""
    shifted = shift_in_zero(x, axis, side)
    if faces[axis][0] != "periodic":
        return shifted
    return shifted + edge_in_zeros(x, axis, opposite(side), side)
