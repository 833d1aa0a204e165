"""What every preconditioner promises, against dense linear algebra."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

from ..helpers import relative_error, solution_tolerance, to_vector, tolerance
from .preconditioner_cases import (
    COMPLEX,
    PAIRS,
    ROWS,
    RTOL,
    as_matrix,
    matrices,
    matrix_of,
    operator,
    preconditioner,
    right_hand_side,
    solved,
    solver,
    true_residual,
)

# Where a pair is first traced.
checks_types = pytest.mark.usefixtures("with_types_checked")
each_row = pytest.mark.parametrize("row", ROWS)
each_pair = pytest.mark.parametrize(("row", "name"), PAIRS)
each_definite_pair = pytest.mark.parametrize(
    ("row", "name"), [pair for pair in PAIRS if pair[1] != "flow"]
)
COMPLEX_PAIRS = [pair for pair in PAIRS if pair[1] in COMPLEX]
# One operator per row, where there is one that is not its own transpose.
ONE_EACH = {
    row: name for row, name in PAIRS if name in ("flow", ROWS[row].operators[0])
}
each_of_few = pytest.mark.parametrize(("row", "name"), ONE_EACH.items())


@each_row
def test_preconditioner_is_linear(row: str):
    A = operator(ROWS[row].operators[0])
    _, matrix, _ = matrices(row, ROWS[row].operators[0])
    x = right_hand_side(A)
    got = jax.jit(lambda A, x: ROWS[row].make()(A) @ x)(A, x)
    error = relative_error(to_vector(got), matrix @ to_vector(x))
    assert error <= tolerance(1, "float64")


@checks_types
@each_pair
def test_adjoint_is_the_conjugate_transpose(row: str, name: str):
    A, M, MH = matrices(row, name)
    slack = tolerance(float(np.linalg.cond(A)), "float64")
    assert relative_error(MH, M.conj().T) <= slack


@pytest.mark.parametrize(("row", "name"), COMPLEX_PAIRS)
def test_transpose_is_that_of_complex_ones(row: str, name: str):
    A, M, MH = matrices(row, name, "complex128")
    slack = tolerance(float(np.linalg.cond(A)), "complex128")
    assert relative_error(MH, M.conj().T) <= slack


def complex_symmetric() -> dict[str, Any]:
    """Matrices that are their own transpose and not their own adjoint."""
    wavy = np.exp(0.5 * np.random.default_rng(0).standard_normal((4, 6)))
    matrix = matrix_of("float64", 1.0) + 1j * np.diag(np.linspace(0.0, 2.0, 48))
    stored = scipy.sparse.csr_array(matrix)
    return {
        "helmholtz": kx.operators.Helmholtz(wavy, 0.3 + 0.4j),
        "dense": kx.operators.Dense(matrix, tags=["symmetric"]),
        "sparse": kx.operators.Sparse.from_scipy(stored, tags=["symmetric"]),
    }


SYMMETRIC = [
    ("block_jacobi", "sparse"),
    ("ssor_natural", "helmholtz"),
    ("ssor_multicolour", "helmholtz"),
    ("ssor_neumann", "dense"),
    ("incomplete_lu", "sparse"),
    ("multigrid", "helmholtz"),
    ("algebraic_multigrid", "sparse"),
]


@pytest.mark.parametrize(("row", "name"), SYMMETRIC)
def test_transposes_for_a_complex_symmetric_operator_do_not_conjugate(
    row: str, name: str
):
    make = kx.solvers.AlgebraicMultigrid if row not in ROWS else ROWS[row].make
    M = make()(complex_symmetric()[name])

    @jax.jit
    def matrices_of(M: Any) -> Any:
        return M.as_matrix(), M.T.as_matrix(), M.H.as_matrix()

    matrix, transpose, adjoint = map(np.asarray, matrices_of(M))
    assert relative_error(transpose, matrix.T) <= tolerance(10, "complex128")
    assert relative_error(adjoint, matrix.conj().T) <= tolerance(10, "complex128")
    if "symmetric" in M.tags:
        assert relative_error(matrix, matrix.T) <= tolerance(10, "complex128")
    assert "hermitian" not in M.tags


@each_definite_pair
def test_preconditioner_of_a_definite_operator_is_definite(row: str, name: str):
    A, M, _ = matrices(row, name)
    assert "positive_definite" in ROWS[row].make()(operator(name)).tags
    assert relative_error(M.T, M) <= tolerance(float(np.linalg.cond(A)), "float64")
    assert np.linalg.eigvalsh(M)[0] > 0


@pytest.mark.parametrize(("row", "name"), [p for p in COMPLEX_PAIRS if p[1] != "flow"])
def test_preconditioner_of_a_complex_definite_operator_is_definite(row: str, name: str):
    A, M, _ = matrices(row, name, "complex128")
    slack = tolerance(float(np.linalg.cond(A)), "complex128")
    assert relative_error(M.conj().T, M) <= slack
    assert np.linalg.eigvalsh(M)[0] > 0


@checks_types
@each_pair
def test_true_residual_meets_the_tolerance(row: str, name: str):
    found = solved(row, name)
    assert true_residual(operator(name), found.value) <= RTOL["float64"]


@each_pair
def test_preconditioner_costs_no_steps(row: str, name: str):
    with_it, without = solved(row, name), solved(None, name)
    assert with_it.stats.num_steps <= without.stats.num_steps


@pytest.mark.parametrize(("row", "name"), list(dict(COMPLEX_PAIRS).items()))
def test_true_residual_of_a_complex_system_in_single_precision_meets_the_tolerance(
    row: str, name: str
):
    found = solved(row, name, "complex64")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found.value)} == {"complex64"}
    # The residual in 64 bits, of the operator as it is in 32.
    A = operator(name, "complex64")
    product = np.asarray(as_matrix(A), complex) @ to_vector(found.value)
    error = relative_error(product, to_vector(right_hand_side(A)))
    assert error <= RTOL["complex64"]


def difference_allowed(row: str, name: str) -> float:
    A, *_ = matrices(row, name)
    return 2 * solution_tolerance(np.linalg.cond(A), RTOL["float64"], "float64")


@each_row
def test_vmap_over_operators_agrees_with_plain(row: str):
    b = right_hand_side(operator("diffusion"))
    k = np.where(np.random.default_rng(1).random(b.shape) < 0.5, 12.0, 3.0)

    def solve(k: Any) -> Any:
        A, method = kx.operators.Diffusion(k), solver("diffusion")
        return kx.solve(A, b, method, preconditioner=ROWS[row].make()).value

    got = jax.jit(jax.vmap(solve))(np.stack([k, 2 * k]))
    plain = np.asarray(solved(row, "diffusion").value)
    error = relative_error(got, np.stack([plain, plain / 2]))
    assert error <= difference_allowed(row, "diffusion")


def value_of(row: str, name: str, b: Any) -> Any:
    """A functional of the solution, as a function of the right-hand side."""
    A = operator(name)
    M = preconditioner(row, name, A)
    x = kx.solve(A, b, solver(name), preconditioner=M).value
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(x))


@each_of_few
def test_gradient_is_that_of_the_dense_solve(row: str, name: str):
    A, *_ = matrices(row, name)
    b = right_hand_side(operator(name))
    got = jax.grad(lambda b: value_of(row, name, b))(b)
    expected = np.linalg.solve(A.T, np.ones(len(A)))
    error = relative_error(to_vector(got), expected)
    assert error <= difference_allowed(row, name)


@each_row
def test_second_system_of_the_same_structure_compiles_nothing(row: str):
    name = ROWS[row].operators[0]
    A = operator(name, scale=2.0)
    b, M, method = right_hand_side(A), preconditioner(row, name, A), solver(name)
    # Anew, as programs are dropped where they take too much memory.
    first = operator(name)
    kx.solve(first, b, method, preconditioner=preconditioner(row, name, first))
    with jax.no_tracing(True):
        again = kx.solve(A, b, method, preconditioner=M, throw=False)
    assert again.status == kx.Status.converged
