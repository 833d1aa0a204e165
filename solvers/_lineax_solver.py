"""The class behind `as_lineax_solver`; the only one here to import lineax."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import lineax as lx
from jaxtyping import Array, Int

from ..operators import AbstractLinearOperator, AbstractOperator, Conjugate, Function
from ..operators._field import Field
from ..operators._lineax import from_lineax
from ..operators._lineax_operators import FromLineax
from ..operators._tags import is_real
from ._solve import Preconditioner, solve
from .core._nullspace import complement_of
from .core._solver import AbstractSolver
from .core._status import Status

RESULT_OF_STATUS = {
    Status.converged: lx.RESULTS.successful,
    Status.attained: lx.RESULTS.successful,
    Status.max_steps_reached: lx.RESULTS.max_steps_reached,
    Status.stagnated: lx.RESULTS.stagnation,
    Status.breakdown: lx.RESULTS.breakdown,
    Status.indefinite_operator: lx.RESULTS.breakdown,
    Status.indefinite_preconditioner: lx.RESULTS.breakdown,
    Status.diverged: lx.RESULTS.stagnation,
    Status.nonfinite_input: lx.RESULTS.nonfinite_input,
    Status.nonfinite: lx.RESULTS.singular,
    Status.incompatible_rhs: lx.RESULTS.singular,
}


class _Prepared(eqx.Module):
    """A system as it is solved: with all signs changed where `is_negated`."""

    A: AbstractLinearOperator
    M: AbstractOperator | None
    is_negated: bool = eqx.field(static=True)
    is_cotangent: bool = eqx.field(static=True, default=False)


class LineaxSolver(lx.AbstractLinearSolver[_Prepared]):
    """A solver of krylax for lineax; made by `as_lineax_solver`."""

    solver: AbstractSolver
    preconditioner: Preconditioner | None

    def init(self, operator: lx.AbstractLinearOperator, options: Any) -> _Prepared:
        """Translate the operator and make its preconditioner, once."""
        A, M = _traced(from_lineax(operator)), self.preconditioner
        if "preconditioner" in options:
            M = from_lineax(options["preconditioner"])
        is_negated = bool(lx.is_negative_semidefinite(operator))
        if is_negated:
            A = -A
            M = -M if isinstance(M, AbstractLinearOperator) else M
        if M is not None and not isinstance(M, AbstractOperator):
            M = M(A)
        return _Prepared(A, M, is_negated)

    def compute(
        self, state: _Prepared, vector: Field, options: Any
    ) -> tuple[Field, lx.RESULTS, dict[str, Any]]:
        """Solve, and report in lineax's words."""
        b = _negative(vector) if state.is_negated else vector
        if state.is_cotangent:
            # A cotangent acts through what the operator reaches.
            b = complement_of(state.A, self.solver.inner_product).project(b)
        solution = solve(
            state.A,
            b,
            self.solver,
            preconditioner=state.M,
            x0=options.get("y0"),
            throw=False,
        )
        stats = {
            field.name: getattr(solution.stats, field.name)
            for field in dataclasses.fields(solution.stats)
        }
        stats |= {"status": solution.status, "max_steps": self.solver.max_steps}
        return solution.value, _result_of(solution.status), stats

    def transpose(self, state: _Prepared, options: Any) -> tuple[_Prepared, dict]:
        """The transposed system, for reverse-mode derivatives; without a start."""
        del options
        M = state.M.T if isinstance(state.M, AbstractLinearOperator) else None
        return _Prepared(state.A.T, M, state.is_negated, is_cotangent=True), {}

    def conj(self, state: _Prepared, options: Any) -> tuple[_Prepared, dict]:
        """The conjugated system; without a start."""
        del options
        if is_real(state.A.in_structure):
            return state, {}
        A, M = Conjugate(state.A), None
        if isinstance(state.M, AbstractLinearOperator):
            M = Conjugate(state.M)
        return _Prepared(A, M, state.is_negated, state.is_cotangent), {}

    def assume_full_rank(self) -> bool:
        """Whether operators are invertible, outside of a declared null space."""
        return True


def _traced(A: AbstractLinearOperator) -> AbstractLinearOperator:
    """The operator with the functions in it traced.

    The branches of an implicit method, one of which keeps a state and one of which
    makes it anew, have to agree in all that is no array; functions of lineax, such as
    Jacobians, do not.
    """
    if all(eqx.is_array(leaf) for leaf in jax.tree.leaves(_operator_within(A))):
        return A
    return Function(lambda x: A.mv(x), A.in_structure, tags=A.tags)


def _operator_within(A: AbstractLinearOperator) -> Any:
    return A.operator if isinstance(A, FromLineax) else A


def _result_of(status: Int[Array, ""]) -> lx.RESULTS:
    result = lx.RESULTS.singular
    for member, name in RESULT_OF_STATUS.items():
        result = lx.RESULTS.where(status == member.value, name, result)
    return result


def _negative(x: Field) -> Field:
    return jax.tree.map(lambda leaf: -leaf, x)
