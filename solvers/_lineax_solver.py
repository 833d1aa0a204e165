"""The class behind `as_lineax_solver`; the only one here to import lineax."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Int

from ..operators import AbstractLinearOperator, AbstractOperator, Conjugate, Function
from ..operators._field import Field, Structure, describe
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
    """A system as it is solved: with all signs changed where `is_negated`.

    `dtypes` are those of a solution and of a right-hand side, array by array, where
    they are not one dtype, in which the system is solved.
    """

    A: AbstractLinearOperator
    M: AbstractOperator | None
    dtypes: tuple[Any, Any] = eqx.field(static=True)
    is_negated: bool = eqx.field(static=True)
    is_cotangent: bool = eqx.field(static=True, default=False)


class LineaxSolver(lx.AbstractLinearSolver[_Prepared]):
    """A solver of krylax for lineax; made by `as_lineax_solver`."""

    solver: AbstractSolver
    preconditioner: Preconditioner | None

    def init(self, operator: lx.AbstractLinearOperator, options: Any) -> _Prepared:
        """Translate the operator and make its preconditioner, once."""
        structures = operator.in_structure(), operator.out_structure()
        A, M = _traced(from_lineax(_of_one_dtype(operator))), self.preconditioner
        if "preconditioner" in options:
            M = from_lineax(options["preconditioner"])
        is_negated = bool(lx.is_negative_semidefinite(operator))
        if is_negated:
            A = -A
            M = -M if isinstance(M, AbstractLinearOperator) else M
        if M is None and callable(self.solver):
            # A direct solver is a factory: its factors serve all right-hand sides.
            M = self.solver
        if M is not None and not isinstance(M, AbstractOperator):
            M = M(A)
        return _Prepared(A, M, tuple(map(_dtypes_of, structures)), is_negated)

    def compute(
        self, state: _Prepared, vector: Field, options: Any
    ) -> tuple[Field, lx.RESULTS, dict[str, Any]]:
        """Solve, and report in lineax's words."""
        b = _cast(vector, state.A.out_structure)
        b = _negative(b) if state.is_negated else b
        if state.is_cotangent:
            # A cotangent acts through what the operator reaches.
            b = complement_of(state.A, self.solver.inner_product).project(b)
        x0 = options.get("y0")
        solution = solve(
            state.A,
            b,
            self.solver,
            preconditioner=state.M,
            x0=None if x0 is None else _cast(x0, state.A.in_structure),
            throw=False,
        )
        stats = {
            field.name: getattr(solution.stats, field.name)
            for field in dataclasses.fields(solution.stats)
        }
        stats |= {"status": solution.status, "max_steps": self.solver.max_steps}
        leaves, tree = jax.tree.flatten(solution.value)
        value = [
            leaf.astype(dtype)
            for leaf, dtype in zip(leaves, state.dtypes[0], strict=True)
        ]
        return tree.unflatten(value), _result_of(solution.status), stats

    def transpose(self, state: _Prepared, options: Any) -> tuple[_Prepared, dict]:
        """The transposed system, for reverse-mode derivatives; without a start."""
        del options
        M = state.M.T if isinstance(state.M, AbstractLinearOperator) else None
        dtypes = state.dtypes[::-1]
        return _Prepared(state.A.T, M, dtypes, state.is_negated, is_cotangent=True), {}

    def conj(self, state: _Prepared, options: Any) -> tuple[_Prepared, dict]:
        """The conjugated system; without a start."""
        del options
        if is_real(state.A.in_structure):
            return state, {}
        A, M = Conjugate(state.A), None
        if isinstance(state.M, AbstractLinearOperator):
            M = Conjugate(state.M)
        return dataclasses.replace(state, A=A, M=M), {}

    def assume_full_rank(self) -> bool:
        """Whether operators are invertible, outside of a declared null space."""
        return True


def _of_one_dtype(operator: lx.AbstractLinearOperator) -> lx.AbstractLinearOperator:
    """The operator; where its fields are of several dtypes, between fields of one.

    Raises:
        ValueError: real and complex arrays in one system.
    """
    structures = operator.in_structure(), operator.out_structure()
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(structures)}
    if len(dtypes) <= 1:
        return operator
    if len({jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes}) > 1:
        raise ValueError(
            "the fields of an operator must be all real or all complex, got "
            f"{describe(structures)}; convert them to complex"
        )
    widest = max(dtypes, key=lambda dtype: jnp.finfo(dtype).bits)

    def mv(x: Field) -> Field:
        x = _cast(x, structures[0])
        return jax.tree.map(lambda leaf: leaf.astype(widest), operator.mv(x))

    structure = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s.shape, widest), structures[0]
    )
    tags = {
        lx.symmetric_tag: lx.is_symmetric,
        lx.positive_semidefinite_tag: lx.is_positive_semidefinite,
        lx.negative_semidefinite_tag: lx.is_negative_semidefinite,
    }
    kept = frozenset(tag for tag, is_promised in tags.items() if is_promised(operator))
    return lx.FunctionLinearOperator(mv, structure, kept)


def _cast(field: Field, structure: Structure) -> Field:
    return jax.tree.map(lambda leaf, s: leaf.astype(s.dtype), field, structure)


def _dtypes_of(structure: Structure) -> tuple[Any, ...]:
    return tuple(leaf.dtype for leaf in jax.tree.leaves(structure))


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
