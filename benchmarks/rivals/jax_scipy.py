"""`jax.scipy.sparse.linalg` and `jax.numpy.linalg`.

They do not count iterations; for CG and BiCGStab a run apart counts products.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse import linalg

from .compiled import called, compiled
from .row import Prepared, Problem, Row

PACKAGE = "jax.scipy"


def cg(method: str = "CG", over: Callable[..., Any] | None = None) -> Row:
    """Conjugate gradients."""
    row = compiled(method, PACKAGE, _cg, over=over)
    return row if over else _with_steps(row, _cg, products_per_step=1)


def gmres(restart: int) -> Row:
    """GMRES, by its default method of solving a whole cycle at once."""

    def solve(A: Any, b: Any, rtol: float) -> tuple[Any, None]:
        return linalg.gmres(A.mv, b, tol=rtol, restart=restart, maxiter=1000)[0], None

    return compiled(f"GMRES({restart})", PACKAGE, solve)


def bicgstab() -> Row:
    """BiCGStab."""

    def solve(A: Any, b: Any, rtol: float) -> tuple[Any, None]:
        return linalg.bicgstab(A.mv, b, tol=rtol, maxiter=10_000)[0], None

    row = compiled("BiCGStab", PACKAGE, solve)
    return _with_steps(row, solve, products_per_step=2)


def eager_cg() -> Row:
    """Conjugate gradients without `jit` around them."""
    return called("CG", PACKAGE, lambda A, b, rtol: lambda: _cg(A, b, rtol))


def eager_dense() -> Row:
    """`jax.numpy.linalg.solve`."""

    def bind(A: Any, b: jax.Array, rtol: float) -> Callable[[], Any]:
        matrix = A.as_matrix()
        return lambda: (jnp.linalg.solve(matrix, b), None)

    return called("linalg.solve", "jax.numpy", bind)


def _cg(A: Any, b: Any, rtol: float) -> tuple[Any, None]:
    return linalg.cg(A.mv, b, tol=rtol, maxiter=10_000)[0], None


class _Counting(NamedTuple):
    """An operator that tells of each product."""

    operator: Any
    tell: Callable[[], None]

    def mv(self, x: Any) -> Any:
        jax.debug.callback(self.tell)
        return self.operator.mv(x)


def _with_steps(row: Row, solve: Callable[..., Any], products_per_step: int) -> Row:
    """Return the row with the number of iterations, from a run that is not timed."""

    def prepare(problem: Problem) -> Prepared:
        products = _count_products(solve, problem)
        # The first one makes the residual of the start.
        steps = (products - 1) / products_per_step
        ready = row.prepare(problem)
        return ready._replace(run=lambda: ready.run()._replace(iterations=steps))

    return row._replace(prepare=prepare)


def _count_products(solve: Callable[..., Any], problem: Problem) -> int:
    count = 0

    def tell() -> None:
        nonlocal count
        count += 1

    A, b = _Counting(problem.operator, tell), jnp.asarray(problem.b[0])
    jax.jit(lambda b: solve(A, b, problem.rtol))(b)[0].block_until_ready()
    jax.effects_barrier()
    return count
