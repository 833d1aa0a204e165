"""A stencil as an operator."""

from jaxtyping import Array, Inexact
from typing_extensions import override

from .._declared import AbstractDeclaredOperator, Declared
from .._field import Structure, structure_of
from .._operator import AbstractLinearOperator
from ._stencil import Stencil


class StencilOperator(AbstractDeclaredOperator):
    """A stencil as an operator: the transpose of a grid operator, which it keeps."""

    couplings: Stencil
    declared: Declared
    original: AbstractLinearOperator

    @property
    @override
    def in_structure(self) -> Structure:
        return structure_of(self.couplings.centre)

    @property
    @override
    def stencil(self) -> Stencil:
        return self.couplings

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        """The operator that this is the transpose of."""
        return self.original

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.couplings.mv(x)

    @override
    def diagonal(self) -> Inexact[Array, "..."]:
        """The weights of the cells themselves."""
        return self.couplings.diagonal()
