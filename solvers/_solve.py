"""The top-level solve: checks, differentiation by the implicit rule, certification.

For A x = b the derivative of x solves a system with the same operator,
A x' = b' - A' x, and its transpose one with Aᵀ. The rule for the first is given here,
and `jax.lax.custom_linear_solve` transposes it, so that no iteration is differentiated
and nothing is asked of Aᵀ before a derivative is taken.
"""

import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ..operators import AbstractLinearOperator, AbstractOperator
from ..operators._arguments import require_flag
from ..operators._arithmetic import (
    all_equal,
    all_finite,
    constant,
    divide,
    scale,
    select,
    subtract,
    with_zeros,
    zeros_like,
)
from ..operators._control_flow import cond
from ..operators._field import Field, as_field, is_traced
from ..operators._hidden import without_hidden
from ._least_squares import solve_least_squares
from ._requirements import (
    made,
    require_fitting,
    require_least_squares,
    require_preconditioner,
    require_solvable,
    require_types,
    require_unroll,
    require_values,
)
from .core._compilation import compile_modules
from .core._least_squares import AbstractLeastSquares
from .core._linear_solve import linear_solve
from .core._nullspace import as_incompatible, complement_of
from .core._preparation import Start, prepare
from .core._raising import raise_failure, require_derivative
from .core._residual import USEFUL, attainable_residual, residual_of
from .core._scaled_start import ScaledStart
from .core._settling import AbstractUnsettled, settled
from .core._solution import Solution, Statistics
from .core._solver import AbstractSolver
from .core._status import RUNNING, Status, first_of
from .core._stopping import Tolerance, derivative_tolerance, require_reachable

_HAS_NO_RULE = re.compile("Reverse-mode .* does not work|callbacks do not support")
"""What JAX says where it cannot differentiate or transpose a loop or a callback."""

Preconditioner = AbstractOperator | Callable[[Any], AbstractOperator]


