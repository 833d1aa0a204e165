"""A solver around another one: what it does not change is the other's."""

from typing import Any

import equinox as eqx
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._field import Structure
from ._inner_product import InnerProduct
from ._solver import AbstractSolver, LinearSystem, Outcome


class AbstractWrapper(AbstractSolver):
    """A solver that hands everything on to another one; final classes say what not."""

    solver: eqx.AbstractVar[AbstractSolver]

    @property
    @override
    def rtol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.rtol

    @property
    @override
    def atol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.atol

    @property
    @override
    def max_steps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.max_steps

    @property
    @override
    def inner_product(self) -> InnerProduct:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.inner_product

    @property
    @override
    def is_flexible(self) -> bool:
        return self.solver.is_flexible

    @property
    @override
    def has_carry(self) -> bool:
        return self.solver.has_carry

    @override
    def initial_carry(self, structure: Structure) -> Any:
        return self.solver.initial_carry(structure)

    @override
    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> AbstractOperator | None:
        return self.solver.prepare(A, preconditioner)

    @override
    def start(self, system: LinearSystem, carry: Any) -> Any:
        return self.solver.start(system, carry)

    @override
    def advance(self, system: LinearSystem, state: Any, until: Any) -> Any:
        return self.solver.advance(system, state, until)

    @override
    def finish(self, system: LinearSystem, state: Any) -> Outcome:
        return self.solver.finish(system, state)

    @override
    def unroll(self, system: LinearSystem, carry: Any, num_steps: int) -> Outcome:
        return self.solver.unroll(system, carry, num_steps)

    @override
    def run(self, system: LinearSystem, carry: Any) -> Outcome:
        return self.solver.run(system, carry)
