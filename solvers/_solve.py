"""The top-level solve: checks, differentiation by the implicit rule, certification.

For A x = b the derivative of x solves a system with the same operator,
A x' = b' - A' x, and its transpose one with Aᵀ; `jax.lax.custom_linear_solve` arranges
both, so that no iteration is differentiated.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ..operators import AbstractLinearOperator, AbstractOperator
from ..operators._arithmetic import all_finite, scale, select, zeros_like
from ..operators._field import Field, as_field, is_traced
from ._requirements import (
    require_count,
    require_fitting,
    require_preconditioner,
    require_solvable,
    require_types,
)
from .core._compilation import compile_modules
from .core._nullspace import as_incompatible, complement_of
from .core._preparation import Prepared, Start, prepare
from .core._raising import raise_failure, raise_traced
from .core._residual import true_residual
from .core._solution import Solution, Statistics
from .core._solver import AbstractSolver, Outcome
from .core._status import RUNNING, Status, first_of

Preconditioner = AbstractOperator | Callable[[Any], AbstractOperator]


def solve(
    A: AbstractLinearOperator,
    b: Any,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | None = None,
    x0: Any = None,
    carry: Any = None,
    throw: bool = True,
    unroll: int | None = None,
) -> Solution:
    """Solve the square linear system A x = b and certify the result.

    Converged means ‖b − A x‖ ≤ max(rtol·‖b‖, atol), measured on the x that is returned.
    Compiled on first use for each combination of structures; works inside `jit`, `vmap`
    and `scan`. Derivatives in both modes, with respect to b and all arrays in A, are by
    the implicit rule with the solver's tolerance; `x0`, `carry`, the preconditioner and
    the statistics have derivative zero.

    Args:
        A: the operator.
        b: the right-hand side, with the structure of A's fields.
        solver: the method and its tolerances.
        preconditioner: an approximate inverse of A, or a factory that makes one from A,
            such as `Jacobi()`. Any function is a factory; one that is to be applied to
            residuals is an operator, `Function(f, A.in_structure)`.
        x0: a start; dropped where its residual is larger than that of zero.
        carry: what the solve before in a sequence returned, with the same solver
            settings and fields.
        throw: raise on failure, also under `jit` (where it costs a host round trip);
            otherwise only the status reports it.
        unroll: take exactly this many steps and differentiate each of them, with
            respect to `x0`, the preconditioner and the residual too, as for training;
            nothing raises then. Methods of short recurrences, GMRES and FGMRES.

    Returns:
        The solution, its status, its statistics, and the carry. For b = 0 it is zero
        after no steps. An operator with a declared null space is solved orthogonally to
        it.

    Cost: the solver's, one pass over the arrays of A, and, where the solver has not
    ended on a residual computed from x, one product to certify. The number of vectors
    in a solver's docstring includes x but not b; `solve` keeps one more, a scaled copy
    of b.

    Raises:
        ValueError: known while tracing: structures that do not fit, a singular operator
            without a declared null space, a carry of another solver, rtol below 10 eps,
            64 bits without x64, a solver that cannot be unrolled.
        TypeError: an argument is not what its name says.
        SolveError: with `throw`, the status is not `converged`; under `jit` an error of
            JAX with the same sentence, a `RuntimeError` or a `ValueError`.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((3,))
        >>> sol = kx.solve(A, jnp.array([1.0, 0.0, 1.0]), kx.solvers.CG(rtol=1e-10))
        >>> sol.value.round(6), kx.Status(sol.status).name
        (Array([1., 1., 1.], dtype=float64), 'converged')
    """
    b = as_field(b, "b")
    x0 = None if x0 is None else as_field(x0, "x0")
    require_types(A, solver, preconditioner)
    require_count(unroll)
    throw = throw and unroll is None
    if carry is None and solver.has_carry:
        # An empty one, so that the first solve of a sequence shares the program.
        carry = solver.initial_carry(A.in_structure)
    arguments = (A, b, solver, preconditioner, x0, carry)
    # Where there can be a derivative, its solve is to raise too.
    raises_inside = throw and is_traced((A, b))
    solution = _compiled(*arguments, raises_inside, unroll)
    return raise_failure(solution) if throw and not raises_inside else solution


@compile_modules
def _compiled(
    A: AbstractLinearOperator,
    b: Field,
    solver: AbstractSolver,
    preconditioner: Preconditioner | None,
    x0: Field | None,
    carry: Any,
    throw: bool,
    unroll: int | None,
) -> Solution:
    # What structures tell is checked here, once per compiled program.
    require_solvable(A, b, x0, solver)
    require_fitting(carry, A, solver)
    if preconditioner is not None and not isinstance(preconditioner, AbstractOperator):
        preconditioner = preconditioner(A)
    require_preconditioner(preconditioner, A, solver)
    start = Start(x0, carry, all_finite((A, preconditioner, x0, carry)))
    M = solver.prepare(A, preconditioner)
    complement = complement_of(A, solver.inner_product)
    if complement.is_everything:
        return _solve_compatible(A, M, b, start, solver, throw, unroll)
    is_compatible = complement.is_compatible(b, solver)
    b_norm = solver.inner_product.norm(b)
    b = select(is_compatible, b, zeros_like(b))
    solution = _solve_compatible(A, M, b, start, solver, throw, unroll)
    solution = select(is_compatible, solution, as_incompatible(solution, b_norm))
    return raise_traced(solution, solution.status) if throw else solution


def _solve_compatible(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    b: Field,
    start: Start,
    solver: AbstractSolver,
    throw: bool,
    unroll: int | None,
) -> Solution:
    if unroll is None:
        value, rest = _differentiate_implicitly(A, M, b, start, solver, throw)
    else:
        value, rest = _iterate(A, M, b, start, solver, False, unroll)
    return Solution(value, *rest)


def _differentiate_implicitly(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    b: Field,
    start: Start,
    solver: AbstractSolver,
    throw: bool,
) -> tuple[Field, tuple[Int[Array, ""], Statistics, Any]]:
    """Solve; derivatives with respect to b and A's arrays are solves themselves."""
    M, start = lax.stop_gradient((M, start))
    transposed = M.T if isinstance(M, AbstractLinearOperator) else None

    def run(operator: AbstractLinearOperator, M: Any) -> Callable:
        return lambda _, rhs: _iterate(operator, M, rhs, start, solver, throw)

    return lax.custom_linear_solve(
        A.mv,
        b,
        solve=run(A, M),
        transpose_solve=run(A.T, transposed),
        symmetric="symmetric" in A.tags,
        has_aux=True,
    )


