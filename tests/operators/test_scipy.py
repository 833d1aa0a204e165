"""Operators from and for SciPy: products, adjoints, derivatives, SciPy's solvers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from scipy.sparse.linalg import aslinearoperator

import krylax as kx

from ..gallery import convection_diffusion, diffusion_2d
from ..helpers import (
    draw,
    relative_error,
    solution_tolerance,
    to_vector,
    tolerance,
    types_unchecked,
)
from .cases import make

# SciPy's constructor returns a subclass, which its types do not say.
LinearOperator: Any = scipy.sparse.linalg.LinearOperator
from_scipy, to_scipy = kx.operators.from_scipy, kx.operators.to_scipy
EPS = tolerance(1, "float64", factor=100)
each_dtype = pytest.mark.parametrize(
    "dtype", ["float32", "float64", "complex64", "complex128"]
)
ROWS = [
    "dense_rectangular",
    "diagonal_of_a_tree",
    "function_between_different_fields",
    "sparse_rectangular",
    "laplacian_2d_mixed",
    "polynomial",
]
RTOL = 1e-10


def host_matrix(dtype: Any = "float64", shape: tuple[int, int] = (4, 6)) -> np.ndarray:
    return draw(np.random.default_rng(0), shape, dtype)


def vector(n: int, dtype: Any = "float64", seed: int = 1) -> Any:
    return jnp.asarray(draw(np.random.default_rng(seed), (n,), dtype))


@each_dtype
def test_linear_operator_keeps_its_promises(dtype: str, getkey: Any):
    kx.operators.check_operator(
        from_scipy(aslinearoperator(host_matrix(dtype))), getkey()
    )


@each_dtype
def test_linear_operator_has_its_matrix_in_its_dtype(dtype: str):
    matrix = host_matrix(dtype)
    got = from_scipy(aslinearoperator(matrix)).as_matrix()
    assert got.dtype == dtype
    assert relative_error(got, matrix) <= tolerance(1, dtype)


@each_dtype
@pytest.mark.parametrize("side", ["T", "H"])
def test_transposes_of_a_linear_operator_are_those_of_its_matrix(dtype: str, side: str):
    matrix = host_matrix(dtype)
    y = vector(4, dtype)
    got = getattr(from_scipy(aslinearoperator(matrix)), side) @ y
    expected = {"T": matrix.T, "H": matrix.conj().T}[side] @ np.asarray(y)
    assert relative_error(got, expected) <= tolerance(1, dtype, factor=100)


@pytest.mark.parametrize(
    "transform",
    [jax.grad, jax.jacfwd, jax.hessian, jax.jacrev],
    ids=["grad", "jacfwd", "hessian", "jacrev"],
)
def test_derivatives_through_a_linear_operator_are_those_of_its_matrix(transform: Any):
    matrix = host_matrix()
    A = from_scipy(aslinearoperator(matrix))
    got = jax.jit(transform(lambda x: jnp.sum(jnp.sin(A @ x))))(vector(6))
    dense = transform(lambda x: jnp.sum(jnp.sin(jnp.asarray(matrix) @ x)))
    assert relative_error(got, dense(vector(6))) <= EPS


@pytest.mark.parametrize("axis", [0, 1])
def test_batches_go_through_matmat_in_one_call(axis: int):
    matrix, calls = host_matrix(), []

    def matmat(block: np.ndarray) -> np.ndarray:
        calls.append(block.shape)
        return matrix @ block

    A = from_scipy(LinearOperator((4, 6), matmat, matmat=matmat, dtype=float))
    xs = jnp.asarray(host_matrix(shape=(6, 6)))
    got = jax.jit(jax.vmap(A.mv, in_axes=axis))(xs)
    expected = np.moveaxis(np.asarray(xs), axis, 0) @ matrix.T
    assert calls == [(6, 6)]
    assert relative_error(got, expected) <= EPS


def test_nested_batches_agree_with_the_matrix():
    matrix = host_matrix()
    xs = jnp.asarray(draw(np.random.default_rng(2), (2, 3, 6), "float64"))
    got = jax.vmap(from_scipy(aslinearoperator(matrix)).mm)(xs)
    assert relative_error(got, np.asarray(xs) @ matrix.T) <= EPS


def test_solve_runs_and_differentiates_on_a_linear_operator():
    matrix, b = convection_diffusion()
    A = from_scipy(aslinearoperator(matrix))
    solver = kx.solvers.GMRES(rtol=RTOL, restart=48)
    inverse = jax.jacrev(lambda b: kx.solve(A, b, solver).value)(jnp.asarray(b))
    allowed = solution_tolerance(np.linalg.cond(matrix), RTOL, "float64")
    assert relative_error(inverse, np.linalg.inv(matrix)) <= 10 * allowed


def test_symmetric_operator_needs_no_rmatvec():
    matrix, b = diffusion_2d()
    host = LinearOperator(matrix.shape, lambda x: matrix @ x, dtype=float)
    A = from_scipy(host, tags="positive_definite")
    solver = kx.solvers.CG(rtol=RTOL)
    got = jax.grad(lambda b: jnp.sum(kx.solve(A, b, solver).value))(jnp.asarray(b))
    allowed = solution_tolerance(np.linalg.cond(matrix), RTOL, "float64")
    assert relative_error(got, np.linalg.inv(matrix).sum(axis=0)) <= allowed


def test_declared_null_space_is_kept_by_the_transpose():
    ones = np.ones((3, 3))
    A = from_scipy(aslinearoperator(3 * np.eye(3) - ones), nullspace="constant")
    assert relative_error(A.T.nullspace, np.full((1, 3), 3**-0.5)) <= EPS


def test_sparse_matrix_becomes_sparse():
    matrix = scipy.sparse.random_array((5, 6), density=0.5, rng=0, format="coo")
    A = from_scipy(matrix)
    assert isinstance(A, kx.operators.Sparse)
    assert relative_error(A.as_matrix(), matrix.toarray()) == 0


def test_what_to_scipy_made_comes_back():
    A = kx.operators.Laplacian((3, 4))
    assert from_scipy(to_scipy(A)) is A


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_exported_operator_has_the_matrix_and_its_adjoint(name: str, dtype: str):
    operator, matrix = make(name, dtype)
    exported = to_scipy(operator)
    rows, columns = np.eye(matrix.shape[0]), np.eye(matrix.shape[1])
    allowed = tolerance(1, dtype, factor=100)
    assert exported.dtype == matrix.dtype
    assert relative_error(exported @ columns, matrix) <= allowed
    assert relative_error(exported.rmatmat(rows), matrix.conj().T) <= allowed


@pytest.mark.parametrize("name", ["function_between_different_fields", "dense"])
def test_exported_vectors_are_flattened_fields(name: str):
    operator, matrix = make(name, "float64")
    x = vector(matrix.shape[1])
    y = vector(matrix.shape[0], seed=2)
    exported = to_scipy(operator)
    assert relative_error(exported.matvec(x), matrix @ x) <= EPS
    assert relative_error(exported.rmatvec(y), matrix.T @ y) <= EPS
    assert relative_error(exported.T @ y, matrix.T @ y) <= EPS


def test_real_exported_operator_takes_complex_vectors():
    matrix = host_matrix()
    x = np.asarray(vector(6, "complex128"))
    exported = to_scipy(kx.operators.Dense(matrix))
    assert relative_error(exported @ x, matrix @ x) <= EPS


def test_products_of_an_exported_operator_may_be_overwritten():
    exported = to_scipy(kx.operators.Laplacian((3,)))
    product = exported @ np.ones(3)
    product += 1
    assert relative_error(exported @ np.ones(3), np.array([1.0, 0.0, 1.0])) <= EPS


@pytest.mark.parametrize("method", ["cg", "gmres", "bicgstab", "minres", "lgmres"])
def test_solvers_of_scipy_run_with_our_preconditioner(method: str):
    k = 1 + np.random.default_rng(3).random((8, 6))
    A = kx.operators.Diffusion(k)
    run = getattr(scipy.sparse.linalg, method)
    b = np.asarray(vector(48))
    x, info = run(to_scipy(A), b, rtol=RTOL, M=to_scipy(kx.solvers.Jacobi()(A)))
    matrix = np.asarray(A.as_matrix())
    allowed = solution_tolerance(np.linalg.cond(matrix), RTOL, "float64")
    assert info == 0
    assert relative_error(x, np.linalg.solve(matrix, b)) <= 10 * allowed


def test_eigsh_finds_the_known_eigenvalues_of_the_laplacian():
    exported = to_scipy(kx.operators.Laplacian((40,)))
    got, _ = scipy.sparse.linalg.eigsh(exported, k=3, which="LA", v0=np.ones(40))
    expected = 4 * np.sin(np.array([35, 37, 39]) * np.pi / 82) ** 2
    assert relative_error(got, expected) <= tolerance(4 / expected[0], "float64", 100)


def test_multigrid_cycle_is_exported():
    A = kx.operators.Laplacian((16, 16), spacing=1 / 17)
    M = kx.solvers.Multigrid()(A)
    x = vector(256)
    expected = to_vector(M.mv(x.reshape(16, 16)))
    assert relative_error(to_scipy(M) @ np.asarray(x), expected) <= EPS


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        (np.eye(2), TypeError, "for a dense one use Dense"),
        (aslinearoperator(np.eye(2, dtype=int)), ValueError, "build it with dtype"),
    ],
)
def test_wrong_input_is_refused(matrix: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        from_scipy(matrix)


def test_export_refuses_traced_operators():
    with pytest.raises(ValueError, match="call to_scipy there"):
        jax.jit(lambda d: to_scipy(kx.operators.Diagonal(d)) @ np.ones(3))(jnp.ones(3))


def test_export_refuses_what_is_no_operator():
    with types_unchecked(), pytest.raises(TypeError, match="got ndarray"):
        to_scipy(np.eye(2))  # pyright: ignore[reportArgumentType]  # the wrong type
