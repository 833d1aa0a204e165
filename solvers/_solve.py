"""The top-level solve: checks, differentiation by the implicit rule, certification.

For A x = b the derivative of x solves a system with the same operator,
A x' = b' - A' x, and its transpose one with Aᵀ; `jax.lax.custom_linear_solve` arranges
both, so that no iteration is differentiated.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..operators import AbstractLinearOperator, AbstractOperator
from ..operators._field import (
    Field,
    as_field,
    is_traced,
)
from ._requirements import (
    require_count,
    require_fitting,
    require_preconditioner,
    require_solvable,
    require_types,
)
from .core._compilation import compile_modules
from .core._inner_product import (
    InnerProduct,
    combine,
    divide,
    power_of_two,
    scale,
    select,
    subtract,
    zeros_like,
)
from .core._residual import true_residual
from .core._solution import Solution, Statistics
from .core._solver import AbstractSolver, LinearSystem
from .core._status import RUNNING, SolveError, Status, first_of
from .core._stopping import MARGIN, threshold

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
            such as `Jacobi()`.
        x0: a start; dropped where its residual is larger than that of zero.
        carry: what the solve before in a sequence returned, with the same solver
            settings and fields.
        throw: raise on failure, also under `jit` (where it costs a host round trip);
            otherwise the status tells.
        unroll: take exactly this many steps and differentiate each of them, with
            respect to `x0`, the preconditioner and the residual too, as for training;
            nothing raises then. Methods of short recurrences, GMRES and FGMRES.

    Returns:
        The solution, its status, its statistics, and the carry. For b = 0 it is zero
        after no steps. An operator with a declared null space is solved orthogonally to
        it.

    Cost: the solver's, one pass over the arrays of A, and, where the solver has not
    ended on a residual computed from x, one product to certify. What a solver says of
    its vectors counts x and not b; a copy of b in units of its size is one more.

    Raises:
        ValueError: known while tracing: structures that do not fit, a singular operator
            without a declared null space, a carry of another solver, rtol below 10 eps,
            64 bits without x64, a solver that cannot be unrolled.
        SolveError: with `throw`, the status is not `converged`; under `jit` a
            `RuntimeError` of JAX with the same sentence.

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
    return _raise_failure(solution) if throw and not raises_inside else solution


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
    given = _Given(x0, carry, _all_finite((A, preconditioner, x0, carry)))
    preconditioner = solver.prepare(A, preconditioner)
    is_compatible = _is_compatible(A, b, solver)
    b_norm = solver.inner_product.norm(b)
    b = select(is_compatible, b, zeros_like(b))
    value, (status, stats, carry) = (
        _differentiate_implicitly(A, preconditioner, b, given, solver, throw)
        if unroll is None
        else _iterate(A, preconditioner, b, given, solver, False, unroll)
    )
    solution = Solution(value, status, stats, carry)
    if A.nullspace is None:
        return solution
    solution = _told_incompatible(solution, is_compatible, b_norm)
    return _raise_traced(solution, solution.status) if throw else solution


class _Given(eqx.Module):
    """What a solve gets besides its system.

    Attributes:
        x0: a start.
        carry: what the solve before returned.
        is_finite: whether these, the operator and the preconditioner are.
    """

    x0: Field | None
    carry: Any
    is_finite: Bool[Array, ""]


def _differentiate_implicitly(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    b: Field,
    given: _Given,
    solver: AbstractSolver,
    throw: bool,
) -> tuple[Field, tuple[Int[Array, ""], Statistics, Any]]:
    """Solve; derivatives with respect to b and A's arrays are solves themselves."""
    M, given = lax.stop_gradient((M, given))
    transposed = M.T if isinstance(M, AbstractLinearOperator) else None

    def run(operator: AbstractLinearOperator, M: Any) -> Callable:
        return lambda _, rhs: _iterate(operator, M, rhs, given, solver, throw)

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
    given: _Given,
    solver: AbstractSolver,
    throw: bool,
    unroll: int | None = None,
) -> tuple[Field, tuple[Int[Array, ""], Statistics, Any]]:
    """Prepare a system, let the solver iterate, and certify the result.

    Derivatives are solves by the same code. They take the part of their right-hand side
    that the operator can reach, which is what the pseudo-inverse does.
    """
    prepared = _prepare(A, M, b, given, solver)
    system, unit = prepared.system, prepared.unit
    if unroll is None:
        outcome = solver.run(system, given.carry)
    else:
        outcome = solver.unroll(system, given.carry, unroll)
    value = _project(outcome.value, A.nullspace, solver.inner_product)
    # Unrolled, the residual has a derivative; projected, it is another one.
    is_certified = unroll is None and A.nullspace is None and outcome.is_certified
    residual = lax.cond(
        is_certified,
        lambda: outcome.residual,
        lambda: solver.inner_product.norm(true_residual(system, value)),
    )
    status = first_of(
        (~prepared.is_finite, Status.nonfinite_input),
        (residual <= prepared.tolerance, Status.converged),
        (~jnp.isfinite(residual), Status.nonfinite),
        (outcome.status == RUNNING, Status.max_steps_reached),
        (outcome.status != Status.converged, outcome.status),
        (residual > prepared.tolerance, Status.stagnated),
    )
    num_products = int(given.x0 is not None) + jnp.where(is_certified, 0, 1)
    stats = Statistics(
        num_steps=outcome.num_steps,
        num_matvecs=outcome.num_matvecs + num_products.astype(jnp.int32),
        num_preconditioner_calls=outcome.num_preconditioner_calls,
        residual=unit * residual,
        relative_residual=residual / system.scale,
        history=outcome.history.values,
        history_stride=outcome.history.stride,
    )
    # Zeros are an empty carry: one that is not finite goes no further.
    zeros = jax.tree.map(jnp.zeros_like, given.carry)
    usable = select(_all_finite(given.carry), given.carry, zeros)
    carry = select(prepared.is_finite, outcome.carry, usable)
    value = scale(unit, value)
    if throw:
        value = _raise_traced(value, status)
    return value, (status, stats, carry)


