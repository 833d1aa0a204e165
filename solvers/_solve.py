"""The top-level solve: checks, differentiation by the implicit rule, certification.

For A x = b the derivative of x solves a system with the same operator, A x' = b' - A'
x, and its transpose one with Aᵀ; `jax.lax.custom_linear_solve` arranges both, so that
no iteration is differentiated.
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
    describe,
    is_traced,
    real_dtype,
    require_structure,
)
from ._compilation import compile_modules
from ._inner_product import (
    InnerProduct,
    combine,
    scale,
    select,
    subtract,
    zeros_like,
)
from ._solver import AbstractSolver, LinearSystem
from ._status import SolveError, Status, first_of
from ._stopping import MARGIN, require_reachable, threshold

Preconditioner = AbstractOperator | Callable[[Any], AbstractOperator]


class Statistics(eqx.Module):
    """What a solve did; one entry per system under `vmap`.

    Attributes:
        num_steps: iterations, for GMRES and GCRO-DR Arnoldi steps.
        num_matvecs: products with A, all of them: those of the recycled space, of
            recomputed residuals and of the certificate included.
        num_preconditioner_calls: applications of the preconditioner.
        residual: ‖b − A x‖, recomputed from the x that is returned.
        relative_residual: the same over ‖b‖; zero for b = 0.
        history: residual norms over ‖b‖ as the iteration saw them, after 0,
            `history_stride`, 2 `history_stride`, ... steps; NaN where it did not get.
        history_stride: 1 for up to 511 steps, doubling from there on.
    """

    num_steps: Int[Array, ""]
    num_matvecs: Int[Array, ""]
    num_preconditioner_calls: Int[Array, ""]
    residual: Float[Array, ""]
    relative_residual: Float[Array, ""]
    history: Float[Array, " length"]
    history_stride: Int[Array, ""]


class Solution(eqx.Module):
    """The result of `solve`.

    Attributes:
        value: x, with the structure of b.
        status: a `Status` code as an int32 array.
        stats: what was done, and the true residual.
        carry: what to hand to the next solve of a sequence; `None` for most solvers.
    """

    value: Field
    status: Int[Array, ""]
    stats: Statistics
    carry: PyTree = None

    def __str__(self) -> str:
        """One line for people; many systems are summed up."""
        if is_traced(self.status):
            return repr(self)
        if jnp.ndim(self.status) > 0:
            good = int(jnp.sum(self.status == Status.converged))
            return f"Solution of {self.status.size} systems, {good} converged"
        return (
            f"{Status(self.status).name} in {int(self.stats.num_steps)} steps, "
            f"relative residual {float(self.stats.relative_residual):.2e}"
        )


def solve(
    A: AbstractLinearOperator,
    b: Any,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | None = None,
    x0: Any = None,
    carry: Any = None,
    throw: bool = True,
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

    Returns:
        The solution, its status, its statistics, and the carry. For b = 0 it is zero
        after no steps. An operator with a declared null space is solved orthogonally to
        it.

    Cost: the solver's, and one product with A and one pass over its arrays to certify.

    Raises:
        ValueError: known while tracing: structures that do not fit, a singular operator
            without a declared null space, a carry of another solver, rtol below 10 eps,
            64 bits without x64.
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
    if carry is None and isinstance(solver, AbstractSolver):
        # An empty one, so that the first solve of a sequence shares the program.
        carry = solver.initial_carry(A.in_structure)
    solution = _compiled(A, b, solver, preconditioner, x0, carry)
    return _raise_failure(solution) if throw else solution


@compile_modules
def _compiled(
    A: AbstractLinearOperator,
    b: Field,
    solver: AbstractSolver,
    preconditioner: Preconditioner | None,
    x0: Field | None,
    carry: Any,
) -> Solution:
    # What structures tell is checked here, once per compiled program.
    _require_solvable(A, b, x0, solver)
    _require_fitting(carry, A, solver)
    if preconditioner is not None and not isinstance(preconditioner, AbstractOperator):
        preconditioner = preconditioner(A)
    _require_preconditioner(preconditioner, A, solver)
    # The implicit rule differentiates A.mv and b; nothing else moves the solution.
    M, x0, carry = lax.stop_gradient((preconditioner, x0, carry))
    is_linear = isinstance(M, AbstractLinearOperator)
    transposed = M.T if is_linear else None

    def run(operator: AbstractLinearOperator, M: Any) -> Callable:
        return lambda _, rhs: _iterate(operator, M, rhs, x0, carry, solver)

    value, (status, stats, carry) = lax.custom_linear_solve(
        A.mv,
        b,
        solve=run(A, M),
        transpose_solve=run(A.T, transposed),
        symmetric="symmetric" in A.tags,
        has_aux=True,
    )
    return Solution(value, status, stats, carry)


def _iterate(
    A: AbstractLinearOperator,
    M: AbstractOperator | None,
    b: Field,
    x0: Field | None,
    carry: Any,
    solver: AbstractSolver,
) -> tuple[Field, tuple[Int[Array, ""], Statistics, Any]]:
    """Prepare a system, let the solver iterate, and certify the result."""
    inner_product = solver.inner_product
    largest = inner_product.max_abs(b)
    is_finite = _all_finite((A, M, x0, carry)) & jnp.isfinite(largest)
    # In units of b: its squares shall neither overflow nor vanish.
    unit = _power_of_two(largest)
    b = _divide(b, unit)
    x0 = None if x0 is None else _divide(x0, unit)
    b_norm = inner_product.norm(b)
    tolerance = threshold(solver, b_norm, unit)
    rhs, outside = _project(b, A.nullspace, inner_product)
    is_compatible = outside <= tolerance
    # A system that cannot be solved is replaced by A x = 0, which takes no steps.
    rhs = select(is_finite & is_compatible, rhs, zeros_like(rhs))
    system = LinearSystem(
        operator=A,
        preconditioner=_projected(M, A, inner_product),
        b=rhs,
        x0=None if x0 is None else _useful_start(A, rhs, x0, inner_product),
        target=jnp.where(is_finite, MARGIN * tolerance, 0),
        scale=jnp.where(b_norm > 0, b_norm, 1),
    )
    outcome = solver.run(system, carry)
    value, _ = _project(outcome.value, A.nullspace, inner_product)
    residual = inner_product.norm(subtract(b, A.mv(value)))
    status = first_of(
        (~is_finite, Status.nonfinite_input),
        (~is_compatible, Status.incompatible_rhs),
        (residual <= tolerance, Status.converged),
        (~jnp.isfinite(residual), Status.nonfinite),
        (outcome.status != Status.converged, outcome.status),
        (residual > tolerance, Status.stagnated),
    )
    stats = Statistics(
        num_steps=outcome.num_steps,
        num_matvecs=outcome.num_matvecs + (1 if x0 is None else 2),
        num_preconditioner_calls=outcome.num_preconditioner_calls,
        residual=unit * residual,
        relative_residual=residual / system.scale,
        history=outcome.history.values,
        history_stride=outcome.history.stride,
    )
    carry = select(is_finite, outcome.carry, carry)
    return scale(unit, value), (status, stats, carry)


def _power_of_two(largest: Float[Array, ""]) -> Float[Array, ""]:
    """A power of two near a modulus, 1 for zero: to divide by it rounds nothing."""
    is_usable = jnp.isfinite(largest) & (largest > 0)
    _, exponent = jnp.frexp(jnp.where(is_usable, largest, 1))
    # One less, since the power above the largest numbers overflows.
    return jnp.where(is_usable, jnp.ldexp(jnp.ones_like(largest), exponent - 1), 1)


def _divide(x: Field, divisor: Float[Array, ""]) -> Field:
    return jax.tree.map(lambda a: a / divisor.astype(a.dtype), x)


def _useful_start(
    A: AbstractLinearOperator, rhs: Field, x0: Field, inner_product: InnerProduct
) -> Field:
    """The start, or zero where that is closer.

    Derivatives are solves of the same code with another right-hand side, for which a
    start for this one is of no use.
    """
    distance = inner_product.norm(subtract(rhs, A.mv(x0)))
    return select(distance <= inner_product.norm(rhs), x0, zeros_like(x0))


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
        return _project(self.operator(x), self.nullspace, self.inner_product)[0]


def _projected(
    M: AbstractOperator | None,
    A: AbstractLinearOperator,
    inner_product: InnerProduct,
) -> AbstractOperator | None:
    if M is None or A.nullspace is None:
        return M
    return _ProjectedPreconditioner(M, A.nullspace, inner_product)


def _project(
    x: Field, nullspace: Field | None, inner_product: InnerProduct
) -> tuple[Field, Float[Array, ""]]:
    """Remove the part of x in the null space; return the norm of that part too."""
    if nullspace is None:
        return x, jnp.zeros((), real_dtype(jax.eval_shape(lambda: x)))
    along = inner_product.block_dot(nullspace, x)
    return (
        subtract(x, combine(along, nullspace)),
        jnp.sqrt(jnp.sum(jnp.abs(along) ** 2)),
    )


def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in leaves]
    return jnp.all(jnp.stack(finite)) if finite else jnp.ones((), bool)


def _require_solvable(A: Any, b: Field, x0: Field | None, solver: Any) -> None:
    """Raise what can be known from structures alone."""
    if not isinstance(A, AbstractLinearOperator):
        raise TypeError(
            f"A must be a linear operator, got {type(A).__name__}; wrap a matrix in "
            "Dense, or a function in Function"
        )
    if not isinstance(solver, AbstractSolver):
        raise TypeError(
            f"solver must be a solver such as CG(rtol=1e-6), got {solver!r}"
        )
    if A.in_structure != A.out_structure:
        raise ValueError(
            f"A must be square, got one from {describe(A.in_structure)} to "
            f"{describe(A.out_structure)}"
        )
    require_structure(b, A.out_structure, "b")
    if x0 is not None:
        require_structure(x0, A.in_structure, "x0")
    if "singular" in A.tags and A.nullspace is None:
        raise ValueError(
            f"this {type(A).__name__} is singular (no face holds the value), so the "
            'solution is not unique; declare nullspace="constant" to get the one of '
            "mean zero, for a right-hand side of mean zero"
        )
    require_reachable(solver, real_dtype(A.in_structure))


def _require_fitting(carry: Any, A: AbstractLinearOperator, solver: Any) -> None:
    fresh = jax.eval_shape(lambda: solver.initial_carry(A.in_structure))
    if jax.eval_shape(lambda: carry) == fresh:
        return
    expected = (
        "carries nothing, so leave it out"
        if fresh is None
        else "carries a recycle space for its num_recycled and the operator's fields"
    )
    raise ValueError(f"carry does not fit: this {type(solver).__name__} {expected}")


def _require_preconditioner(
    M: Any, A: AbstractLinearOperator, solver: AbstractSolver
) -> None:
    if M is None:
        return
    if not isinstance(M, AbstractOperator):
        raise TypeError(
            "preconditioner must be an operator or a function that makes one from A, "
            f"got one that makes a {type(M).__name__}"
        )
    if not (solver.is_flexible or isinstance(M, AbstractLinearOperator)):
        raise ValueError(
            f"{type(solver).__name__} needs a linear preconditioner, got a "
            f"{type(M).__name__}; use a flexible solver, such as GCRODR"
        )
    for structure in (M.in_structure, M.out_structure):
        if structure is not None and structure != A.in_structure:
            raise ValueError(
                f"the preconditioner acts on {describe(structure)}, the operator on "
                f"{describe(A.in_structure)}"
            )


def _raise_failure(solution: Solution) -> Solution:
    """Raise where the status is not `converged`."""
    status = solution.status
    if is_traced(status):
        sentences = [member.sentence for member in Status]
        return eqx.branched_error_if(
            solution, status != Status.converged.value, status, sentences
        )
    if (code := int(status)) == Status.converged:
        return solution
    raise SolveError(
        f"{Status(code).sentence} (status {Status(code).name}, "
        f"{int(solution.stats.num_steps)} steps, relative residual "
        f"{float(solution.stats.relative_residual):.2e}); throw=False returns it",
        solution,
    )
