import numpy as np
import pytest
from scipy.sparse.linalg import bicgstab as scipy_bicgstab

import krylax as kx

from ...gallery import from_spectrum
from ...helpers import relative_error, tolerance
from ..cases import approximate_inverse, problem, solve, solved

Status = kx.Status
N = 48
# Found by exact arithmetic: after one step the residual is orthogonal to the shadow.
LOSES_ITS_SHADOW = [
    ([[-2, -1, 0], [0, 0, -2], [-2, -2, -2]], [1, 0, 0]),
    ([[2, -2, 2], [-1, -1, 0], [0, 2, 2]], [0, 0, -1]),
    ([[1, 2, 1], [1, 0, -1], [-2, 2, 0]], [1, 0, 0]),
]


def scipy_history(matrix: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = [1.0]
    scipy_bicgstab(
        matrix,
        b,
        rtol=1e-10,
        callback=lambda x: norms.append(
            float(np.linalg.norm(b - matrix @ x) / np.linalg.norm(b))
        ),
    )
    return np.array(norms)


@pytest.mark.parametrize("name", ["convection_diffusion", "diffusion_2d"])
def test_residual_history_is_that_of_scipy(name: str):
    # Rounding makes two runs drift apart, fast where residuals grow.
    expected = scipy_history(*problem(name))[:8]
    seen = np.asarray(solved("bicgstab", name).stats.history)[:8]
    assert relative_error(seen, expected) <= 1e-8


def test_right_preconditioned_history_is_that_of_scipy_for_the_product():
    matrix, b = problem("convection_diffusion")
    M = approximate_inverse("bicgstab", matrix)
    stats = solve("bicgstab", matrix, b, preconditioner=M).stats
    shared = min(4, int(stats.num_steps))
    expected = scipy_history(matrix @ np.asarray(M.matrix), b)[:shared]
    assert relative_error(np.asarray(stats.history)[:shared], expected) <= 1e-8


@pytest.mark.parametrize("count", [1, 3, 8])
def test_steps_are_at_most_the_number_of_distinct_eigenvalues(count: int):
    values = np.resize(np.linspace(1, 9, count), N)
    found = solve("bicgstab", from_spectrum(values), np.cos(np.arange(N)))
    assert found.status == Status.converged
    assert found.stats.num_steps <= count


@pytest.mark.parametrize(("matrix", "b"), LOSES_ITS_SHADOW)
def test_iteration_begins_anew_where_the_shadow_is_lost(
    matrix: list[list[int]], b: list[int]
):
    A, rhs = np.array(matrix, float), np.array(b, float)
    solver = kx.solvers.BiCGStab(rtol=1e-12, max_steps=50)
    found = kx.solve(kx.operators.Dense(A), rhs, solver)
    slack = tolerance(np.linalg.cond(A), "float64", 100) + np.linalg.cond(A) * 1e-12
    assert relative_error(found.value, np.linalg.solve(A, rhs)) <= slack


@pytest.mark.parametrize("b", [np.eye(N)[0], np.cos(np.arange(N))])
def test_skew_symmetric_system_breaks_down(b: np.ndarray):
    found = solve("bicgstab", np.eye(N, k=1) - np.eye(N, k=-1), b)
    assert found.status == Status.breakdown
    assert np.all(np.isfinite(found.value))


@pytest.mark.parametrize("name", ["cyclic_shift", "singular_incompatible"])
def test_system_it_cannot_solve_is_reported(name: str):
    found = solve("bicgstab", *problem(name))
    assert found.status != Status.converged
    assert np.all(np.isfinite(found.value))


def test_singular_but_compatible_system_is_solved():
    matrix, b = problem("singular_incompatible")
    b = np.r_[0.0, b[1:]]
    assert solve("bicgstab", matrix, b).status == Status.converged


def test_tolerance_out_of_reach_does_not_pass():
    matrix, b = problem("nearly_singular")
    solver = kx.solvers.BiCGStab(rtol=3e-15, max_steps=10_000)
    found = kx.solve(kx.operators.Dense(matrix), b, solver, throw=False)
    residual = np.linalg.norm(b - matrix @ found.value) / np.linalg.norm(b)
    assert (found.status == Status.converged) == (residual <= 3e-15)
    assert found.stats.num_steps < 10_000