def solve(
    A: AbstractLinearOperator,
    b: Any,
    solver: AbstractSolver | AbstractLeastSquares,
    *,
    preconditioner: Preconditioner | None = None,
    transpose_preconditioner: Preconditioner | None = None,
    x0: Any = None,
    carry: Any = None,
    throw: bool = True,
    unroll: int | None = None,
) -> Solution:
    """Solve the square linear system A x = b, or a least-squares problem; certify x.

    Converged means ‖b − A x‖ ≤ max(rtol·‖b‖, atol), measured on the x that is returned;
    attained, that it is above, but at most 4 eps (‖A‖‖x‖ + ‖b‖), which is rounding.
    A least-squares solver, `LSMR` or `QR`, takes A of any shape and rank, and minimises
    ‖A x − b‖² + damping² ‖x‖²; of several solutions it returns the one of least ‖x‖, or
    nearest to x0. Its `converged` also means ‖Aᴴr‖ ≤ rtol ‖A‖ ‖r‖, for r = b − A x, and
    `attained` the same with the rounding of r for rtol ‖r‖; with damping A and b stand
    for (A; damping I) and (b; 0).

    Compiled on first use for each combination of structures; works inside `jit`, `vmap`
    and `scan`. Derivatives in both modes, with respect to b and all arrays in A, are by
    the implicit rule: solves to the relative tolerance of x, that is rtol, or atol/‖b‖
    for rtol = 0; those of the pseudo-inverse for a rank that does not change, and of
    the damping. `x0`, `carry`, the preconditioner and the statistics have derivative
    zero.

    Args:
        A: the operator.
        b: the right-hand side, with the structure of A's fields.
        solver: the method and its tolerances.
        preconditioner: an approximate inverse of A, or a factory that makes one from A,
            such as `Jacobi()`; for least squares a linear operator M on the fields of x
            with an adjoint, x = M y. Any function is a factory; one that is to be
            applied to residuals is an operator, `Function(f, A.in_structure)`.
        transpose_preconditioner: an approximate inverse of Aᵀ, or a factory that makes
            one from Aᵀ, for the solves of reverse-mode derivatives; by default the
            transpose of a linear preconditioner; of a nonlinear one it itself where A
            is symmetric, and none elsewhere.
        x0: a start; left out, as `stats.is_start_used` reports, where zero is closer to
            the solution: in energy for a positive definite A, else by the residual. A
            `ScaledStart` is first multiplied by the best number.
        carry: what the solve before in a sequence returned, with the same solver
            settings and fields.
        throw: raise on failure, also under `jit` (where it costs a host round trip);
            otherwise only the status reports it, and a derivative whose solve failed is
            NaN. JAX cannot serialise what raises, so `jax.export` needs `throw=False`.
        unroll: take exactly this many steps and differentiate each of them, with
            respect to `x0`, the preconditioner and the residual too, as for training;
            nothing raises then. Methods of short recurrences, GMRES and FGMRES.

    Returns:
        The solution, its status, its statistics, and the carry. For b = 0 it is zero
        after no steps. After `max_steps_reached` it is the last iterate; a method of
        short recurrences that failed returns the one with the least residual of those
        that it kept, zero among them. An operator with a declared
        null space is solved orthogonally to it.

    Cost: the solver's, one pass over the arrays of A, and, where the solver has not
    ended on a residual computed from x, one product to certify. The number of vectors
    in a solver's docstring includes x but not b; `solve` keeps one more, a scaled copy
    of b.

    Raises:
        ValueError: known while tracing: structures that do not fit, a singular operator
            without a declared null space, a carry of another solver, rtol below 10 eps,
            64 bits without x64, a solver that cannot be unrolled.
        TypeError: an argument is not what its name says.
        SolveError: with `throw`, the status is neither `converged` nor `attained`;
            under `jit` an error of JAX that ends with the same sentence, a
            `RuntimeError` or a `ValueError`.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((3,))
        >>> sol = kx.solve(A, jnp.array([1.0, 0.0, 1.0]), kx.solvers.CG(rtol=1e-10))
        >>> sol.value.round(6), kx.Status(sol.status).name
        (Array([1., 1., 1.], dtype=float64), 'converged')
    """
    require_values(b, "b")
    b = as_field(b, "b")
    if x0 is not None and not isinstance(x0, ScaledStart):
        require_values(x0, "x0", "; a surrogate makes one by surrogate.start(...)")
        x0 = as_field(x0, "x0")
    require_types(A, solver, preconditioner)
    require_types(A, solver, transpose_preconditioner)
    require_unroll(unroll)
    require_flag(throw, "throw")
    require_reachable(solver, jax.tree.leaves(A.in_structure)[0].dtype)
    preconditioner = settled(preconditioner, A)
    if isinstance(solver, AbstractLeastSquares):
        require_least_squares(solver, transpose_preconditioner, x0, carry, unroll)
        return solve_least_squares(A, b, solver, preconditioner, x0, throw)
    throw = throw and unroll is None
    if carry is None and solver.has_carry:
        # An empty one, so that the first solve of a sequence shares the program.
        carry = solver.initial_carry(A.in_structure)
    if transpose_preconditioner is not None:
        transpose_preconditioner = settled(transpose_preconditioner, A.T)
    preconditioners = preconditioner, transpose_preconditioner
    # A derivative can be taken of what is traced; its solve is to raise too.
    derivative_raises = throw and is_traced((A, b))
    solution = _compiled(
        A, b, solver, *preconditioners, x0, carry, derivative_raises, unroll
    )
    return raise_failure(solution) if throw else solution


