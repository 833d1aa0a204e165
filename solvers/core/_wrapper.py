"""A solver around another one: what it does not change is the other's."""

from typing import Any

import equinox as eqx

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._field import Structure
from ._inner_product import InnerProduct
from ._solver import AbstractSolver, LinearSystem, Outcome


class AbstractWrapper(AbstractSolver):
    """A solver that hands everything on to another one; final classes say what not."""

    solver: eqx.AbstractVar[AbstractSolver]

    @property
    def rtol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the solver; it may be traced."""
        return self.solver.rtol

    @property
    def atol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the solver, likewise."""
        return self.solver.atol

    @property
    def max_steps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the solver."""
        return self.solver.max_steps

    @property
    def inner_product(self) -> InnerProduct:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the solver."""
        return self.solver.inner_product

    @property
    def is_flexible(self) -> bool:
        """As the solver."""
        return self.solver.is_flexible

    @property
    def has_carry(self) -> bool:
        """As the solver."""
        return self.solver.has_carry

    def initial_carry(self, structure: Structure) -> Any:
        """That of the solver."""
        return self.solver.initial_carry(structure)

    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> AbstractOperator | None:
        """Prepare the solver."""
        return self.solver.prepare(A, preconditioner)

    def start(self, system: LinearSystem, carry: Any) -> Any:
        """Start the solver."""
        return self.solver.start(system, carry)

    def advance(self, system: LinearSystem, state: Any, until: Any) -> Any:
        """Advance the solver."""
        return self.solver.advance(system, state, until)

    def finish(self, system: LinearSystem, state: Any) -> Outcome:
        """Finish the solver."""
        return self.solver.finish(system, state)

    def unroll(self, system: LinearSystem, carry: Any, num_steps: int) -> Outcome:
        """Unroll the solver."""
        return self.solver.unroll(system, carry, num_steps)

    def run(self, system: LinearSystem, carry: Any) -> Outcome:
        """Run the solver."""
        return self.solver.run(system, carry)
