"""Incomplete Cholesky against a dense implementation of its definition."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

from ...helpers import relative_error, tolerance
from ..preconditioner_cases import matrix_of

IncompleteCholesky = kx.solvers.IncompleteCholesky
MIXED: Any = [("dirichlet", "neumann"), "periodic", "neumann"]
# No periodic axis of three cells: its cells are all neighbours of each other.
GRIDS: list[tuple[tuple[int, ...], Any]] = [
    ((7,), "dirichlet"),
    ((5, 4), "dirichlet"),
    ((4, 7), MIXED[:2]),
    ((3, 2), MIXED[:2]),
    ((3, 4, 5), MIXED),
]
each_grid = pytest.mark.parametrize(("shape", "faces"), GRIDS)


def factored(A: np.ndarray) -> np.ndarray:
    """M of IC(0), column by column."""
    s, is_stored = np.tril(A), np.tril(A) != 0
    for j in range(len(A)):
        for k in range(j):
            keep = is_stored[:, j] & is_stored[:, k] & is_stored[j, k]
            keep[:j] = False
            s[keep, j] -= s[keep, k] * s[j, k].conj() / s[k, k]
    L, P = np.tril(s, -1), np.diag(s)
    return (np.diag(P) + L) @ np.diag(1 / P) @ (np.diag(P) + L.conj().T)


def diffusion(shape: tuple[int, ...], faces: Any) -> Any:
    k = np.exp(np.random.default_rng(0).standard_normal(shape))
    return kx.operators.Diffusion(k, boundary=faces)


def as_sparse(matrix: np.ndarray, tags: Any = ("positive_definite",)) -> Any:
    return kx.operators.Sparse.from_scipy(scipy.sparse.csr_array(matrix), tags=tags)


def scattered(dtype: str) -> np.ndarray:
    """Hermitian positive definite, with triangles in its graph and without order."""
    rng = np.random.default_rng(4)
    part = scipy.sparse.random_array((50, 50), density=0.08, rng=rng).toarray()
    if dtype == "complex128":
        part = part * np.exp(1j * rng.standard_normal((50, 50)))
    return (part @ part.conj().T + 0.5 * np.eye(50)).astype(dtype)


def error_of(M: Any, matrix: np.ndarray) -> float:
    return relative_error(
        np.asarray(M.as_matrix()) @ factored(matrix), np.eye(len(matrix))
    )


@jax.jit
def on_grid(A: Any) -> Any:
    return IncompleteCholesky()(A).as_matrix()


@each_grid
def test_factor_of_a_grid_operator_is_that_of_the_definition(shape: Any, faces: Any):
    A = diffusion(shape, faces)
    matrix = np.asarray(A.as_matrix())
    slack = tolerance(float(np.linalg.cond(matrix)), "float64")
    error = relative_error(on_grid(A) @ factored(matrix), np.eye(len(matrix)))
    assert error <= slack


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("make", [scattered, lambda dtype: matrix_of(dtype, 1.0)])
def test_factor_of_a_sparse_matrix_is_that_of_the_definition(make: Any, dtype: str):
    matrix = make(dtype)
    slack = tolerance(float(np.linalg.cond(factored(matrix))), dtype)
    assert error_of(IncompleteCholesky()(as_sparse(matrix)), matrix) <= slack


def test_factor_of_a_tridiagonal_matrix_is_its_inverse():
    A = kx.operators.Laplacian((20,))
    matrix, M = np.asarray(A.as_matrix()), IncompleteCholesky()(A).as_matrix()
    slack = tolerance(float(np.linalg.cond(matrix)), "float64")
    assert relative_error(M @ matrix, np.eye(20)) <= slack


def test_poisson_takes_a_third_of_the_steps():
    A, solver = kx.operators.Laplacian((31, 31)), kx.solvers.CG(rtol=1e-8)
    b = jnp.asarray(np.random.default_rng(2).standard_normal((31, 31)))
    with_it = kx.solve(A, b, solver, preconditioner=IncompleteCholesky())
    without = kx.solve(A, b, solver)
    assert 8 * with_it.stats.num_steps <= 3 * without.stats.num_steps


def kershaw() -> np.ndarray:
    """Positive definite, with a negative pivot in IC(0) (Kershaw, 1978)."""
    return np.array([[3.0, -2, 0, 2], [-2, 3, -2, 0], [0, -2, 3, -2], [2, 0, -2, 3]])


def test_negative_pivots_are_shifted_away():
    matrix = kershaw()
    assert np.linalg.eigvalsh(matrix)[0] > 0 > np.linalg.eigvalsh(factored(matrix))[0]
    M = IncompleteCholesky()(as_sparse(matrix))
    assert np.linalg.eigvalsh(M.as_matrix())[0] > 0


def test_shift_is_the_first_power_of_two_that_helps():
    matrix, M = kershaw(), IncompleteCholesky()(as_sparse(kershaw())).as_matrix()
    shifts = 1e-3 * 2.0 ** np.arange(15)
    tried = [factored(matrix + shift * np.diag(np.diag(matrix))) for shift in shifts]
    good = next(one for one in tried if np.linalg.eigvalsh(one)[0] > 0)
    slack = tolerance(float(np.linalg.cond(good)), "float64")
    assert relative_error(M @ good, np.eye(4)) <= slack


def test_indefinite_matrix_under_a_false_promise_is_told():
    A = as_sparse(np.diag([1.0, -1.0, 1.0]))
    b, solver = jnp.array([0.0, 1.0, 0.0]), kx.solvers.CG(rtol=1e-8)
    M = IncompleteCholesky()(A)
    found = kx.solve(A, b, solver, preconditioner=M, throw=False)
    assert found.status == kx.Status.indefinite_preconditioner


def test_singular_operator_is_preconditioned_beside_its_null_space():
    A = kx.operators.Laplacian((40,), boundary="neumann", nullspace="constant")
    b = jnp.cos(jnp.pi * (jnp.arange(40.0) + 0.5) / 40)
    found = kx.solve(
        A, b, kx.solvers.CG(rtol=1e-8), preconditioner=IncompleteCholesky()
    )
    eigenvalue = 2 - 2 * np.cos(np.pi / 40)
    assert relative_error(found.value, b / eigenvalue) <= 1e-8 * 4 / eigenvalue


def test_vmap_over_values_agrees_with_plain():
    matrix = scipy.sparse.csr_array(matrix_of("float64", 1.0))

    def apply(scale: Any) -> Any:
        A = kx.operators.Sparse(
            scale * jnp.asarray(matrix.data),
            matrix.indices,
            matrix.indptr,
            (48, 48),
            tags=["positive_definite"],
        )
        return IncompleteCholesky()(A) @ jnp.ones(48)

    got = jax.jit(jax.vmap(apply))(np.array([1.0, 4.0]))
    each = np.stack([jax.jit(apply)(scale) for scale in (1.0, 4.0)])
    assert relative_error(got, each) <= tolerance(1, "float64")


def test_traced_pattern_is_refused_with_the_remedy():
    A = as_sparse(np.eye(4))
    with pytest.raises(ValueError, match="IncompleteCholesky needs the pattern of a S"):
        kx.solve(
            A,
            jnp.ones(4),
            kx.solvers.CG(rtol=1e-8),
            preconditioner=IncompleteCholesky(),
        )


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (as_sparse(np.eye(4), ["symmetric"]), "needs an operator tagged positive_def"),
        (kx.operators.Dense(np.eye(4), tags=["positive_definite"]), "got Dense"),
    ],
)
def test_other_operators_are_refused(A: Any, message: str):
    with pytest.raises(ValueError, match=message):
        IncompleteCholesky()(A)
