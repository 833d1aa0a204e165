"""Rows of krylax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rivals.compiled import called, compiled
from rivals.row import Prepared, Problem, Row

import krylax as kx
from krylax.solvers.sequences import solve_batch

PACKAGE = "krylax"
# Directions that a solve to 1e-8 leaves behind are still rough.
GATHERING_RTOL = 1e-12


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

    def solve(A: Any, b: Any, rtol: float) -> tuple[Any, Any]:
        return _batch(A, b, solver(rtol), preconditioner)

    return compiled(method, PACKAGE, solve, over=_whole)


def frozen(
    method: str,
    solver: Callable[[float], kx.solvers.AbstractSolver],
    preconditioner: Any = None,
) -> Row:
    """Return the row of a solver that starts each system from one recycle space.

    It is what a solve of the mean operator with a random right-hand side leaves behind,
    and counts as set-up of the whole batch.
    """

    def gather(A: Any) -> Any:
        mean = jax.tree.map(lambda a: jnp.mean(a, axis=0).astype(a.dtype), A)
        structure = mean.in_structure
        b = jax.random.normal(jax.random.key(0), structure.shape, structure.dtype)
        made = solver(GATHERING_RTOL)
        found = kx.solve(mean, b, made, preconditioner=preconditioner, throw=False)
        return found.carry

    def solve(A: Any, b: Any, rtol: float, carry: Any) -> tuple[Any, Any]:
        return _batch(A, b, solver(rtol), preconditioner, carry=carry, recycle="frozen")

    return compiled(method, PACKAGE, solve, setup=gather, over=_whole)


def planned() -> Row:
    """Return the row of what `krylax.datasets.plan` chooses for the family.

    A preconditioner that all systems share counts as set-up of the whole batch;
    choosing does not count.
    """
    method = "plan"

    def prepare(problem: Problem) -> Prepared:
        family = problem.family
        found = kx.datasets.plan(family, rtol=problem.rtol)
        shared = found.preconditioner
        setup = None
        if isinstance(shared, kx.datasets.SharedPreconditioner):
            means = _mean_parameters(family, shared.num_samples)
            setup = lambda _: shared.factory(family.system(means)[0])  # noqa: E731

        def solve(A: Any, b: Any, _: float, M: Any = None) -> tuple[Any, Any]:
            return _batch(A, b, found.solver, M if setup else shared)

        row = compiled(method, PACKAGE, solve, setup=setup, over=_whole)
        chosen = (found.solver, shared)
        name = next(
            trial.name
            for trial in found.trials
            if (trial.solver, trial.preconditioner) == chosen
        )
        return row.prepare(problem)._replace(note=name)

    return Row(method, PACKAGE, prepare)


def _mean_parameters(family: Any, num_samples: int) -> dict[str, Any]:
    samples = [family.sample(i) for i in range(num_samples)]
    return {name: np.mean([p[name] for p in samples], axis=0) for name in samples[0]}


def _batch(A: Any, b: Any, solver: Any, M: Any, **options: Any) -> tuple[Any, Any]:
    found = solve_batch(
        lambda system: system, (A, b), solver, preconditioner=M, **options
    )
    return found.value, found.stats.num_steps


def _whole(program: Callable[..., Any]) -> Callable[..., Any]:
    """A program takes all systems at once already."""
    return program


def eager(method: str, solver: Callable[[float], kx.solvers.AbstractSolver]) -> Row:
    """Return the row of a solver outside of `jit`."""

    def bind(A: Any, b: Any, rtol: float) -> Callable[[], Any]:
        made = solver(rtol)

        def call() -> tuple[Any, Any]:
            solution = kx.solve(A, b, made)
            return solution.value, solution.stats.num_steps

        return call

    return called(method, PACKAGE, bind)
