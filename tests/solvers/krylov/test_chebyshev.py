from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, solution_tolerance, tolerance
from ..cases import problem

Status = kx.Status
PROBLEMS = ["diffusion_2d", "prescribed_spectrum"]


def extremes(matrix: np.ndarray) -> tuple[float, float]:
    values = np.linalg.eigvalsh(matrix)
    return float(values[0]), float(values[-1])


def solve(matrix: np.ndarray, b: np.ndarray, smallest: Any, largest: Any) -> Any:
    solver = kx.solvers.Chebyshev(
        rtol=1e-10, smallest=smallest, largest=largest, max_steps=300
    )
    return kx.solve(kx.operators.Dense(matrix), b, solver, throw=False)


@pytest.mark.parametrize("margin", [1.0, 1.5])
@pytest.mark.parametrize("name", PROBLEMS)
def test_residuals_are_those_of_the_chebyshev_polynomial(name: str, margin: float):
    matrix, b = problem(name)
    smallest, largest = extremes(matrix) * np.array([1 / margin, margin])
    values, Q = np.linalg.eigh(matrix)
    stats = solve(matrix, b, float(smallest), float(largest)).stats
    degrees = np.arange(int(stats.num_steps) + 1)
    centre, radius = (largest + smallest) / 2, (largest - smallest) / 2
    nodes = np.clip((centre - values) / radius, -1, 1)
    polynomials = np.cos(degrees[:, None] * np.arccos(nodes))
    polynomials /= np.cosh(degrees * np.arccosh(centre / radius))[:, None]
    expected = np.linalg.norm(polynomials * (Q.T @ b), axis=1) / np.linalg.norm(b)
    seen = np.asarray(stats.history)[degrees]
    # Rounding stays of the size that the residuals begin with.
    assert np.max(np.abs(seen - expected)) <= tolerance(100, "float64", 100)


@pytest.mark.parametrize("name", PROBLEMS)
def test_residuals_obey_the_bound(name: str):
    matrix, b = problem(name)
    stats, cond = solve(matrix, b, *extremes(matrix)).stats, problem(name).cond
    steps = np.arange(int(stats.num_steps) + 1)
    rate = (cond**0.5 - 1) / (cond**0.5 + 1)
    seen = np.asarray(stats.history)[steps]
    assert np.all(seen <= 2 * rate**steps + tolerance(cond, "float64"))


def test_equal_bounds_of_a_multiple_of_the_identity_take_one_step():
    found = solve(3.0 * np.eye(48), np.cos(np.arange(48)), 3.0, 3.0)
    assert (int(found.status), int(found.stats.num_steps)) == (Status.converged, 1)


@pytest.mark.parametrize("factor", [0.7, 0.1, 1e-10])
def test_upper_bound_that_is_too_small_is_reported(factor: float):
    matrix, b = problem("diffusion_2d")
    smallest, largest = extremes(matrix)
    found = solve(matrix, b, min(smallest, factor * largest), factor * largest)
    assert found.status in (Status.diverged, Status.nonfinite)
    assert np.all(np.isfinite(found.value))


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_lower_bound_that_is_wrong_costs_steps_only(factor: float):
    matrix, b = problem("diffusion_2d")
    smallest, largest = extremes(matrix)
    found = solve(matrix, b, factor * smallest, largest)
    assert found.status == Status.converged
    expected = solve(matrix, b, smallest, largest).stats.num_steps
    assert found.stats.num_steps > expected


def test_indefinite_operator_with_measured_bounds_is_reported():
    matrix, b = problem("indefinite")
    solver = kx.solvers.Chebyshev(rtol=1e-10, num_bound_steps=20, max_steps=300)
    found = kx.solve(kx.operators.Dense(matrix), b, solver, throw=False)
    assert found.status in (Status.diverged, Status.nonfinite)


def test_bounds_may_be_traced():
    matrix, b = problem("diffusion_2d")
    smallest, largest = extremes(matrix)
    factors = np.array([1.0, 1.5])
    found = jax.vmap(partial(solve, matrix, b, smallest))(factors * largest)
    assert found.status.tolist() == [Status.converged] * 2
    assert found.stats.num_steps[0] < found.stats.num_steps[1]


def test_measured_bounds_are_counted():
    matrix, b = problem("diffusion_2d")
    solver = kx.solvers.Chebyshev(rtol=1e-6, num_bound_steps=12)
    stats = kx.solve(kx.operators.Dense(matrix), b, solver).stats
    # Beside the steps: the bounds, and the product that confirms and certifies.
    assert int(stats.num_matvecs) == int(stats.num_steps) + 12 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs the bounds of the spectrum"),
        ({"smallest": 1.0}, "needs the bounds of the spectrum"),
        ({"smallest": 2.0, "largest": 1.0}, "0 < smallest <= largest"),
        ({"smallest": 0.0, "largest": 1.0}, "0 < smallest <= largest"),
        ({"smallest": 1.0, "largest": float("inf")}, "0 < smallest <= largest"),
        ({"smallest": 1.0, "largest": 2.0, "num_bound_steps": 5}, "leave one"),
        ({"num_bound_steps": -1}, "must be at least 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        kx.solvers.Chebyshev(**options)


@jax.jit
def bounds_of(A: Any, seed: Any) -> Any:
    return kx.solvers.spectral_bounds(A, key=jax.random.key(seed))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", [*PROBLEMS, "poisson_1d", "indefinite"])
def test_spectral_bounds_lie_where_they_should(name: str, seed: int):
    matrix, _ = problem(name)
    smallest, largest = bounds_of(kx.operators.Dense(matrix), seed)
    low, high = extremes(matrix)
    assert low - tolerance(high, "float64") <= smallest
    assert high - tolerance(high, "float64") <= largest <= 1.1 * high


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_spectral_bounds_with_a_preconditioner_are_those_of_the_product(scale: float):
    matrix, _ = problem("diffusion_2d")
    diagonal = np.linspace(1, 5, 48)
    find = partial(kx.solvers.spectral_bounds, key=jax.random.key(0), num_steps=48)
    bounds = jax.jit(find)(
        kx.operators.Dense(scale * matrix), kx.operators.Diagonal(1 / diagonal)
    )
    scaled = matrix / np.sqrt(diagonal) / np.sqrt(diagonal)[:, None]
    expected = np.array(extremes(scaled))
    assert relative_error(np.array(bounds) / scale, expected) <= 1e-8


def test_spectral_bounds_of_an_exhausted_space_are_exact():
    A = kx.operators.Diagonal(np.full(48, 3.0))
    find = partial(kx.solvers.spectral_bounds, key=jax.random.key(0), num_steps=10)
    bounds = jax.jit(find)(A)
    slack = solution_tolerance(1, 0, "float64")
    assert relative_error(np.array(bounds), np.array([3.0, 3.0])) <= slack


def test_spectral_bounds_without_steps_are_refused():
    A = kx.operators.Diagonal(jnp.ones(3))
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        kx.solvers.spectral_bounds(A, key=jax.random.key(0), num_steps=0)
