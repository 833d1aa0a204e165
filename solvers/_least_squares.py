"""The front door of least squares: damping, the preconditioner, derivatives.

    min ‖A x − b‖² + damping² ‖x‖²,    x = x0 + M y.

Damping is a block more, (A; damping I) and (b; 0), and the preconditioner M stands
behind it: with B = (A; damping I) M and the residual r0 of x0, what is solved is y =
B⁺r0. The normal equations are never formed.

Derivatives, G. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973),
doi:10.1137/0710036: with r the residual of x and Bᴴw = y, for a rank that stays as it
is,

    y' = B⁺(b' − A'x) + B⁺B⁺ᴴ(MᴴA'ᴴr) + (I − B⁺B) MᴴA'ᴴw.

These are solves with B and Bᴴ; `_rate` holds the linear system that they solve, which
JAX transposes and differentiates again.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..operators import AbstractLinearOperator, Block, Identity
from ..operators._arithmetic import (
    add,
    all_finite,
    conj,
    constant,
    select,
    subtract,
    with_zeros,
    zeros_like,
)
from ..operators._field import Field, is_traced
from ..operators._hidden import without_hidden
from ._requirements import made, require_right_preconditioner, require_shapes
from .core._compilation import compile_modules
from .core._corrections import iterate
from .core._inner_product import InnerProduct
from .core._least_squares import AbstractLeastSquares, LeastSquaresProblem
from .core._linear_solve import linear_solve
from .core._raising import raise_failure, require_derivative
from .core._solution import Solution
from .core._stopping import Tolerance, derivative_tolerance


def solve_least_squares(
    A: AbstractLinearOperator,
    b: Field,
    solver: AbstractLeastSquares,
    preconditioner: Any,
    x0: Field | None,
    throw: bool,
) -> Solution:
    """Solve min ‖A x − b‖² + damping² ‖x‖², as `solve` does systems."""
    damping = solver.damping
    # A block of zeros would cost as much as any.
    damping = damping if is_traced(damping) or damping != 0 else None
    # A traced one may be zero.
    has_full_rank = damping is not None and not is_traced(damping)
    derivative_raises = throw and is_traced((A, b, damping))
    solution = _compiled(
        A, b, damping, solver, preconditioner, x0, has_full_rank, derivative_raises
    )
    return raise_failure(solution) if throw else solution


@compile_modules
def _compiled(
    A: AbstractLinearOperator,
    b: Field,
    damping: Any,
    solver: AbstractLeastSquares,
    preconditioner: Any,
    x0: Field | None,
    has_full_rank: bool,
    throw: bool,
) -> Solution:
    require_shapes(A, b, x0)
    b = without_hidden(A, b, "A")
    M = made(preconditioner, A)
    require_right_preconditioner(M, A)
    M, x0 = constant((M, x0))
    is_damped = damping is not None
    if is_damped:
        A, b, M, x0 = _damped(A, b, damping, M, x0)
    x0, is_start_used = _useful_start(A, b, x0, solver.inner_product)
    problem = LeastSquaresProblem(
        A=A,
        b=b,
        M=M,
        x0=x0,
        inverse=solver.prepare(constant(A if M is None else A @ M)),
        is_finite=solver.inner_product.everywhere(all_finite((A, M, x0))),
        has_full_rank=has_full_rank,
        is_damped=is_damped,
    )
    tolerance = Tolerance(solver.rtol, solver.atol)
    solved: Any = _solve_implicitly(problem, solver, tolerance, throw)
    y, (status, stats) = solved
    x = problem.x_of(y)
    stats = eqx.tree_at(lambda s: s.is_start_used, stats, is_start_used)
    return Solution(x[0] if is_damped else x, status, stats)


def _damped(
    A: AbstractLinearOperator, b: Field, damping: Any, M: Any, x0: Any
) -> tuple[AbstractLinearOperator, Field, Any, Any]:
    """Return (A; damping I) and (b; 0), with M and x0 for its fields, tuples of one."""
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), A.in_structure)
    return (
        Block([[A], [damping * Identity(A.in_structure)]]),
        (b, zeros),
        None if M is None else Block([[M]]),
        None if x0 is None else (x0,),
    )


def _useful_start(
    A: AbstractLinearOperator, b: Field, x0: Field | None, inner_product: InnerProduct
) -> tuple[Field | None, Bool[Array, ""]]:
    """The start and True; zero and False where the residual of that is less."""
    if x0 is None:
        return None, jnp.zeros((), bool)
    norm = inner_product.scaled_norm
    r0 = constant(subtract(b, A.mv(x0)))
    is_useful = norm(r0) <= norm(constant(b))
    return select(is_useful, x0, zeros_like(x0)), is_useful


@eqx.filter_custom_jvp
def _solve_implicitly(
    problem: LeastSquaresProblem,
    solver: AbstractLeastSquares,
    tolerance: Tolerance,
    throw: bool,
) -> Any:
    """Return y; derivatives are solves."""
    del throw
    return iterate(problem, solver, tolerance)


@_solve_implicitly.def_jvp
def _differentiate(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """Solve for y'; a tangent that is `None` is a zero."""
    problem, solver, tolerance, throw = primals
    A_dot, b_dot = tangents[0].A, tangents[0].b
    solved: Any = _solve_implicitly(*primals)
    y, rest = solved
    b_norm = solver.inner_product.scaled_norm(problem.b)
    tolerance = constant(derivative_tolerance(tolerance, b_norm))
    solver = constant(solver)

    def pseudo_solve(problem: LeastSquaresProblem) -> Field:
        found, (status, _) = iterate(problem, solver, tolerance)
        return require_derivative(found, status, throw)

    def back(A: AbstractLinearOperator, field: Field) -> Field:
        """Return MᴴAᴴ of a field."""
        return A.H.mv(field) if problem.M is None else problem.M.H.mv(A.H.mv(field))

    def change(function: Callable[[Any], Field]) -> Field:
        return with_zeros(*eqx.filter_jvp(function, (problem.A,), (A_dot,)))

    b_dot = with_zeros(problem.b, b_dot)
    of_null, of_normal = zeros_like(y), zeros_like(y)
    if jax.tree.leaves(A_dot):
        x = problem.x_of(y)
        r = subtract(problem.b, problem.A.mv(x))
        b_dot = subtract(b_dot, change(lambda A: A.mv(x)))
        of_normal = change(lambda A: back(A, r))
        if not problem.has_full_rank:
            adjoint = problem.adjoint(y)
            w: Any = _solve_implicitly(adjoint, solver, tolerance, throw)[0]
            of_null = change(lambda A: back(A, w))
    y_dot = _rate(problem, of_null, b_dot, of_normal, pseudo_solve)
    return (y, rest), (y_dot, jax.tree.map(lambda _: None, rest))