@compile_modules
def _compiled(
    A: AbstractLinearOperator,
    b: Field,
    solver: AbstractSolver,
    preconditioner: Preconditioner | None,
    transpose_preconditioner: Preconditioner | None,
    x0: Field | ScaledStart | None,
    carry: Any,
    throw: bool,
    unroll: int | None,
) -> Solution:
    # What structures tell is checked here, once per compiled program.
    if unroll is None:
        b = without_hidden(A, b, "A")
    is_scaled = isinstance(x0, ScaledStart)
    x0 = x0.like(b) if isinstance(x0, ScaledStart) else x0
    require_solvable(A, b, x0, solver)
    require_fitting(carry, A, solver)
    M = made(preconditioner, A)
    require_preconditioner(M, A, solver)
    N = None
    if transpose_preconditioner is not None:
        N = made(transpose_preconditioner, A.T)
        require_preconditioner(N, A, solver)
    # A hierarchy is made of A by sums and quotients of its numbers, and the first step
    # shows where they are not finite: to look at all of it takes as long as two steps.
    # Of one that is safeguarded no numbers matter.
    is_hierarchy = isinstance(preconditioner, AbstractUnsettled)
    is_safe = M is not None and M.is_safeguarded
    looked_at = None if is_hierarchy or is_safe else M
    # Settings may be traced, and are numbers like any other.
    given = (A, looked_at, x0, carry, solver)
    is_finite = solver.inner_product.everywhere(all_finite(given))
    start = Start(x0, carry, is_finite, is_scaled)
    M = solver.prepare(A, M)
    if N is None and isinstance(M, AbstractLinearOperator):
        N = M.T
    elif N is None and "symmetric" in A.tags:
        N = M
    complement = complement_of(A, solver.inner_product)
    if complement.is_everything:
        return _solve_compatible(A, M, N, b, start, solver, throw, unroll)
    is_compatible = complement.is_compatible(b, solver)
    b_norm = solver.inner_product.scaled_norm(b)
    b = select(is_compatible, b, zeros_like(b))
    solution = _solve_compatible(A, M, N, b, start, solver, throw, unroll)
    return select(is_compatible, solution, as_incompatible(solution, b_norm))


def _solve_compatible(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    N: AbstractOperator | None,
    b: Field,
    start: Start,
    solver: AbstractSolver,
    throw: bool,
    unroll: int | None,
) -> Solution:
    if unroll is None:
        solved: Any = _solve_implicitly(A, b, M, N, start, solver, throw)
    else:
        tolerance = Tolerance(solver.rtol, solver.atol)
        solved = _iterate(A, M, b, start, solver, tolerance, unroll)
    value, rest = solved
    return Solution(value, *rest)


@eqx.filter_custom_jvp
def _solve_implicitly(
    A: AbstractLinearOperator,
    b: Field,
    M: AbstractOperator | None,
    N: AbstractOperator | None,
    start: Start,
    solver: AbstractSolver,
    throw: bool,
) -> Any:
    """Solve with M; derivatives are solves, the transposed of which take N."""
    del N, throw
    tolerance = Tolerance(solver.rtol, solver.atol)
    return _iterate(A, M, b, start, solver, tolerance)


