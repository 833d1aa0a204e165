import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import minres as scipy_minres

import krylax as kx

from ...gallery import from_spectrum
from ...helpers import relative_error, solution_tolerance, tolerance
from ..cases import ROWS, approximate_inverse, problem, solve, solved
from ..systems import system_of

Status = kx.Status
N = 48
PROBLEMS = ROWS["minres"].problems
AGREEMENT = 1e-8  # of two implementations over the first steps


def history(stats: kx.solvers.Statistics, steps: int = 15) -> np.ndarray:
    return np.asarray(stats.history)[: min(steps, int(stats.num_steps))]


@pytest.mark.parametrize("name", PROBLEMS)
def test_residuals_are_those_of_gmres(name: str):
    seen = history(solved("minres", name).stats)
    expected = np.asarray(solved("gmres", name).stats.history)[: len(seen)]
    assert relative_error(seen, expected) <= AGREEMENT


@pytest.mark.parametrize("name", PROBLEMS)
def test_residual_history_is_that_of_scipy(name: str):
    matrix, b = problem(name)
    norms = [1.0]
    scipy_minres(
        matrix,
        b,
        rtol=1e-10,
        callback=lambda x: norms.append(
            float(np.linalg.norm(b - matrix @ x) / np.linalg.norm(b))
        ),
    )
    seen = history(solved("minres", name).stats)
    assert relative_error(seen, np.array(norms[: len(seen)])) <= AGREEMENT


@pytest.mark.parametrize("name", PROBLEMS)
def test_residuals_never_grow(name: str):
    stats = solved("minres", name).stats
    seen = np.asarray(stats.history)[: int(stats.num_steps) + 1]
    assert np.all(seen[1:] <= seen[:-1] * (1 + AGREEMENT) + tolerance(1, "float64"))


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_residual_of_the_recurrence_is_the_true_one_with_a_preconditioner(steps: int):
    matrix, b = problem("diffusion_2d")
    M = approximate_inverse("cg", matrix + np.diag(np.arange(N)))
    system = system_of("diffusion_2d", preconditioner=M)
    unroll = jax.jit(lambda system: kx.solvers.MINRES().unroll(system, None, steps))
    outcome = unroll(system)
    expected = np.linalg.norm(b - matrix @ np.asarray(outcome.value))
    assert float(outcome.history.values[steps]) == pytest.approx(
        expected, rel=AGREEMENT
    )


@pytest.mark.parametrize("count", [1, 3, 8])
def test_steps_are_at_most_the_number_of_distinct_eigenvalues(count: int):
    values = np.resize(np.linspace(-4, 9, count), N)
    found = solve("minres", from_spectrum(values), np.cos(np.arange(N)))
    assert found.status == Status.converged
    assert found.stats.num_steps <= count


def test_saddle_point_system_with_its_schur_complement_takes_three_steps():
    # M. F. Murphy, G. H. Golub, A. J. Wathen (2000), doi:10.1137/S1064827599355153.
    K = problem("diffusion_2d").matrix[:36, :36]
    B = np.random.default_rng(2).standard_normal((12, 36))
    matrix = np.block([[K, B.T], [B, np.zeros((12, 12))]])
    K_inverse, zero = np.linalg.inv(K), np.zeros((36, 12))
    S_inverse = np.linalg.inv(B @ K_inverse @ B.T)
    M = kx.operators.Dense(np.block([[K_inverse, zero], [zero.T, S_inverse]]))
    found = solve("minres", matrix, np.cos(np.arange(N)), preconditioner=M)
    assert found.status == Status.converged
    assert found.stats.num_steps == 3


def test_first_direction_of_no_curvature_is_no_obstacle():
    matrix = np.kron(np.eye(N // 2), [[0.0, 1.0], [1.0, 0.0]])
    found = solve("minres", matrix, np.eye(N)[0])
    assert found.status == Status.converged
    assert relative_error(found.value, np.eye(N)[1]) <= tolerance(1, "float64")


def test_singular_but_compatible_system_is_solved():
    matrix, b = problem("singular_incompatible")
    b = np.r_[0.0, b[1:]]
    found = solve("minres", matrix, b)
    assert found.status == Status.converged
    assert relative_error(found.value, b) <= solution_tolerance(1, 1e-10, "float64")


def test_singular_system_without_solution_breaks_down():
    found = solve("minres", *problem("singular_incompatible"))
    assert found.status in (Status.breakdown, Status.stagnated)
    assert np.all(np.isfinite(found.value))
    assert float(found.stats.residual) == pytest.approx(1, rel=AGREEMENT)


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_indefinite_preconditioner_is_reported_at_once(sign: float):
    matrix, b = problem("diffusion_2d")
    M = sign * approximate_inverse("cg", matrix)
    found = solve("minres", matrix, b, preconditioner=M)
    assert found.status == Status.indefinite_preconditioner
    assert found.stats.num_steps == 0


def test_preconditioner_of_mixed_signs_is_reported():
    matrix, b = problem("diffusion_2d")
    signs = jnp.asarray(np.where(np.arange(N) == 5, -1.0, 1.0))
    found = solve("minres", matrix, b, preconditioner=kx.operators.Diagonal(signs))
    assert found.status == Status.indefinite_preconditioner
    assert np.all(np.isfinite(found.value))


def test_tolerance_out_of_reach_stagnates():
    matrix, b = problem("wide_spectrum")
    solver = kx.solvers.MINRES(rtol=3e-15, max_steps=100_000)
    found = kx.solve(kx.operators.Dense(matrix), b, solver, throw=False)
    assert found.status in (Status.stagnated, Status.diverged)
    assert found.stats.num_steps < 10_000


def test_a_complex_symmetric_operator_is_refused():
    A = kx.operators.Dense(np.array([[1.0, 1j], [1j, 2.0]]), tags=["symmetric"])
    with pytest.raises(ValueError, match="MINRES needs a hermitian operator"):
        kx.solve(A, np.ones(2, complex), kx.solvers.MINRES())