def _rate(
    problem: LeastSquaresProblem,
    f: Field,
    g: Field,
    h: Field,
    pseudo_solve: Callable[[LeastSquaresProblem], Field],
) -> Field:
    """Return (I − B⁺B) f + B⁺g + B⁺B⁺ᴴh.

    It is y of the hermitian system

        y + Bᴴw = f,    w + B p = 0,    r + B y = g,    Bᴴr = −h,

    of which p alone is not unique where B y = 0 for some y, and no matter.
    """
    B = problem.B

    def matvec(fields: Any) -> Any:
        y, r, w, p = fields
        return add(y, B.H.mv(w)), add(w, B.mv(p)), add(r, B.mv(y)), B.H.mv(r)

    def solve(_: Callable, rhs: Any) -> Any:
        f, of_w, g, of_r = rhs
        rest = subtract(g, pseudo_solve(problem.adjoint(of_r)))
        if problem.has_full_rank:
            y = pseudo_solve(problem.with_rhs(rest))
        else:
            y = add(f, pseudo_solve(problem.with_rhs(subtract(rest, B.mv(f)))))
        w = pseudo_solve(problem.adjoint(subtract(f, y)))
        p = pseudo_solve(problem.with_rhs(subtract(of_w, w)))
        return y, subtract(g, B.mv(y)), subtract(of_w, B.mv(p)), p

    def transpose_solve(_: Callable, rhs: Any) -> Any:
        return conj(solve(_, conj(rhs)))

    rhs = f, zeros_like(g), g, jax.tree.map(jnp.negative, h)
    y: Any = linear_solve(matvec, rhs, solve, transpose_solve)
    return y[0]
