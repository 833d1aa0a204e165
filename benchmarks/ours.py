"""Rows of krylax."""

from collections.abc import Callable
from typing import Any

from rivals.compiled import called, compiled
from rivals.row import Prepared, Problem, Row

import krylax as kx
from krylax.solvers.sequences import solve_batch

PACKAGE = "krylax"


def krylov(
    method: str,
    solver: Callable[[float], kx.solvers.AbstractSolver],
    *,
    preconditioner: Any = None,
    over: Callable[..., Any] | None = None,
) -> Row:
    """Return the row of a solver, made from rtol, and a factory of preconditioners.

    For a single system the set-up of the preconditioner is timed apart.
    """

    def solve(A: Any, b: Any, rtol: float, M: Any = None) -> tuple[Any, Any]:
        M = preconditioner if M is None else M
        solution = kx.solve(A, b, solver(rtol), preconditioner=M, throw=False)
        return solution.value, solution.stats.num_steps

    setup = preconditioner if over is None else None
    return compiled(method, PACKAGE, solve, setup=setup, over=over)


def chain(
    method: str,
    solver: Callable[[float], kx.solvers.AbstractSolver],
    preconditioner: Any = None,
) -> Row:
    """Return the row of a solver that hands its recycle space to the next system."""

    def prepare(problem: Problem) -> Prepared:
        made = solver(problem.rtol)

        def program(A: Any, b: Any) -> tuple[Any, Any]:
            found = solve_batch(
                lambda system: system, (A, b), made, preconditioner=preconditioner
            )
            return found.value, found.stats.num_steps

        row = compiled(method, PACKAGE, lambda A, b, _: program(A, b), over=lambda f: f)
        return row.prepare(problem)

    return Row(method, PACKAGE, prepare)


def eager(method: str, solver: Callable[[float], kx.solvers.AbstractSolver]) -> Row:
    """Return the row of a solver outside of `jit`."""

    def bind(A: Any, b: Any, rtol: float) -> Callable[[], Any]:
        made = solver(rtol)

        def call() -> tuple[Any, Any]:
            solution = kx.solve(A, b, made)
            return solution.value, solution.stats.num_steps

        return call

    return called(method, PACKAGE, bind)
