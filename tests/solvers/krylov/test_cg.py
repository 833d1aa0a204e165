from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import cg as scipy_cg

import krylax as kx

from ...gallery import from_spectrum
from ...helpers import relative_error, solution_tolerance, tolerance
from ..cases import RTOL, approximate_inverse, operator, problem, solve, solved

Status = kx.Status
N = 48


def steps_for(eigenvalues: np.ndarray) -> int:
    found = solve("cg", from_spectrum(eigenvalues), np.cos(np.arange(N)))
    assert found.status == Status.converged
    return int(found.stats.num_steps)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_steps_are_at_most_the_number_of_distinct_eigenvalues(count: int):
    assert steps_for(np.resize(np.linspace(1, 10, count), N)) <= count


def test_one_outlying_eigenvalue_costs_one_step():
    cluster = np.linspace(1, 2, N)
    assert steps_for(np.r_[1e3, cluster[1:]]) <= steps_for(cluster) + 2


@pytest.mark.parametrize("name", ["diffusion_2d", "poisson_1d", "prescribed_spectrum"])
def test_residuals_obey_the_chebyshev_bound(name: str):
    stats, cond = solved("cg", name).stats, problem(name).cond
    steps = np.arange(int(stats.num_steps) + 1)
    rate = (cond**0.5 - 1) / (cond**0.5 + 1)
    # The bound is on the A-norm of the error; residuals pay √κ to change the norm.
    bound = 2 * cond**0.5 * rate**steps
    assert np.all(np.asarray(stats.history)[steps] <= bound)


@pytest.mark.parametrize("name", ["diffusion_2d", "poisson_1d", "prescribed_spectrum"])
def test_residual_history_is_that_of_scipy(name: str):
    matrix, b = problem(name)
    norms = [float(np.linalg.norm(b))]
    scipy_cg(
        matrix,
        b,
        rtol=1e-10,
        callback=lambda x: norms.append(float(np.linalg.norm(b - matrix @ x))),
    )
    # Rounding makes two runs of CG drift apart; the first steps agree.
    seen = np.asarray(solved("cg", name).stats.history)[:15]
    assert relative_error(seen, np.array(norms[:15]) / norms[0]) <= 1e-8


@pytest.mark.parametrize("shift", [0.0, -2.5])
def test_indefinite_operator_is_reported(shift: float):
    matrix, b = problem("indefinite")
    found = solve("cg", matrix + shift * np.eye(N), b)
    assert found.status == Status.indefinite_operator
    assert np.all(np.isfinite(found.value))


def test_negative_definite_operator_is_reported_at_once():
    matrix, b = problem("diffusion_2d")
    found = solve("cg", -matrix, b)
    assert (int(found.status), int(found.stats.num_steps)) == (
        Status.indefinite_operator,
        0,
    )


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_indefinite_preconditioner_is_reported(sign: float):
    matrix, b = problem("diffusion_2d")
    M = approximate_inverse("cg", matrix)
    M = kx.operators.Dense(sign * M.as_matrix(), tags=["positive_definite"])
    found = solve("cg", matrix, b, preconditioner=M)
    assert found.status == Status.indefinite_preconditioner


def test_singular_operator_never_gives_nan_as_converged():
    matrix, b = problem("singular_incompatible")
    found = solve("cg", matrix, b)
    assert found.status != Status.converged
    assert np.all(np.isfinite(found.value))


def test_tolerance_out_of_reach_is_attained_to_rounding():
    matrix, b = problem("wide_spectrum")
    solver = kx.solvers.CG(rtol=3e-15, max_steps=100_000)
    found = kx.solve(operator("cg", matrix), b, solver, throw=False)
    assert found.status == Status.attained


def test_two_phase_diffusion_agrees_with_the_dense_solve():
    k = np.where(np.random.default_rng(1).random((8, 6)) < 0.5, 12.0, 3.0)
    expected = problem("diffusion_2d")
    b = jnp.asarray(expected.b.reshape(8, 6))
    found = kx.solve(kx.operators.Diffusion(k), b, kx.solvers.CG(rtol=1e-10))
    error = relative_error(found.value.reshape(-1), expected.solution)
    assert error <= solution_tolerance(expected.cond, 1e-10, "float64")


def test_preconditioned_steps_are_those_of_the_symmetrically_scaled_system():
    matrix, b = problem("diffusion_2d")
    scaling = 1 / np.sqrt(np.diagonal(matrix))
    scaled = scaling[:, None] * matrix * scaling[None, :]
    by_hand = solve("cg", scaled, scaling * b)
    by_jacobi = solved("cg", "diffusion_2d", preconditioner="jacobi")
    # The residuals differ by the scaling, of condition below 2: by a step or two.
    assert abs(int(by_hand.stats.num_steps) - int(by_jacobi.stats.num_steps)) <= 2


def test_gradient_of_a_hermitian_solve_is_that_of_the_dense_solve():
    matrix, b = problem("complex_hermitian", "complex128")
    weights = np.exp(1j * np.arange(N))

    def functional(x: Any) -> Any:
        return jnp.real(jnp.vdot(weights, x))

    got = jax.grad(lambda b: functional(solve("cg", matrix, b, "complex128").value))(
        jnp.asarray(b)
    )
    expected = jax.grad(lambda b: functional(jnp.linalg.solve(matrix, b)))(
        jnp.asarray(b)
    )
    slack = solution_tolerance(30, RTOL["complex128"], "complex128")
    assert relative_error(got, expected) <= slack


def test_history_of_many_steps_is_halved_until_it_fits():
    matrix, b = problem("wide_spectrum")
    solver = kx.solvers.CG(rtol=1e-13, max_steps=3000)
    found = kx.solve(operator("cg", matrix), b, solver, throw=False)
    history, stride = np.asarray(found.stats.history), int(found.stats.history_stride)
    assert history.shape == (512,)
    assert stride == 2 ** int(np.ceil(np.log2((int(found.stats.num_steps) + 1) / 512)))
    reached = int(found.stats.num_steps) // stride + 1
    assert np.all(np.isfinite(history[:reached]))
    assert np.all(np.isinf(history[reached:]))
    assert history[0] == pytest.approx(1, rel=tolerance(1, "float64"))
