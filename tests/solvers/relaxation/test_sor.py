"""SOR against PyAMG's sweeps, dense algebra and Young's theory."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyamg
import pytest
import scipy.sparse

import krylax as kx

from ...helpers import as_matrix, relative_error, tolerance

S: Any = kx.solvers
Status = kx.Status
GRIDS = [(9,), (6, 5), (4, 3, 5)]


def wavy(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.exp(0.5 * np.random.default_rng(seed).standard_normal(shape))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


def sparse_of(A: Any) -> Any:
    return scipy.sparse.csr_array(as_matrix(A))


def after(A: Any, b: Any, solver: Any, num_steps: int) -> np.ndarray:
    """The iterate after some steps."""
    return np.asarray(kx.solve(A, b, solver, unroll=num_steps).value)


def swept(matrix: Any, b: np.ndarray, omega: float, num_steps: int) -> np.ndarray:
    """The same by PyAMG, in natural order."""
    x = np.zeros(b.size)
    A = scipy.sparse.csr_matrix(matrix)
    pyamg.relaxation.relaxation.sor(A, x, b.ravel(), omega, num_steps, "forward")
    return x


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_steps_in_natural_order_are_sweeps_of_pyamg(shape: tuple[int, ...]):
    A, b = kx.operators.Diffusion(wavy(shape)), noise(*shape)
    found = after(A, b, S.SOR(1e-8, omega=1.4), 5)
    expected = swept(sparse_of(A), b, 1.4, 5)
    assert relative_error(found.ravel(), expected) <= tolerance(10, "float64")


@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_steps_in_colours_are_sweeps_of_the_permuted_matrix(shape: tuple[int, ...]):
    A, b = kx.operators.Diffusion(wavy(shape)), noise(*shape)
    found = after(A, b, S.SOR(1e-8, omega=1.4, order=S.Multicolour()), 5).ravel()
    order = np.argsort(np.indices(shape).sum(axis=0).ravel() % 2, kind="stable")
    expected = swept(sparse_of(A)[order][:, order], b.ravel()[order], 1.4, 5)
    assert relative_error(found[order], expected) <= tolerance(10, "float64")


def unstructured() -> Any:
    """Nonsymmetric, diagonally dominant."""
    pattern = scipy.sparse.random_array((40, 40), density=0.1, rng=5)
    return scipy.sparse.csr_array(pattern + 3 * scipy.sparse.eye_array(40))


def test_natural_order_of_a_sparse_matrix_is_a_sweep_of_pyamg():
    matrix, b = unstructured(), noise(40)
    A = kx.operators.Sparse.from_scipy(matrix)
    found = after(A, b, S.SOR(1e-8, omega=1.1, order=S.Natural().of(A)), 4)
    assert relative_error(found, swept(matrix, b, 1.1, 4)) <= tolerance(10, "float64")


def test_colours_of_a_sparse_matrix_solve_inside_a_compiled_program():
    matrix, b = unstructured(), noise(40)
    A = kx.operators.Sparse.from_scipy(matrix)
    solver = S.SOR(1e-10, order=S.Multicolour().of(A))
    x = jax.jit(lambda A, b: kx.solve(A, b, solver).value)(A, b)
    residual = np.linalg.norm(b - matrix @ np.asarray(x))
    assert residual <= 1e-10 * np.linalg.norm(b)


def test_colours_of_a_sparse_grid_are_those_of_the_grid():
    grid, b = kx.operators.Laplacian((6, 5)), noise(6, 5)
    A = kx.operators.Sparse.from_scipy(sparse_of(grid))
    found = after(A, b.ravel(), S.SOR(1e-8, 0.0, 1.4, S.Multicolour().of(A)), 3)
    expected = after(grid, b, S.SOR(1e-8, 0.0, 1.4, S.Multicolour()), 3)
    assert relative_error(found, expected.ravel()) <= tolerance(10, "float64")


def test_order_for_one_pattern_refuses_another():
    A = kx.operators.Sparse.from_scipy(unstructured())
    B = kx.operators.Sparse.from_scipy(scipy.sparse.eye_array(40, format="csr"))
    with pytest.raises(ValueError, match="made for another Sparse pattern"):
        kx.solve(B, noise(40), S.SOR(1e-8, order=S.Natural().of(A)))


def test_sparse_pattern_that_is_traced_is_refused_with_the_remedy():
    A = kx.operators.Sparse.from_scipy(unstructured())
    with pytest.raises(ValueError, match=r"Multicolour\(\)\.of\(A\)"):
        kx.solve(A, noise(40), S.SOR(1e-8))


def test_preconditioner_is_refused():
    with pytest.raises(ValueError, match="SOR takes no preconditioner"):
        kx.solve(
            kx.operators.Laplacian((5,)),
            noise(5),
            S.SOR(1e-8),
            preconditioner=S.Jacobi(),
        )


def test_history_is_that_of_true_residuals():
    A, b = kx.operators.Diffusion(wavy((6, 5))), jnp.asarray(noise(6, 5))
    solver = S.SOR(1e-8, omega=1.5)
    history = np.asarray(kx.solve(A, b, solver).stats.history)[1:4]
    rhs, matrix = np.ravel(b), as_matrix(A)
    iterates = [after(A, b, solver, k).ravel() for k in (1, 2, 3)]
    true = [np.linalg.norm(rhs - matrix @ x) for x in iterates]
    error = relative_error(history, np.array(true) / np.linalg.norm(rhs))
    assert error <= tolerance(10, "float64")


@pytest.mark.parametrize("omega", [2.2, -0.5])
def test_relaxation_that_diverges_is_told(omega: float):
    def steps(omega: Any) -> Any:
        A, solver = kx.operators.Laplacian((6, 5)), S.SOR(1e-8, omega=omega)
        return kx.solve(A, noise(6, 5), solver, throw=False)

    found = jax.jit(steps)(omega)
    assert found.status == Status.diverged
    assert np.all(np.isfinite(found.value))


def test_relaxation_that_is_no_number_is_told():
    A, b = kx.operators.Laplacian((6, 5)), noise(6, 5)
    solve = jax.jit(lambda w: kx.solve(A, b, S.SOR(1e-8, omega=w), throw=False))
    found = solve(jnp.nan)
    assert found.status == Status.nonfinite_input
    assert np.all(np.isfinite(found.value))


@pytest.mark.parametrize("omega", [0.0, 2.0, -1.0])
def test_relaxation_factor_out_of_range_is_refused(omega: float):
    with pytest.raises(ValueError, match="omega must be one number between 0 and 2"):
        S.SOR(1e-8, omega=omega)


def test_singular_system_is_solved_where_it_can_be():
    A = kx.operators.Laplacian((6, 5), boundary="neumann", nullspace="constant")
    b = noise(6, 5)
    b = b - b.mean()
    found = kx.solve(A, b, S.SOR(1e-10, omega=1.3))
    assert abs(float(jnp.mean(found.value))) <= 1e-12
    assert np.linalg.norm(b - A.mv(found.value)) <= 1e-10 * np.linalg.norm(b)


# Young's theory


def iteration_matrix(matrix: np.ndarray, omega: float) -> np.ndarray:
    D = np.diag(np.diag(matrix))
    return np.eye(len(matrix)) - np.linalg.solve(
        D / omega + np.tril(matrix, -1), matrix
    )


def spectral_radius(matrix: np.ndarray) -> float:
    return float(np.max(np.abs(np.linalg.eigvals(matrix))))


def jacobi_radius(matrix: np.ndarray) -> float:
    return spectral_radius(np.eye(len(matrix)) - matrix / np.diag(matrix)[:, None])


@pytest.mark.parametrize("omega", [0.7, 1.0, 1.3, 1.7, 1.9])
@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_radius_is_that_of_the_iteration_matrix(shape: Any, omega: float):
    matrix = np.asarray(kx.operators.Diffusion(wavy(shape)).as_matrix())
    expected = spectral_radius(iteration_matrix(matrix, omega))
    found = float(S.sor_radius(omega, jacobi_radius(matrix)))
    # Above the optimum the eigenvalues may be double, where they are ill-conditioned.
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("omega", [0.7, 1.0, 1.3])
def test_radius_of_jacobi_comes_back_from_that_of_sor(omega: float):
    mu = 0.95
    found = float(S.jacobi_radius_of(S.sor_radius(omega, mu), omega))
    assert found == pytest.approx(mu, rel=1e-12)


OMEGAS = np.linspace(1.0, 1.98, 50)
NUM_POINTS = 23


@cache
def steps_by_omega(order: Any) -> np.ndarray:
    A, b = kx.operators.Laplacian((NUM_POINTS,) * 2), noise(NUM_POINTS, NUM_POINTS)

    def steps(omega: Any) -> Any:
        solver = S.SOR(1e-8, omega=omega, order=order)
        return kx.solve(A, b, solver, throw=False).stats.num_steps

    return np.asarray(jax.jit(jax.vmap(steps))(jnp.asarray(OMEGAS)))


@pytest.mark.parametrize("order", [S.Natural(), S.Multicolour()], ids=str)
def test_fewest_steps_are_at_youngs_omega(order: Any):
    best = float(S.optimal_omega(np.cos(np.pi / (NUM_POINTS + 1))))
    found = OMEGAS[np.argmin(steps_by_omega(order))]
    assert abs(found - best) <= OMEGAS[1] - OMEGAS[0]


def test_rate_above_the_optimum_predicts_the_steps():
    is_above = float(S.optimal_omega(np.cos(np.pi / (NUM_POINTS + 1)))) + 0.02 < OMEGAS
    predicted = np.log(1e-8) / np.log(OMEGAS[is_above] - 1)
    ratio = steps_by_omega(S.Natural())[is_above] / predicted
    assert np.all((ratio > 1 / 1.5) & (ratio < 1.5))


def test_surrogate_bounds_the_steps():
    # τ is what the authors measured for most problems, or more.
    mu = np.cos(np.pi / (NUM_POINTS + 1))
    bounds = np.asarray(S.sor_steps_bound(jnp.asarray(OMEGAS), mu, 1e-8, 0.2))
    assert np.all(steps_by_omega(S.Natural()) <= bounds)


def steps_of_cg(**options: Any) -> int:
    A, b = kx.operators.Laplacian((31, 31)), noise(31, 31)
    return int(kx.solve(A, b, S.CG(1e-8), **options).stats.num_steps)


def test_cg_takes_half_its_steps_with_ssor_in_two_colours():
    two = steps_of_cg(preconditioner=S.SSOR(1.0, S.Multicolour()))
    assert abs(two - steps_of_cg() / 2) <= 1


@pytest.mark.parametrize("order", [S.Natural(), S.Multicolour()], ids=str)
def test_adaptive_takes_at_most_twice_the_fewest_steps(order: Any):
    A, b = kx.operators.Laplacian((NUM_POINTS,) * 2), noise(NUM_POINTS, NUM_POINTS)
    found = kx.solve(A, b, S.AdaptiveSOR(1e-8, order=order))
    assert found.stats.num_steps <= 2 * np.min(steps_by_omega(order))


def test_adaptive_stays_where_one_is_best():
    # Of a strongly diagonally dominant matrix.
    A = kx.operators.Laplacian((9, 9)) + 40 * kx.operators.Identity(
        jax.ShapeDtypeStruct((9, 9), jnp.float64)
    )
    one, adaptive = (
        kx.solve(A, noise(9, 9), solver).stats.num_steps
        for solver in (S.SOR(1e-8), S.AdaptiveSOR(1e-8))
    )
    assert adaptive <= one + 1
