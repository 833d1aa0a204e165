"""solvax."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax.numpy as jnp
from jax import lax

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


def gcrot(restart: int, num_recycled: int) -> Row:
    """GCROT(m, k) + Jacobi with harmonic vectors, handed on to the next system."""

    def solve(A: Any, b: Any, rtol: float) -> tuple[Any, Any]:
        module = import_module("solvax")

        def advance(pair: Any, system: Any) -> tuple[Any, Any]:
            A, b = system
            inverse = 1 / A.diagonal()
            solution = module.gcrot(
                A.mv,
                b,
                precond=lambda r: inverse * r,
                m=restart,
                k=num_recycled,
                rtol=rtol,
                max_restarts=1000,
                recycle=pair,
                recycle_strategy="harmonic",
                fixed_precond=True,
            )
            return solution.recycle, (solution.x, solution.iterations)

        zeros = jnp.zeros((b[0].size, num_recycled), b.dtype)
        return lax.scan(advance, (zeros, zeros), (A, b))[1]

    method = f"GCROT({restart},{num_recycled}) + Jacobi"
    return compiled(method, PACKAGE, solve, over=lambda program: program)


def eager_cg() -> Row:
    """Conjugate gradients without `jit` around them."""
    return called("CG", PACKAGE, lambda A, b, rtol: lambda: _cg(A, b, rtol))


def _cg(A: Any, b: Any, rtol: float) -> tuple[Any, Any]:
    solution = import_module("solvax").pcg(A.mv, b, rtol=rtol, max_steps=10_000)
    return solution.x, solution.iterations