def _iterate(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    b: Field,
    start: Start,
    solver: AbstractSolver,
    throw: bool,
    unroll: int | None = None,
) -> tuple[Field, tuple[Int[Array, ""], Statistics, Any]]:
    """Prepare a system, let the solver iterate, and certify the result.

    Derivatives are solves by the same code. They take the part of their right-hand side
    that the operator can reach, which is what the pseudo-inverse does.
    """
    prepared = prepare(A, M, b, start, solver)
    system = prepared.system
    if unroll is None:
        outcome = solver.run(system, start.carry)
    else:
        outcome = solver.unroll(system, start.carry, unroll)
    complement = complement_of(A, solver.inner_product)
    value = complement.project(outcome.value)
    # Unrolled, the residual has a derivative; projected, it is another one.
    is_certified = unroll is None and complement.is_everything and outcome.is_certified
    residual = lax.cond(
        is_certified,
        lambda: outcome.residual,
        lambda: solver.inner_product.norm(true_residual(system, value)),
    )
    status = _certified_status(prepared, outcome, residual)
    num_products = int(start.x0 is not None) + jnp.where(is_certified, 0, 1)
    stats = Statistics(
        num_steps=outcome.num_steps,
        num_matvecs=outcome.num_matvecs + num_products.astype(jnp.int32),
        num_preconditioner_calls=outcome.num_preconditioner_calls,
        residual=prepared.unit * residual,
        relative_residual=residual / system.scale,
        history=outcome.history.values,
        history_stride=outcome.history.stride,
    )
    carry = select(prepared.is_finite, outcome.carry, _usable(start.carry))
    value = scale(prepared.unit, value)
    if throw:
        value = raise_traced(value, status)
    return value, (status, stats, carry)


def _certified_status(
    prepared: Prepared, outcome: Outcome, residual: Float[Array, ""]
) -> Int[Array, ""]:
    """Converged by the true residual alone; else what the solver reported."""
    return first_of(
        (~prepared.is_finite, Status.nonfinite_input),
        (residual <= prepared.tolerance, Status.converged),
        (~jnp.isfinite(residual), Status.nonfinite),
        (outcome.status == RUNNING, Status.max_steps_reached),
        (outcome.status != Status.converged, outcome.status),
        (residual > prepared.tolerance, Status.stagnated),
    )


def _usable(carry: Any) -> Any:
    """The carry; zeros, which are an empty one, where it is not finite."""
    zeros = jax.tree.map(jnp.zeros_like, carry)
    return select(all_finite(carry), carry, zeros)
