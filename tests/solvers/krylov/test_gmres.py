from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import gmres as scipy_gmres

import krylax as kx

from ...gallery import from_spectrum
from ...helpers import relative_error, solution_tolerance, tolerance
from ..cases import (
    MAX_STEPS,
    RESTART,
    ROWS,
    RTOL,
    approximate_inverse,
    operator,
    problem,
    solve,
    solved,
)

Status = kx.Status
AGREEMENT = 1e-8  # of two implementations over several restarts
PROBLEMS = ROWS["gmres"].problems
without_recycling = kx.solvers.GCRODR(
    rtol=RTOL["float64"], restart=RESTART, num_recycled=0, max_steps=MAX_STEPS
)


def scipy_history(
    matrix: np.ndarray, b: np.ndarray, restart: int = RESTART
) -> np.ndarray:
    norms = [1.0]
    scipy_gmres(
        matrix,
        b,
        rtol=RTOL["float64"],
        restart=restart,
        maxiter=MAX_STEPS,
        callback=lambda norm: norms.append(float(norm)),
        callback_type="pr_norm",
    )
    return np.array(norms)


def disagreement(stats: Any, expected: np.ndarray) -> float:
    """The largest relative difference, down to a residual of 2e-4.

    Later on rounding makes any two runs drift apart, by a factor of up to ten per step
    after a restart that begins close to an eigenvector.
    """
    compared = min(int(np.sum(expected > 2e-4)), int(stats.num_steps) + 1)
    seen, expected = np.asarray(stats.history)[:compared], expected[:compared]
    return float(np.max(np.abs(seen - expected) / expected))


@pytest.mark.parametrize("name", PROBLEMS)
def test_residual_history_is_that_of_scipy(name: str):
    stats = solved("gmres", name).stats
    expected = scipy_history(*problem(name))
    assert abs(int(stats.num_steps) - (len(expected) - 1)) <= 1
    assert disagreement(stats, expected) <= AGREEMENT


@pytest.mark.parametrize("name", ["poisson_1d", "indefinite", "prescribed_spectrum"])
def test_residual_history_over_many_restarts_is_that_of_scipy(name: str):
    matrix, b = problem(name)
    solver = kx.solvers.GMRES(rtol=2e-4, restart=6, max_steps=MAX_STEPS)
    stats = kx.solve(kx.operators.Dense(matrix), b, solver, throw=False).stats
    assert stats.num_steps > 18
    assert disagreement(stats, scipy_history(matrix, b, restart=6)) <= AGREEMENT


@pytest.mark.parametrize("name", PROBLEMS)
def test_right_preconditioned_history_is_that_of_scipy_for_the_product(name: str):
    matrix, b = problem(name)
    M = approximate_inverse("gmres", matrix)
    stats = solve("gmres", matrix, b, preconditioner=M).stats
    expected = scipy_history(matrix @ np.asarray(M.matrix), b)
    assert disagreement(stats, expected) <= AGREEMENT


@pytest.mark.parametrize("name", [*PROBLEMS, "poisson_1d", "wide_spectrum"])
def test_gcrodr_that_recycles_nothing_is_gmres(name: str):
    matrix, b = problem(name)
    found = kx.solve(operator("gmres", matrix), b, without_recycling, throw=False)
    expected = solved("gmres", name)
    assert np.array_equal(found.value, expected.value)
    assert np.array_equal(found.stats.history, expected.stats.history, equal_nan=True)
    assert found.carry is None


@pytest.mark.parametrize("name", [*PROBLEMS, "poisson_1d", "wide_spectrum"])
def test_residuals_never_grow(name: str):
    stats = solved("gmres", name).stats
    seen = np.asarray(stats.history)[: int(stats.num_steps) + 1]
    assert np.all(seen[1:] <= seen[:-1] * (1 + 1e-8) + tolerance(1, "float64"))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_steps_are_at_most_the_number_of_distinct_eigenvalues(count: int):
    values = np.resize(np.linspace(-4, 9, count), 48)
    found = solve("gmres", from_spectrum(values), np.cos(np.arange(48)))
    assert found.status == Status.converged
    assert found.stats.num_steps <= count


