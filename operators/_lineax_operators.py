"""The two classes behind `to_lineax` and `from_lineax`; the only ones to import lineax.

lineax asks thirteen single-dispatch functions what an operator is; all of them are
answered here, once for every operator of krylax.
"""

from typing import Any

import equinox as eqx
import lineax as lx
from jaxtyping import Array, Inexact
from typing_extensions import override

from ._declared import AbstractDeclaredOperator, Declared, declare
from ._diagonal import Diagonal
from ._field import Field, Structure, freeze, ravel, thaw, unravel
from ._identity import Identity
from ._operator import AbstractLinearOperator, Conjugate
from ._tags import is_real


class ToLineax(lx.AbstractLinearOperator):
    """An operator of krylax for lineax."""

    operator: AbstractLinearOperator

    @override
    def mv(self, vector: Field) -> Field:
        return self.operator.mv(vector)

    @override
    def as_matrix(self) -> Inexact[Array, "rows columns"]:
        return self.operator.as_matrix()

    def transpose(self) -> "ToLineax":
        """The transpose Aᵀ."""
        return ToLineax(self.operator.T)

    @override
    def in_structure(self) -> Structure:
        return self.operator.in_structure

    @override
    def out_structure(self) -> Structure:
        return self.operator.out_structure


class FromLineax(AbstractDeclaredOperator):
    """An operator of lineax for krylax.

    Its arrays and the rest, such as traced functions, are kept apart: only arrays may
    go through `jax.lax.stop_gradient`, which chord methods apply to all they keep.
    """

    arrays: Any
    rest: Any = eqx.field(static=True)
    declared: Declared

    @property
    def operator(self) -> lx.AbstractLinearOperator:
        """The operator of lineax."""
        return eqx.combine(self.arrays, self.rest)

    @property
    @override
    def in_structure(self) -> Structure:
        return _without_weak_types(self.operator.in_structure())

    @property
    @override
    def out_structure(self) -> Structure:
        return _without_weak_types(self.operator.out_structure())

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        if "symmetric" in self.tags:
            return self
        return make_from_lineax(self.operator.T)

    @override
    def mv(self, x: Field) -> Field:
        return self.operator.mv(x)

    @override
    def as_matrix(self) -> Inexact[Array, "rows columns"]:
        return self.operator.as_matrix()

    @override
    def diagonal(self) -> Field:
        return unravel(lx.diagonal(self.operator), self.in_structure)


def make_from_lineax(operator: lx.AbstractLinearOperator) -> FromLineax:
    """Return an operator of lineax as one of krylax."""
    tags = {
        "symmetric": lx.is_symmetric,
        "positive_semidefinite": lx.is_positive_semidefinite,
    }
    arrays, rest = eqx.partition(operator, eqx.is_array)
    declared = declare(
        [tag for tag, is_promised in tags.items() if is_promised(operator)],
        None,
        _without_weak_types(operator.in_structure()),
        _without_weak_types(operator.out_structure()),
    )
    return FromLineax(arrays, rest, declared)


def _without_weak_types(structure: Structure) -> Structure:
    return thaw(freeze(structure))


def _is_diagonal(A: ToLineax) -> bool:
    return isinstance(A.operator, Diagonal | Identity)


@lx.linearise.register(ToLineax)
def _linearise(A: ToLineax) -> ToLineax:
    return A


@lx.materialise.register(ToLineax)
def _materialise(A: ToLineax) -> lx.AbstractLinearOperator:
    tags = {lx.symmetric_tag: lx.is_symmetric}
    tags |= {lx.positive_semidefinite_tag: lx.is_positive_semidefinite}
    kept = frozenset(tag for tag, is_promised in tags.items() if is_promised(A))
    return lx.materialise(lx.FunctionLinearOperator(A.mv, A.in_structure(), kept))


@lx.diagonal.register(ToLineax)
def _diagonal(A: ToLineax) -> Inexact[Array, " n"]:
    return ravel(A.operator.diagonal())


@lx.tridiagonal.register(ToLineax)
def _tridiagonal(A: ToLineax) -> tuple[Array, Array, Array]:
    return lx.tridiagonal(lx.MatrixLinearOperator(A.as_matrix()))


@lx.conj.register(ToLineax)
def _conj(A: ToLineax) -> ToLineax:
    return A if is_real(A.in_structure()) else ToLineax(Conjugate(A.operator))


@lx.is_symmetric.register(ToLineax)
def _is_symmetric(A: ToLineax) -> bool:
    return "symmetric" in A.operator.tags


@lx.is_positive_semidefinite.register(ToLineax)
def _is_positive_semidefinite(A: ToLineax) -> bool:
    return "positive_semidefinite" in A.operator.tags


@lx.is_negative_semidefinite.register(ToLineax)
def _is_negative_semidefinite(A: ToLineax) -> bool:
    del A
    return False


@lx.has_unit_diagonal.register(ToLineax)
def _has_unit_diagonal(A: ToLineax) -> bool:
    return isinstance(A.operator, Identity)


for _question in (
    lx.is_diagonal,
    lx.is_tridiagonal,
    lx.is_lower_triangular,
    lx.is_upper_triangular,
):
    _question.register(ToLineax)(_is_diagonal)
