"""Deflation against its formula in dense algebra, and what it does to a spectrum."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...gallery import from_spectrum, random_unitary
from ...helpers import draw, relative_error, solution_tolerance, tolerance
from ..cases import problem, solved

Deflation: Any = kx.solvers.Deflation
CG = kx.solvers.CG(rtol=1e-10)
NAMES = {"float64": "diffusion_2d", "complex128": "complex_hermitian"}
each_dtype = pytest.mark.parametrize("dtype", NAMES)
INNER: dict[str, Any] = {
    "none": lambda matrix: None,
    "jacobi": lambda matrix: kx.solvers.Jacobi(),
    "operator": lambda matrix: definite(np.linalg.inv(matrix + 0.1 * np.eye(48))),
}
each_inner = pytest.mark.parametrize("inner", INNER)
SMALL = np.r_[np.geomspace(1e-4, 1e-2, 6), np.linspace(1, 5, 42)]
"""A spectrum of 6 small eigenvalues beside 42 others."""


def definite(matrix: Any) -> Any:
    return kx.operators.Dense(matrix, tags=["positive_definite"])


def some_vectors(dtype: str = "float64", count: int = 5) -> np.ndarray:
    return draw(np.random.default_rng(2), (count, 48), np.dtype(dtype))


def balancing(A: np.ndarray, U: np.ndarray, M: np.ndarray, largest: float) -> Any:
    """λ Q + (I - Q A) M⁻¹ (I - A Q) by dense algebra; U has the vectors as columns."""
    Q = U @ np.linalg.solve(U.conj().T @ A @ U, U.conj().T)
    identity = np.eye(len(A))
    return largest * Q + (identity - Q @ A) @ M @ (identity - A @ Q)


@each_inner
@each_dtype
def test_preconditioner_is_the_formula(dtype: str, inner: str):
    matrix, U = problem(NAMES[dtype], dtype).matrix, some_vectors(dtype)
    A = definite(matrix)
    factory = INNER[inner](matrix)
    made = Deflation(U, factory)(A)
    inverses = {
        "none": np.eye(48),
        "jacobi": np.diag(1 / np.diag(matrix)),
        "operator": np.linalg.inv(matrix + 0.1 * np.eye(48)),
    }
    expected = balancing(matrix, U.T, inverses[inner], float(made.largest))
    cond = float(np.linalg.cond(matrix))
    assert relative_error(made.as_matrix(), expected) <= tolerance(cond, dtype)


@each_inner
@each_dtype
def test_transpose_is_that_of_the_matrix(dtype: str, inner: str):
    matrix = problem(NAMES[dtype], dtype).matrix
    M = Deflation(some_vectors(dtype), INNER[inner](matrix))(definite(matrix))
    slack = tolerance(float(np.linalg.cond(matrix)), dtype)
    assert relative_error(M.T.as_matrix(), M.as_matrix().T) <= slack


@each_inner
@each_dtype
def test_preconditioner_is_hermitian_and_definite(dtype: str, inner: str):
    matrix = problem(NAMES[dtype], dtype).matrix
    made = Deflation(some_vectors(dtype), INNER[inner](matrix))(definite(matrix))
    M = np.asarray(made.as_matrix())
    assert "positive_definite" in made.tags
    assert relative_error(M.conj().T, M) <= tolerance(1, dtype, 100)
    assert np.linalg.eigvalsh(M)[0] > 0


@each_dtype
def test_given_vectors_become_eigenvectors_of_the_largest_eigenvalue(dtype: str):
    matrix, U = problem(NAMES[dtype], dtype).matrix, some_vectors(dtype)
    M = Deflation(U)(definite(matrix))
    got = np.asarray(M.mm(jnp.asarray(U @ matrix.T)))
    cond = float(np.linalg.cond(matrix))
    assert relative_error(got, float(M.largest) * U) <= tolerance(cond, dtype, 100)


def test_eigenvalues_beside_those_of_the_given_eigenvectors_stay():
    matrix, Q = from_spectrum(SMALL), random_unitary(48)
    M = Deflation(Q[:, :6].T)(definite(matrix))
    found = np.sort(np.linalg.eigvals(np.asarray(M.as_matrix()) @ matrix).real)
    expected = np.sort(np.r_[SMALL[6:], np.full(6, float(M.largest))])
    cond = float(np.linalg.cond(matrix))
    assert relative_error(found, expected) <= tolerance(cond, "float64")


def test_steps_are_those_without_the_deflated_eigenvalues():
    matrix, Q = from_spectrum(SMALL), random_unitary(48)
    b, low = np.cos(np.arange(48)), Q[:, :6]
    found = kx.solve(definite(matrix), b, CG, preconditioner=Deflation(low.T))
    without = kx.solve(definite(matrix), b - low @ (low.T @ b), CG)
    # One more for the eigenvalue that the deflated ones have become.
    assert int(found.stats.num_steps) <= int(without.stats.num_steps) + 1
    assert found.stats.num_steps < kx.solve(definite(matrix), b, CG).stats.num_steps


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_units_of_operator_and_vectors_do_not_matter(scale: float):
    matrix, low = from_spectrum(SMALL), random_unitary(48)[:, :6].T
    b = np.cos(np.arange(48))
    found = kx.solve(definite(matrix), b, CG, preconditioner=Deflation(low))
    factors = scale ** np.linspace(-1, 1, 6)[:, None]
    M = Deflation(factors * low)
    scaled = kx.solve(definite(scale * matrix), b, CG, preconditioner=M)
    difference = int(scaled.stats.num_steps) - int(found.stats.num_steps)
    assert abs(difference) <= 1


DEFECTIVE: dict[str, Any] = {
    "equal": lambda rows: np.concatenate([rows, rows]),
    "zero": lambda rows: np.concatenate([rows, np.zeros_like(rows)]),
    "nearly_dependent": lambda rows: np.concatenate([rows, rows * (1 + 1e-15)]),
}


@pytest.mark.parametrize("defect", DEFECTIVE)
def test_dependent_vectors_are_dropped(defect: str):
    matrix, U = problem("diffusion_2d").matrix, some_vectors()
    A = definite(matrix)
    plain, made = Deflation(U)(A), Deflation(DEFECTIVE[defect](U))(A)
    cond = float(np.linalg.cond(matrix))
    error = relative_error(made.as_matrix(), plain.as_matrix())
    assert error <= tolerance(cond, "float64", 100)


@pytest.mark.parametrize("row", ["gcrodr", "deflated_cg"])
def test_space_that_a_solve_recycled_saves_steps(row: str):
    matrix, b = problem("poisson_1d")
    space = solved(row, "poisson_1d").carry
    found = kx.solve(definite(matrix), b, CG, preconditioner=Deflation(space))
    plain = kx.solve(definite(matrix), b, CG)
    assert found.stats.num_steps < plain.stats.num_steps


def test_fields_may_be_pytrees():
    structure = {"u": jax.ShapeDtypeStruct((8, 6), jnp.float64)}
    A = kx.operators.Diffusion(np.ones((8, 6)))
    tree = kx.operators.Function(
        jax.tree_util.Partial(lambda A, x: {"u": A.mv(x["u"])}, A),
        structure,
        tags=["positive_definite"],
    )
    U = some_vectors().reshape(5, 8, 6)
    got = Deflation({"u": U})(tree).as_matrix()
    slack = tolerance(float(np.linalg.cond(A.as_matrix())), "float64")
    assert relative_error(got, Deflation(U)(A).as_matrix()) <= slack


def test_true_residual_meets_the_tolerance_in_single_precision():
    matrix, b = problem("diffusion_2d", "float32")
    M = Deflation(some_vectors("float32"), kx.solvers.Jacobi())
    solver = kx.solvers.CG(rtol=1e-4)
    found = kx.solve(definite(matrix), b, solver, preconditioner=M)
    product = matrix.astype(float) @ np.asarray(found.value, float)
    assert found.value.dtype == np.float32
    assert relative_error(product, b) <= 1e-4


def value_of(preconditioner: Any, matrix: Any, b: Any) -> Any:
    x = kx.solve(definite(matrix), b, CG, preconditioner=preconditioner).value
    return jnp.vdot(jnp.cos(jnp.arange(48.0)), x)


def test_gradient_is_that_without_it():
    matrix, b = problem("diffusion_2d")
    M = Deflation(some_vectors())
    got, plain = (
        jax.grad(lambda A, b, M=M: value_of(M, A, b), argnums=(0, 1))(
            jnp.asarray(matrix), jnp.asarray(b)
        )
        for M in (M, None)
    )
    slack = 6 * solution_tolerance(float(np.linalg.cond(matrix)), 1e-10, "float64")
    assert relative_error(got[0], plain[0]) <= slack
    assert relative_error(got[1], plain[1]) <= slack


def test_vmap_over_operators_and_vectors_agrees_with_one_by_one():
    matrix, b = problem("diffusion_2d")
    matrices, spaces = np.stack([matrix, 2 * matrix]), np.stack([some_vectors()] * 2)

    def solve(matrix: Any, U: Any) -> Any:
        return kx.solve(definite(matrix), b, CG, preconditioner=Deflation(U)).value

    got = jax.vmap(solve)(jnp.asarray(matrices), jnp.asarray(spaces))
    expected = np.linalg.solve(matrices, np.stack([b, b])[..., None])[..., 0]
    slack = solution_tolerance(float(np.linalg.cond(matrix)), 1e-10, "float64")
    assert relative_error(got, expected) <= slack


BAD: dict[str, tuple[Any, str]] = {
    "one_field": (np.ones(48), r"stacked along one more axis.*got float64\[48\]"),
    "size": (np.ones((2, 47)), r"got float64\[2, 47\] for fields float64\[48\]"),
    "dtype": (np.ones((2, 48), np.float32), r"got float32\[2, 48\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_vectors_that_do_not_fit_are_refused(name: str):
    vectors, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        Deflation(vectors)(definite(problem("diffusion_2d").matrix))


def test_operator_without_the_promise_is_refused():
    with pytest.raises(ValueError, match="needs an operator tagged positive_definite"):
        Deflation(some_vectors())(kx.operators.Dense(np.eye(48)))


@pytest.mark.usefixtures("as_users_run_it")
def test_preconditioner_that_is_not_linear_is_refused():
    with pytest.raises(ValueError, match=r"must be a linear operator.*got str"):
        Deflation(some_vectors(), lambda A: "jacobi")(definite(np.eye(48)))
