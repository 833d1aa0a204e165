from typing import Any

import numpy as np
import pytest

import krylax as kx
from krylax.solvers.sequences import greedy_order, solve_sequence

NUM_SYSTEMS = 12


@pytest.fixture(scope="module")
def systems():
    """Systems of the released operator, in the paper's greedy order."""
    family = kx.datasets.SKRReleased()
    parameters = [family.sample(i) for i in range(NUM_SYSTEMS)]
    order = greedy_order(np.stack([family.features(p) for p in parameters]))
    return [family.system(parameters[i]) for i in order]


def mean_steps(systems: list[Any], solver: Any):
    solutions = solve_sequence(systems, solver, preconditioner=kx.solvers.Jacobi())
    return np.mean([int(solution.stats.num_steps) for solution in solutions])


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["svd", "harmonic"])
def test_recycling_needs_eight_times_fewer_steps_on_the_released_operator(
    systems: list[Any], selection: Any
):
    """At most: runs of GMRES that do not converge are cut off at 4000 steps."""
    gmres = kx.solvers.GMRES(rtol=1e-5, restart=40, max_steps=4000)
    recycled = kx.solvers.GCRODR(
        rtol=1e-5, restart=40, num_recycled=20, selection=selection
    )
    assert mean_steps(systems, gmres) >= 8 * mean_steps(systems, recycled)


@pytest.mark.slow
def test_recycled_solves_of_the_released_operator_are_certified(systems: list[Any]):
    solver = kx.solvers.GCRODR(rtol=1e-5, restart=40, num_recycled=20)
    solutions = list(
        solve_sequence(systems, solver, preconditioner=kx.solvers.Jacobi())
    )
    residuals = [
        np.linalg.norm(b - A @ solution.value) / np.linalg.norm(b)
        for (A, b), solution in zip(systems, solutions, strict=True)
    ]
    assert max(residuals) <= 1e-5
