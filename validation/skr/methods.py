"""The two methods that the paper compares, on the systems of a problem.

Both stop on ‖b − A x‖ ≤ rtol ‖b‖ and precondition from the right. Every solution is
verified against SciPy's matrix; a system that misses the tolerance, for the most part
because 10 000 steps were not enough, is counted as missed.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from measure import ALLOWED, residuals
from rivals.petsc import petsc
from rivals.row import Problem

import krylax as kx
from krylax.solvers.sequences import solve_batch

# What the authors' scripts use everywhere; the paper leaves it open.
RESTART = 40
NUM_RECYCLED = 20


def gmres(problem: Problem, pc_type: str, **options: str) -> dict[str, Any] | None:
    """What PETSc's GMRES(40) does, as means over the systems.

    None where PETSc is not installed: its cells of the table stay empty.
    """
    row = petsc(
        "GMRES",
        "gmres",
        pc_type,
        ksp_gmres_restart=str(RESTART),
        ksp_pc_side="right",
        **options,
    )
    try:
        prepared = row.prepare(problem)
    except ImportError as reason:
        print(f"GMRES is left out: {reason}", file=sys.stderr)
        return None
    sample = prepared.run()
    steps = sample.iterations or 0.0
    # Beside the steps a product for each restart, as PETSc's log of events has it.
    matvecs = steps + steps // RESTART
    seconds = sample.setup + sample.solve
    return outcome(problem, sample.solutions, steps, matvecs, seconds)


def recycled(
    problem: Problem, preconditioner: Any, *, is_compiled: bool = False
) -> dict[str, Any]:
    """What our chain of GCRO-DR(40,20) does, in the order of the systems."""
    solver = gcrodr(problem.rtol)
    is_swept = isinstance(preconditioner, kx.solvers.SSOR | kx.solvers.IncompleteLU)
    if is_swept and isinstance(problem.operator, kx.operators.Banded):
        run = _sparse_chain(problem, solver, preconditioner)
        return timed(problem, run, is_compiled=False)
    systems = problem.operator, jnp.asarray(problem.b)

    def run() -> kx.Solution:
        return solve_batch(_as_is, systems, solver, preconditioner=preconditioner)

    return timed(problem, run, is_compiled=is_compiled)


def gcrodr(rtol: float) -> kx.solvers.GCRODR:
    """GCRO-DR(40,20); its tolerance is an array, which compiles one program for all."""
    solver = kx.solvers.GCRODR(restart=RESTART, num_recycled=NUM_RECYCLED)
    return eqx.tree_at(lambda s: s.rtol, solver, jnp.asarray(rtol))


def timed(
    problem: Problem, run: Callable[[], kx.Solution], *, is_compiled: bool
) -> dict[str, Any]:
    """Run, before that once to compile, and say what the `Solution` has."""
    if not is_compiled:
        jax.block_until_ready(run())
    start = time.perf_counter()
    found = jax.block_until_ready(run())
    seconds = time.perf_counter() - start
    solutions = np.asarray(found.value).reshape(len(problem.matrices), -1)
    steps, matvecs = (
        float(np.mean(count))
        for count in (found.stats.num_steps, found.stats.num_matvecs)
    )
    return outcome(problem, solutions, steps, matvecs, seconds)


def outcome(
    problem: Problem, solutions: Any, steps: float, matvecs: float, seconds: float
) -> dict[str, Any]:
    """Means over the systems, and how many missed the tolerance."""
    missed = residuals(problem, solutions) > ALLOWED * problem.rtol
    return {
        "steps": steps,
        "matvecs": matvecs,
        "milliseconds": 1e3 * seconds / len(problem.matrices),
        "missed": int(np.sum(missed)),
        "num_systems": len(problem.matrices),
    }


def _as_is(system: Any) -> Any:
    return system


def _sparse_chain(
    problem: Problem, solver: kx.solvers.GCRODR, factory: Any
) -> Callable[[], kx.Solution]:
    """As `solve_batch`, for sweeps and factors, which `Banded` does not offer.

    Those of `Sparse` must be made outside of compiled programs: beforehand, and their
    making, for the most part once for all matrices of a pattern, is not counted.
    """
    made = [kx.operators.Sparse.from_scipy(matrix) for matrix in problem.matrices]
    sweeps = [factory(A) for A in made]
    rhs = jnp.asarray(problem.b)

    def run() -> kx.Solution:
        carry, found = None, []
        for A, M, b in zip(made, sweeps, rhs, strict=True):
            one = kx.solve(A, b, solver, preconditioner=M, carry=carry, throw=False)
            carry = one.carry
            found.append(eqx.tree_at(lambda s: s.carry, one, None))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    return run