class _Prepared(eqx.Module):
    """A system as its solver gets it.

    Attributes:
        system: measured in `unit`, and A x = 0 where it is not finite.
        unit: a power of two near the largest entry of b: squares of entries shall
            neither overflow nor vanish.
        tolerance: the residual norm that counts as converged, in that unit.
        is_finite: whether all that was given is.
    """

    system: LinearSystem
    unit: Float[Array, ""]
    tolerance: Float[Array, ""]
    is_finite: Bool[Array, ""]


def _prepare(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    b: Field,
    given: _Given,
    solver: AbstractSolver,
) -> _Prepared:
    inner_product = solver.inner_product
    largest = inner_product.max_abs(b)
    is_finite = given.is_finite & jnp.isfinite(largest)
    unit = power_of_two(largest)
    # A system that cannot be solved is replaced by A x = 0, which takes no steps.
    b = select(is_finite, divide(b, unit), zeros_like(b))
    b_norm = inner_product.norm(b)
    tolerance = threshold(solver, b_norm, unit)
    b = _project(b, A.nullspace, inner_product)
    x0 = None if given.x0 is None else divide(given.x0, unit)
    start, residual = _start(A, b, x0, inner_product)
    system = LinearSystem(
        operator=A,
        preconditioner=_projected(M, A, inner_product),
        b=b,
        x0=start,
        r0=residual,
        target=jnp.where(is_finite, MARGIN * tolerance, 0),
        scale=jnp.where(b_norm > 0, b_norm, 1),
    )
    return _Prepared(system, unit, tolerance, is_finite)


def _start(
    A: AbstractLinearOperator,
    b: Field,
    x0: Field | None,
    inner_product: InnerProduct,
) -> tuple[Field, Field]:
    """The start and its residual; zero where that is closer.

    Derivatives are solves with another right-hand side, for which a start for this one
    is of no use.
    """
    zero = zeros_like(b)
    if x0 is None:
        return zero, b
    residual = subtract(b, A.mv(x0))
    is_useful = inner_product.norm(residual) <= inner_product.norm(b)
    return select(is_useful, x0, zero), select(is_useful, residual, b)


def _is_compatible(
    A: AbstractLinearOperator, b: Field, solver: AbstractSolver
) -> Bool[Array, ""]:
    """Whether the part of b in the null space is within the tolerance."""
    if A.nullspace is None:
        return jnp.ones((), bool)
    inner_product = solver.inner_product
    unit = power_of_two(inner_product.max_abs(b))
    b = lax.stop_gradient(divide(b, unit))
    outside = inner_product.norm(subtract(b, _project(b, A.nullspace, inner_product)))
    allowed = threshold(solver, inner_product.norm(b), unit)
    # NaN counts as compatible here, and is told apart later.
    return ~(outside > allowed)


def _told_incompatible(
    solution: Solution, is_compatible: Bool[Array, ""], b_norm: Float[Array, ""]
) -> Solution:
    """The zero solution of an incompatible system, with its status and residual."""
    code = jnp.asarray(Status.incompatible_rhs.value, jnp.int32)
    told = eqx.tree_at(
        lambda s: (s.status, s.stats.residual, s.stats.relative_residual),
        solution,
        (code, lax.stop_gradient(b_norm), jnp.ones_like(b_norm)),
    )
    return select(is_compatible, solution, told)


class _ProjectedPreconditioner(AbstractOperator):
    """A preconditioner of a singular operator, kept orthogonal to its null space."""

    operator: AbstractOperator
    nullspace: Field
    inner_product: InnerProduct

    @property
    def in_structure(self) -> Any:
        return self.operator.in_structure

    @property
    def out_structure(self) -> Any:
        return self.operator.out_structure

    def __call__(self, x: Field) -> Field:
        return _project(self.operator(x), self.nullspace, self.inner_product)


def _projected(
    M: AbstractOperator | None,
    A: AbstractLinearOperator,
    inner_product: InnerProduct,
) -> AbstractOperator | None:
    if M is None or A.nullspace is None:
        return M
    return _ProjectedPreconditioner(M, A.nullspace, inner_product)


def _project(x: Field, nullspace: Field | None, inner_product: InnerProduct) -> Field:
    """Remove the part of x in the null space."""
    if nullspace is None:
        return x
    return subtract(x, combine(inner_product.block_dot(nullspace, x), nullspace))


def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in leaves]
    return jnp.all(jnp.stack(finite)) if finite else jnp.ones((), bool)


def _raise_failure(solution: Solution) -> Solution:
    """Raise where the status is not `converged`, under `jit` at run time."""
    if is_traced(solution.status):
        # A and b are constants of a function that is being traced.
        return _raise_traced(solution, solution.status)
    # Half as long as int() takes.
    if (code := solution.status.item()) == Status.converged:
        return solution
    raise SolveError(
        f"{Status(code).sentence} (status {Status(code).name}, "
        f"{int(solution.stats.num_steps)} steps, relative residual "
        f"{float(solution.stats.relative_residual):.2e}); throw=False returns it",
        solution,
    )


def _raise_traced(value: PyTree, status: Int[Array, ""]) -> Any:
    """Make the compiled program raise where the status is not `converged`."""
    sentences = [member.sentence for member in Status]
    return eqx.branched_error_if(
        value, status != Status.converged.value, status, sentences
    )
