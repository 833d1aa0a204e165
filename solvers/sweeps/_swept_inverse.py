"""A forward and a backward sweep as one operator: SSOR, and incomplete factors."""

import equinox as eqx
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator, Conjugate
from ...operators._field import Structure, structure_of
from ._sweeps import AbstractSweeps


class SweptInverse(AbstractLinearOperator):
    """(I + P⁻¹U)⁻¹ (I + P⁻¹L)⁻¹ S; made by `SSOR` and the incomplete factorisations.

    S is (2-ω) P⁻¹ with P = D/ω for `SSOR`, and P⁻¹ for incomplete factors.
    """

    sweeps: AbstractSweeps
    sweeps_of_T: AbstractSweeps | None
    scale: Inexact[Array, "..."]
    promised: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return structure_of(self.scale)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.promised

    @property
    @override
    def T(self) -> AbstractLinearOperator:
        if "symmetric" in self.promised:
            return self
        if self.sweeps_of_T is None:
            return Conjugate(self)
        return SweptInverse(self.sweeps_of_T, self.sweeps, self.scale, self.promised)

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.sweeps.solve(self.scale * x)
