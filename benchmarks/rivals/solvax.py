"""solvax."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .compiled import called, compiled
from .row import Row

PACKAGE = "solvax"


def cg(method: str = "CG", over: Callable[..., Any] | None = None) -> Row:
    """Conjugate gradients."""
    return compiled(method, PACKAGE, _cg, over=over)


def gmres(restart: int) -> Row:
    """Flexible GMRES."""

    def solve(A: Any, b: Any, rtol: float) -> tuple[Any, Any]:
        module = import_module("solvax")
        solution = module.gmres(
            A.mv, b, rtol=rtol, restart=restart, max_restarts=1000, fixed_precond=True
        )
        return solution.x, solution.iterations

    return compiled(f"GMRES({restart})", PACKAGE, solve)


def eager_cg() -> Row:
    """Conjugate gradients without `jit` around them."""
    return called("CG", PACKAGE, lambda A, b, rtol: lambda: _cg(A, b, rtol))


def _cg(A: Any, b: Any, rtol: float) -> tuple[Any, Any]:
    solution = import_module("solvax").pcg(A.mv, b, rtol=rtol, max_steps=10_000)
    return solution.x, solution.iterations