@pytest.mark.parametrize("row", ["gmres", "gcrodr", "gcrodr_harmonic_per_system"])
def test_cyclic_shift_stagnates(row: str):
    found = solved(row, "cyclic_shift")
    assert found.status == Status.stagnated
    assert found.stats.num_steps == RESTART


@pytest.mark.parametrize("row", ["gmres", "gcrodr", "gcrodr_harmonic_per_system"])
def test_singular_system_without_solution_breaks_down_at_the_least_residual(row: str):
    found = solved(row, "singular_incompatible")
    assert found.status == Status.breakdown
    assert np.all(np.isfinite(found.value))
    assert float(found.stats.residual) == pytest.approx(1, rel=1e-8)


@pytest.mark.parametrize("row", ["gmres", "gcrodr", "gcrodr_harmonic_per_system"])
def test_singular_but_compatible_system_is_solved(row: str):
    matrix, b = problem("singular_incompatible")
    b = np.r_[0.0, b[1:]]
    found = solve(row, matrix, b)
    assert found.status == Status.converged
    assert relative_error(found.value, b) <= solution_tolerance(1, 1e-10, "float64")


@pytest.mark.parametrize("row", ["gmres", "gcrodr", "gcrodr_harmonic_per_system"])
def test_nilpotent_operator_breaks_down(row: str):
    found = solve(row, np.eye(48, k=1), np.eye(48)[5])
    assert found.status in (Status.breakdown, Status.stagnated)
    assert np.all(np.isfinite(found.value))


def test_restart_above_the_size_of_the_system_needs_no_second_cycle():
    matrix, b = problem("cyclic_shift")
    solver = kx.solvers.GMRES(rtol=1e-10, restart=50)
    found = kx.solve(kx.operators.Dense(matrix), b, solver)
    assert found.stats.num_steps == 48
    assert relative_error(found.value, np.eye(48)[47]) <= tolerance(1, "float64")


def test_single_step_restarts_are_minimal_residual_iterations():
    matrix, b = problem("diffusion_2d")
    solver = kx.solvers.GMRES(rtol=1e-3, restart=1)
    found = kx.solve(kx.operators.Dense(matrix), b, solver)
    r, norms = b, []
    for _ in range(int(found.stats.num_steps)):
        Ar = matrix @ r
        r = r - (r @ Ar) / (Ar @ Ar) * Ar
        norms.append(np.linalg.norm(r) / np.linalg.norm(b))
    seen = np.asarray(found.stats.history)[1 : len(norms) + 1]
    assert relative_error(seen, np.array(norms)) <= AGREEMENT


def test_gradient_of_a_complex_solve_is_that_of_the_dense_solve():
    matrix, b = problem("complex_shifted", "complex128")
    weights = np.exp(1j * np.arange(48))
    got = gradient_by_b(
        lambda b: solve("gmres", matrix, b, "complex128").value, weights, b
    )
    expected = np.linalg.solve(matrix.T, weights.conj())
    slack = solution_tolerance(8, RTOL["complex128"], "complex128")
    assert relative_error(got, expected) <= slack


def gradient_by_b(function: Any, weights: np.ndarray, b: np.ndarray) -> Any:
    """The gradient of Re(weightsᴴ x), by JAX's convention of complex gradients."""
    return jax.grad(lambda b: jnp.real(jnp.vdot(weights, function(b))))(jnp.asarray(b))


@pytest.mark.parametrize("restart", [0, -3])
def test_restart_below_one_is_refused(restart: int):
    with pytest.raises(ValueError, match=f"restart must be at least 1, got {restart}"):
        kx.solvers.GMRES(restart=restart)


@pytest.mark.usefixtures("as_users_run_it")
def test_restart_that_is_no_integer_is_refused():
    restart: Any = 20.0
    with pytest.raises(ValueError, match=r"restart must be an integer, got 20\.0"):
        kx.solvers.GMRES(restart=restart)
