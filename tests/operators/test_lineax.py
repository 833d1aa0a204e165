"""Operators from lineax and for lineax: round trips, adjoints, tags, derivatives."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import krylax as kx

from ..helpers import (
    draw,
    relative_error,
    to_field,
    to_vector,
    tolerance,
    types_unchecked,
)
from .cases import make

from_lineax, to_lineax = kx.operators.from_lineax, kx.operators.to_lineax
EPS = tolerance(1, "float64", factor=100)
ROWS = [
    "dense_rectangular",
    "diagonal_of_a_tree",
    "function_between_different_fields",
    "sparse_rectangular",
    "laplacian_2d_mixed",
    "dense_definite",
    "polynomial",
]
each_row = pytest.mark.parametrize("name", ROWS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "complex128"])


def matrix_of(dtype: Any = "float64", shape: tuple[int, int] = (5, 5)) -> Any:
    return jax.device_put(draw(np.random.default_rng(0), shape, dtype))


def field(structure: Any, dtype: Any, seed: int = 1) -> Any:
    size = sum(leaf.size for leaf in jax.tree.leaves(structure))
    return to_field(draw(np.random.default_rng(seed), (size,), dtype), structure)


@each_row
@each_dtype
def test_exported_operator_multiplies_like_its_matrix(name: str, dtype: str):
    operator, matrix = make(name, dtype)
    x, y = field(operator.in_structure, dtype), field(operator.out_structure, dtype)

    @jax.jit
    def multiply(A: Any, x: Any, y: Any) -> Any:
        exported = to_lineax(A)
        return exported.mv(x), exported.T.mv(y)

    found, transposed = map(to_vector, multiply(operator, x, y))
    allowed = tolerance(1, dtype, factor=100)
    assert relative_error(found, matrix @ to_vector(x)) <= allowed
    assert relative_error(transposed, matrix.T @ to_vector(y)) <= allowed


@each_row
def test_exported_operator_is_conjugated_and_materialised(name: str):
    operator, matrix = make(name, "complex128")

    @jax.jit
    def matrices(A: Any) -> Any:
        exported = to_lineax(A)
        return lx.materialise(exported).as_matrix(), lx.conj(exported).as_matrix()

    dense, conjugate = matrices(operator)
    assert relative_error(dense, matrix) <= EPS
    assert relative_error(conjugate, matrix.conj()) <= EPS


@pytest.mark.parametrize("name", ["dense", "diagonal_of_a_tree", "laplacian_2d_mixed"])
def test_exported_operator_knows_its_diagonals(name: str):
    operator, matrix = make(name, "float64")

    @jax.jit
    def diagonals(A: Any) -> Any:
        return lx.diagonal(to_lineax(A)), *lx.tridiagonal(to_lineax(A))

    got = diagonals(operator)
    expected = [np.diagonal(matrix, k) for k in (0, 0, -1, 1)]
    assert max(map(relative_error, got, expected)) <= EPS


@each_row
def test_tags_are_translated(name: str):
    operator, _ = make(name, "complex128")
    exported = to_lineax(operator)
    is_definite = "positive_semidefinite" in operator.tags
    assert lx.is_symmetric(exported) == ("symmetric" in operator.tags)
    assert lx.is_positive_semidefinite(exported) == is_definite


@pytest.mark.parametrize(
    ("name", "question", "answer"),
    [
        ("identity", lx.has_unit_diagonal, True),
        ("diagonal_of_a_grid", lx.has_unit_diagonal, False),
        ("diagonal_of_a_grid", lx.is_diagonal, True),
        ("diagonal_of_a_grid", lx.is_tridiagonal, True),
        ("diagonal_of_a_grid", lx.is_lower_triangular, True),
        ("diagonal_of_a_grid", lx.is_upper_triangular, True),
        ("dense", lx.is_diagonal, False),
        ("dense_definite", lx.is_negative_semidefinite, False),
    ],
)
def test_lineax_is_told_what_the_operator_is(name: str, question: Any, answer: bool):
    operator, _ = make(name, "float64")
    assert question(to_lineax(operator)) is answer
    assert question(to_lineax(operator)) is question(lx.linearise(to_lineax(operator)))


@pytest.mark.parametrize("name", ["dense_definite", "laplacian_2d_dirichlet"])
def test_direct_solver_of_lineax_runs_on_our_operator(name: str):
    operator, matrix = make(name, "float64")
    x = field(operator.in_structure, "float64")
    got = lx.linear_solve(to_lineax(operator), operator.mv(x), lx.Cholesky()).value
    allowed = tolerance(np.linalg.cond(matrix), "float64")
    assert relative_error(to_vector(got), to_vector(x)) <= allowed


def test_gradient_of_lineax_reaches_the_numbers_of_our_operator():
    matrix, b = matrix_of() + 5 * jnp.eye(5), jnp.ones(5)

    def loss(matrix: Any) -> Any:
        A = to_lineax(kx.operators.Dense(matrix))
        return jnp.sum(lx.linear_solve(A, b, lx.LU()).value ** 2)

    expected = jax.grad(lambda m: jnp.sum(jnp.linalg.solve(m, b) ** 2))(matrix)
    allowed = tolerance(float(np.linalg.cond(matrix)), "float64", factor=100)
    assert relative_error(jax.grad(loss)(matrix), expected) <= allowed


IMPORTS: dict[str, Callable[[Any], Any]] = {
    "matrix": lx.MatrixLinearOperator,
    "function": lambda m: lx.FunctionLinearOperator(
        lambda x: m @ x, jax.ShapeDtypeStruct((5,), m.dtype)
    ),
    "tree": lambda m: lx.PyTreeLinearOperator(
        [[m[:2, :3], m[:2, 3:]], [m[2:, :3], m[2:, 3:]]],
        [jax.ShapeDtypeStruct((n,), m.dtype) for n in (2, 3)],
    ),
    "algebra": lambda m: 2.0 * lx.MatrixLinearOperator(m) - lx.MatrixLinearOperator(m),
}
each_import = pytest.mark.parametrize("kind", ["matrix", "function", "algebra"])


@each_dtype
@each_import
def test_imported_operator_keeps_its_promises(kind: str, dtype: str, getkey: Any):
    kx.operators.check_operator(from_lineax(IMPORTS[kind](matrix_of(dtype))), getkey())


@each_dtype
@each_import
def test_imported_operator_has_the_matrix_and_diagonal(kind: str, dtype: str):
    matrix = matrix_of(dtype)

    @jax.jit
    def imported(matrix: Any) -> Any:
        A = from_lineax(IMPORTS[kind](matrix))
        return A.as_matrix(), A.diagonal()

    got, diagonal = imported(matrix)
    assert relative_error(got, matrix) <= tolerance(1, dtype)
    assert relative_error(diagonal, np.diagonal(matrix)) <= tolerance(1, dtype)


def test_imported_operator_acts_on_trees():
    matrix = matrix_of()
    structure = [jax.ShapeDtypeStruct((n,), matrix.dtype) for n in (3, 2)]
    pieces = [[matrix[:3, :3], matrix[:3, 3:]], [matrix[3:, :3], matrix[3:, 3:]]]
    got = from_lineax(lx.PyTreeLinearOperator(pieces, structure))
    x = field(structure, "float64")
    assert relative_error(to_vector(got @ x), matrix @ to_vector(x)) <= EPS
    assert relative_error(to_vector(got.T @ x), matrix.T @ to_vector(x)) <= EPS


def test_tags_of_lineax_are_translated():
    matrix = matrix_of("complex128")
    tags = lx.positive_semidefinite_tag
    got = from_lineax(lx.MatrixLinearOperator(matrix @ matrix.conj().T, tags)).tags
    assert got == {"positive_semidefinite", "hermitian"}


def test_symmetric_import_is_its_own_transpose():
    A = from_lineax(lx.MatrixLinearOperator(jnp.eye(3), lx.symmetric_tag))
    assert A.T is A


@each_import
def test_solve_runs_and_differentiates_on_an_imported_operator(kind: str):
    matrix, b = matrix_of() + 5 * jnp.eye(5), jnp.ones(5)

    def loss(matrix: Any) -> Any:
        A = from_lineax(IMPORTS[kind](matrix))
        return jnp.sum(kx.solve(A, b, kx.solvers.GMRES(rtol=1e-12)).value ** 2)

    expected = jax.grad(lambda m: jnp.sum(jnp.linalg.solve(m, b) ** 2))(matrix)
    assert relative_error(jax.jit(jax.grad(loss))(matrix), expected) <= 1000 * EPS


def test_imported_function_serves_as_preconditioner():
    matrix, b = matrix_of() + 5 * jnp.eye(5), jnp.ones(5)
    M = from_lineax(IMPORTS["function"](jnp.linalg.inv(matrix)))
    A, solver = kx.operators.Dense(matrix), kx.solvers.GMRES(rtol=1e-10)
    assert kx.solve(A, b, solver, preconditioner=M).stats.num_steps == 1


def test_imported_operators_are_batched():
    matrices, xs = jnp.stack([matrix_of(), 2 * matrix_of()]), jnp.ones((2, 5))
    operators = jax.vmap(lambda m: from_lineax(lx.MatrixLinearOperator(m)))(matrices)
    got = jax.vmap(lambda A, x: A.mv(x))(operators, xs)
    assert relative_error(got, np.asarray(matrices).sum(axis=2)) <= EPS


def test_round_trips_return_what_went_in():
    ours = kx.operators.Laplacian((4,))
    theirs = lx.MatrixLinearOperator(matrix_of())
    assert from_lineax(to_lineax(ours)) is ours
    assert to_lineax(from_lineax(theirs)) == theirs


@pytest.mark.parametrize("convert", [from_lineax, to_lineax])
def test_wrong_input_is_refused(convert: Any):
    expected = pytest.raises(TypeError, match="wrap a matrix in Dense")
    with types_unchecked(), expected:
        convert(np.eye(2))


def test_missing_lineax_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "lineax", None)
    with pytest.raises(ImportError, match=r"pip install 'krylax\[lineax\]'"):
        to_lineax(kx.operators.Laplacian((4,)))


def test_lineax_is_not_imported_before_it_is_used():
    code = "import sys, krylax.solvers; print('lineax' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
