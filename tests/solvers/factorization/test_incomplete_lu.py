"""Incomplete LU against its definition: M = A wherever A stores a number."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

from ...helpers import relative_error, tolerance
from .test_incomplete_cholesky import each_grid

IncompleteLU = kx.solvers.IncompleteLU


def flow(shape: tuple[int, ...], faces: Any = "dirichlet", speed: float = 3.0) -> Any:
    rng = np.random.default_rng(0)
    k = np.exp(rng.standard_normal(shape))
    velocity = speed * rng.standard_normal((len(shape), *shape))
    return kx.operators.ConvectionDiffusion(k, velocity, boundary=faces)


def as_sparse(matrix: Any) -> Any:
    return kx.operators.Sparse.from_scipy(scipy.sparse.csr_array(matrix))


def scattered(dtype: str, size: int = 50) -> np.ndarray:
    """Nonsymmetric, also in its pattern, with cycles in its graph and without order."""
    rng = np.random.default_rng(4)
    part = scipy.sparse.random_array((size, size), density=0.12, rng=rng).toarray()
    if dtype == "complex128":
        part = part * np.exp(1j * rng.standard_normal((size, size)))
    return (part + 2 * np.eye(size)).astype(dtype)


def assert_factored(inverse: Any, matrix: np.ndarray) -> None:
    M, is_stored = np.linalg.inv(np.asarray(inverse)), matrix != 0
    slack = tolerance(float(np.linalg.cond(M)), str(matrix.dtype))
    assert relative_error(M[is_stored], matrix[is_stored]) <= slack


@jax.jit
def on_grid(A: Any) -> Any:
    M = IncompleteLU()(A)
    return M.as_matrix(), M.T.as_matrix()


@each_grid
def test_factors_of_a_grid_operator_agree_with_it(shape: Any, faces: Any):
    A = flow(shape, faces)
    M, M_of_T = on_grid(A)
    assert_factored(M, np.asarray(A.as_matrix()))
    assert relative_error(M_of_T, np.asarray(M).T) <= tolerance(10, "float64")


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_factors_of_a_sparse_matrix_agree_with_it(dtype: str):
    matrix = scattered(dtype)
    M = IncompleteLU()(as_sparse(matrix))
    inverse = np.asarray(M.as_matrix())
    assert_factored(inverse, matrix)
    assert relative_error(M.T.as_matrix(), inverse.T) <= tolerance(10, dtype)


def test_factors_have_no_fill():
    matrix = scattered("float64")
    M = np.linalg.inv(np.asarray(IncompleteLU()(as_sparse(matrix)).as_matrix()))
    # (P + L) P⁻¹ (P + U) of the complete factorisation is unique.
    L, U = np.eye(50), np.zeros((50, 50))
    for k in range(50):
        U[k, k:] = M[k, k:] - L[k, :k] @ U[:k, k:]
        L[k + 1 :, k] = (M[k + 1 :, k] - L[k + 1 :, :k] @ U[:k, k]) / U[k, k]
    assert np.max(np.abs((L + U)[matrix == 0])) <= 1e-10


def test_grid_and_sparse_agree():
    A = flow((6, 5))
    M = IncompleteLU()(as_sparse(np.asarray(A.as_matrix()))).as_matrix()
    assert relative_error(on_grid(A)[0].reshape(M.shape), M) <= tolerance(10, "float64")


def test_of_a_definite_operator_it_is_incomplete_cholesky():
    k = np.exp(np.random.default_rng(2).standard_normal((6, 7)))
    A = kx.operators.Diffusion(k)
    found, expected = IncompleteLU()(A), kx.solvers.IncompleteCholesky()(A)
    assert "symmetric" in found.tags
    assert relative_error(found.as_matrix(), expected.as_matrix()) <= 1e-14


def test_strong_flow_along_the_order_takes_a_few_steps():
    velocity = jnp.array([400.0, 200.0])
    A = kx.operators.ConvectionDiffusion(jnp.ones((24, 24)), velocity)
    b, solver = jnp.ones((24, 24)), kx.solvers.GMRES(rtol=1e-8)
    found = kx.solve(A, b, solver, preconditioner=IncompleteLU())
    without = kx.solve(A, b, solver, preconditioner=kx.solvers.Jacobi())
    assert 4 * found.stats.num_steps < without.stats.num_steps


@pytest.mark.parametrize("second", [1.0, 1 + 1e-15])
def test_zero_pivot_is_shifted_away(second: float):
    A = as_sparse(np.array([[1.0, 1, 0], [1, second, 1], [0, 1, 3]]))
    inverse = np.asarray(IncompleteLU()(A).as_matrix())
    assert np.max(np.abs(inverse)) < 1e4


def test_zero_diagonal_is_told():
    A, b = as_sparse(np.array([[0.0, 1], [1, 0]])), jnp.array([1.0, 2.0])
    M, solver = IncompleteLU()(A), kx.solvers.GMRES(rtol=1e-8)
    found = kx.solve(A, b, solver, preconditioner=M, throw=False)
    assert found.status not in (kx.Status.converged, kx.Status.max_steps_reached)


def test_other_operators_are_refused():
    with pytest.raises(ValueError, match="IncompleteLU knows Sparse and operators on"):
        IncompleteLU()(kx.operators.Dense(np.eye(4)))


def test_matrix_that_is_not_square_is_refused():
    A = kx.operators.Sparse(np.ones(2), [0, 1], [0, 2], (1, 2))
    with pytest.raises(ValueError, match="only a square operator has incomplete"):
        kx.solvers.IncompleteLU()(A)
