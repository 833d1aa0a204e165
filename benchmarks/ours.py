"""Rows of krylax."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from rivals.compiled import called, compiled
from rivals.row import Prepared, Problem, Row

import krylax as kx
from krylax.datasets.families._family import stacked_samples
from krylax.datasets.generation._shared_preconditioner import mean_parameters
from krylax.datasets.generation._solve_segment import CHUNK
from krylax.solvers.sequences import (
    GalerkinStart,
    learned_space,
    pod_basis,
    solve_batch,
)

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

    def solve(A: Any, b: Any, rtol: float) -> tuple[Any, Any]:
        return _batch(_as_given, (A, b), solver(rtol), preconditioner)

    return compiled(method, PACKAGE, solve, over=_whole)


def frozen(
    method: str,
    solver: Callable[[float], kx.solvers.AbstractSolver],
    preconditioner: Any = None,
) -> Row:
    """Return the row of a solver that starts each system from one recycle space.

    It is what `learned_space` finds of the mean operator, and counts as set-up of the
    whole batch.
    """

    def gather(A: Any) -> Any:
        mean = jax.tree.map(lambda a: jnp.mean(a, axis=0).astype(a.dtype), A)
        return learned_space(mean, solver(1e-8), preconditioner=preconditioner)

    def solve(A: Any, b: Any, rtol: float, carry: Any) -> tuple[Any, Any]:
        options = {"carry": carry, "recycle": "frozen"}
        return _batch(_as_given, (A, b), solver(rtol), preconditioner, **options)

    return compiled(method, PACKAGE, solve, setup=gather, over=_whole)


def planned() -> Row:
    """Return the row of what `krylax.datasets.plan` chooses for the family.

    What all systems share counts as set-up of the whole batch; choosing does not count.
    A matrix that all have is one, as it is for the rivals and in `generate`.
    """

    def prepare(problem: Problem) -> Prepared:
        found = kx.datasets.plan(problem.family, rtol=problem.rtol)
        work = found.work
        is_one = all(matrix is problem.matrices[0] for matrix in problem.matrices)

        def solve(A: Any, b: Any, _: float, shared: Any) -> tuple[Any, Any]:
            M, start, carry = shared
            return _batch(
                _OneMatrix(jax.tree.map(lambda a: a[0], A)) if is_one else _as_given,
                b if is_one else (A, b),
                work.solver,
                work.preconditioner if M is None else M,
                start="zero" if start is None else start,
                carry=carry,
                recycle=work.recycle,
            )

        row = compiled(
            "plan", PACKAGE, solve, setup=lambda _: _shared(work), over=_whole
        )
        name = next(trial.name for trial in found.trials if trial.work is work)
        return row.prepare(problem)._replace(note=name)

    return Row("plan", PACKAGE, prepare)


def _shared(work: Any) -> tuple[Any, Any, Any]:
    """The preconditioner, start and space that all systems share; None for none."""
    family, M, start, carry = work.family, None, None, None
    if isinstance(work.preconditioner, kx.datasets.SharedPreconditioner):
        means = mean_parameters(family, work.preconditioner.num_samples)
        M = work.preconditioner.factory(family.system(means)[0])
    chosen: Any = work.preconditioner if M is None else M
    if work.start is not None:
        count = work.start.num_samples
        solved = solve_batch(
            family.system,
            stacked_samples(family, range(count)),
            work.solver,
            preconditioner=chosen,
        )
        start = GalerkinStart(pod_basis(solved.value, count))
    if work.solver.has_carry:
        mean, _ = family.system(mean_parameters(family, CHUNK))
        carry = learned_space(mean, work.solver, preconditioner=chosen)
    return M, start, carry


class _OneMatrix(eqx.Module):
    """All systems have this operator, and are given by their right-hand sides."""

    operator: Any

    def __call__(self, b: Any) -> tuple[Any, Any]:
        return self.operator, b


def _as_given(system: tuple[Any, Any]) -> tuple[Any, Any]:
    return system


def _batch(
    system: Any, parameters: Any, solver: Any, M: Any, **options: Any
) -> tuple[Any, Any]:
    found = solve_batch(system, parameters, solver, preconditioner=M, **options)
    return found.value, found.stats.num_steps


def _whole(program: Callable[..., Any]) -> Callable[..., Any]:
    """A program takes all systems at once already."""
    return program


def eager(
    method: str,
    solver: Callable[[float], kx.solvers.AbstractSolver],
    preconditioner: Any = None,
) -> Row:
    """Return the row of a solver outside of `jit`.

    There a factory of preconditioners can choose by the numbers of A; its set-up is in
    the program.
    """

    def bind(A: Any, b: Any, rtol: float) -> Callable[[], Any]:
        made = solver(rtol)

        def call() -> tuple[Any, Any]:
            solution = kx.solve(A, b, made, preconditioner=preconditioner, throw=False)
            return solution.value, solution.stats.num_steps

        return call

    return called(method, PACKAGE, bind)