@_solve_implicitly.def_jvp
def _differentiate(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """Solve A x' = b' - A' x, to the relative tolerance of x; `None` is a zero."""
    A, b, M, N, start, solver, throw = primals
    A_dot, b_dot, *_ = tangents
    solved: Any = _solve_implicitly(*primals)
    x, rest = solved
    # A start for b is of no use for another right-hand side.
    start = Start(None, start.carry, start.is_finite)
    b_norm = solver.inner_product.scaled_norm(b)
    tolerance = derivative_tolerance(Tolerance(solver.rtol, solver.atol), b_norm)
    solver, start, tolerance = constant((solver, start, tolerance))

    def run(operator: AbstractLinearOperator, M: Any) -> Any:
        operator, M = constant((operator, M))
        complement = complement_of(operator, solver.inner_product)

        def solve(matvec: Callable, rhs: Field) -> Field:
            del matvec
            # What the operator can reach, as the pseudo-inverse does.
            rhs = complement.project(rhs)
            found, (status, *_) = _iterate(operator, M, rhs, start, solver, tolerance)
            return require_derivative(found, status, throw)

        return solve

    is_transposable = _is_transposable(A)
    x_dot = linear_solve(
        _linearised(A.mv) if is_transposable else A.mv,
        _moved_rhs(A, A_dot, b, b_dot, x),
        solve=run(A, M),
        transpose_solve=run(A.T, N) if is_transposable else None,
        symmetric="symmetric" in A.tags,
    )
    return (x, rest), (x_dot, jax.tree.map(lambda _: None, rest))


def _moved_rhs(A: Any, A_dot: Any, b: Field, b_dot: Any, x: Field) -> Field:
    """Return b' - A' x."""
    moved = with_zeros(b, b_dot)
    if not jax.tree.leaves(A_dot):
        return moved
    _, change = eqx.filter_jvp(lambda A: A.mv(x), (A,), (A_dot,))
    return subtract(moved, with_zeros(b, change))


def _linearised(function: Callable[[Field], Field]) -> Callable[[Field], Field]:
    """The function by its derivative, which JAX can transpose where it is a solve."""
    return lambda x: jax.jvp(function, (zeros_like(x),), (x,))[1]


def _is_transposable(A: AbstractLinearOperator) -> bool:
    """Whether there is a transpose, which a callback for one has not.

    What JAX says of a primitive without a rule is no error of the operator, nor is a
    `T` that is not implemented; any other is.
    """
    try:
        jax.eval_shape(A.T.mv, A.out_structure)
        jax.eval_shape(_linearised(A.mv), A.in_structure)
    except NotImplementedError:
        return False
    except ValueError as error:
        if not _HAS_NO_RULE.search(str(error)):
            raise
        return False
    return True


def _iterate(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    b: Field,
    start: Start,
    solver: AbstractSolver,
    tolerance: Tolerance,
    unroll: int | None = None,
) -> tuple[Field, tuple[Int[Array, ""], Statistics, Any]]:
    """Prepare a system, let the solver iterate, and certify what is returned."""
    prepared = prepare(
        A, M, b, start, solver.inner_product, tolerance, keeps_start=unroll is not None
    )
    system = prepared.system
    if unroll is None:
        outcome = solver.run(system, start.carry)
    else:
        outcome = solver.unroll(system, start.carry, unroll)
    complement = complement_of(A, solver.inner_product)
    found = complement.project(outcome.value)
    value = scale(prepared.unit, found)
    # The same, but where numbers of this size are beyond the dtype.
    returned = divide(value, prepared.unit)
    is_exact = solver.inner_product.everywhere(all_equal(returned, found))
    # Unrolled, the residual has a derivative; projected, it is another one.
    is_certified = unroll is None and complement.is_everything and outcome.is_certified
    is_certified = is_exact & is_certified
    residual = cond(
        is_certified,
        lambda: outcome.residual,
        lambda: solver.inner_product.norm(residual_of(A, prepared.b, returned)),
    )
    # Where it is not what was asked for, it may be all that rounding allows.
    is_met = residual <= prepared.tolerance
    attainable, num_probes = jnp.zeros_like(residual), 0
    if unroll is None:
        is_needed = ~is_met & jnp.isfinite(residual)
        attainable, num_probes = attainable_residual(
            A, prepared.b, returned, is_needed, solver.inner_product
        )
    status = first_of(
        (~prepared.is_finite, Status.nonfinite_input),
        (~prepared.is_readable, Status.nonfinite),
        (is_met, Status.converged),
        (residual <= jnp.minimum(attainable, USEFUL * system.scale), Status.attained),
        (~jnp.isfinite(residual) | ~is_exact, Status.nonfinite),
        (outcome.status == RUNNING, Status.max_steps_reached),
        (outcome.status != Status.converged, outcome.status),
        (~is_met, Status.stagnated),
    )
    residual = jnp.where(prepared.is_finite, residual, jnp.nan)
    num_products = int(start.x0 is not None) + jnp.where(is_certified, 0, 1)
    stats = Statistics(
        num_steps=outcome.num_steps,
        num_matvecs=outcome.num_matvecs + num_products.astype(jnp.int32) + num_probes,
        num_preconditioner_calls=outcome.num_preconditioner_calls,
        residual=prepared.unit * residual,
        relative_residual=residual / system.scale,
        is_start_used=prepared.is_start_used,
        attainable=attainable / system.scale,
        history=outcome.history.values,
        history_stride=outcome.history.stride,
    )
    carry = select(prepared.is_finite, outcome.carry, _usable(start.carry))
    return value, (status, stats, carry)


def _usable(carry: Any) -> Any:
    """The carry; zeros, which are an empty one, where it is not finite."""
    zeros = jax.tree.map(jnp.zeros_like, carry)
    return select(all_finite(carry), carry, zeros)
