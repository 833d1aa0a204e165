"""lineax, stopping on the norm that everybody else uses.

Its own criterion is one of entries, atol + rtol |b_i|, which random right-hand sides
make much harder. With rtol = 0, atol = tolerance · ‖b‖ and the 2-norm its test of the
residual is ‖b − A x‖ ≤ tolerance · ‖b‖; the same number bounds the last change of x.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax.numpy as jnp

from .compiled import called, compiled
from .row import Row

PACKAGE = "lineax"


def cg(method: str = "CG", over: Callable[..., Any] | None = None) -> Row:
    """Conjugate gradients."""
    return _row(method, _solver("CG"), over)


def gmres(restart: int) -> Row:
    """GMRES; it counts restarts, each of which is a whole cycle."""
    solver = _solver("GMRES", restart=restart)
    return _row(f"GMRES({restart})", solver, None, steps_per_count=restart)


def bicgstab() -> Row:
    """BiCGStab."""
    return _row("BiCGStab", _solver("BiCGStab"), None)


def eager_cg() -> Row:
    """Conjugate gradients without `jit` around them."""
    return _eager("CG", _solver("CG"))


def eager_dense(method: str) -> Row:
    """`LU` or `AutoLinearSolver` without `jit` around them."""

    def bind(A: Any, b: Any, rtol: float) -> Callable[[], Any]:
        lx = import_module("lineax")
        operator = lx.MatrixLinearOperator(A.as_matrix())
        settings = {"LU": {}, "AutoLinearSolver": {"well_posed": True}}[method]
        solver = getattr(lx, method)(**settings)
        return lambda: (lx.linear_solve(operator, b, solver).value, None)

    return called(method, PACKAGE, bind)


def _solver(name: str, **settings: Any) -> Callable[[Any, float], Any]:
    def make(b: Any, rtol: float) -> Any:
        lx = import_module("lineax")
        return getattr(lx, name)(
            rtol=0.0,
            atol=rtol * jnp.linalg.norm(b.ravel()),
            norm=lx.internal.two_norm,
            max_steps=10_000,
            **settings,
        )

    return make


def _operator(A: Any) -> Any:
    lx = import_module("lineax")
    tags = [lx.positive_semidefinite_tag] if "positive_definite" in A.tags else []
    return lx.FunctionLinearOperator(A.mv, A.in_structure, tags)


def _row(
    method: str,
    solver: Callable[[Any, float], Any],
    over: Callable[..., Any] | None,
    steps_per_count: int = 1,
) -> Row:
    def solve(A: Any, b: Any, rtol: float) -> tuple[Any, Any]:
        lx = import_module("lineax")
        solution = lx.linear_solve(_operator(A), b, solver(b, rtol), throw=False)
        return solution.value, steps_per_count * solution.stats["num_steps"]

    return compiled(method, PACKAGE, solve, over=over)


def _eager(method: str, solver: Callable[[Any, float], Any]) -> Row:
    def bind(A: Any, b: Any, rtol: float) -> Callable[[], Any]:
        lx = import_module("lineax")
        operator, made = _operator(A), solver(b, rtol)

        def call() -> tuple[Any, Any]:
            solution = lx.linear_solve(operator, b, made)
            return solution.value, solution.stats["num_steps"]

        return call

    return called(method, PACKAGE, bind)
