"""What every operator promises, against a matrix assembled without the library."""

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

import krylax as kx

from ..helpers import draw, relative_error, to_field, to_vector, tolerance
from .cases import CASES, SQUARE, Case, make

# Where an operator is first traced.
checks_types = pytest.mark.usefixtures("with_types_checked")
# In complex arithmetic the stencils of one and three dimensions are those of two.
PAIRS = [(name, "float64") for name in CASES]
PAIRS += [
    (name, "complex128") for name in CASES if not {"1d", "3d"} & {*name.split("_")}
]
each_case = pytest.mark.parametrize("name", CASES)
each_pair = pytest.mark.parametrize(("name", "dtype"), PAIRS)
each_square_pair = pytest.mark.parametrize(
    ("name", "dtype"), [pair for pair in PAIRS if pair[0] in SQUARE]
)
# In 32 bits, and complex where the case is.
SINGLE = {"float64": "float32", "complex128": "complex64"}
SINGLE_PAIRS = [(name, SINGLE[dtype]) for name, dtype in dict(PAIRS).items()]
# What is probed is tested above; these have the tags, structures and null spaces there
# are.
CHECKED = [
    (name, "float64")
    for name in (
        "banded_symmetric",
        "dense_definite",
        "diagonal_of_a_tree",
        "function_between_different_fields",
        "sparse",
        "kronecker_sum_with_nullspace",
        "block_saddle_point",
        "masked_poisson_closed",
    )
]
CHECKED += [
    (name, dtype)
    for name in ("dense_with_nullspace", "function_of_a_tree", "laplacian_2d_mixed")
    for dtype in ("float64", "complex128", "float32")
]

IS_TRUE_OF = {
    "symmetric": lambda A, slack: relative_error(A.T, A) <= slack,
    "hermitian": lambda A, slack: relative_error(A.conj().T, A) <= slack,
    "positive_definite": lambda A, slack: _smallest_eigenvalue(A) > slack,
    "positive_semidefinite": lambda A, slack: _smallest_eigenvalue(A) > -slack,
    "singular": lambda A, slack: np.linalg.svd(A)[1][-1] <= slack * np.linalg.norm(A),
}


@jax.jit
def evaluate(A: Any, x: Any, y: Any, xs: Any, direction: Any) -> dict[str, Any]:
    """All that an operator can do, in one compiled program."""
    return {
        "mv": A.mv(x),
        "T": A.T.mv(y),
        "H": A.H.mv(y),
        "mm": A.mm(xs),
        "as_matrix": A.as_matrix(),
        "derivative": jax.jvp(A.mv, (x,), (direction,))[1],
        "diagonal": A.diagonal() if A.in_structure == A.out_structure else None,
    }


@jax.jit
def multiply(A: Any, x: Any) -> Any:
    return A(x)


def inputs(case: Case, dtype: str) -> dict[str, np.ndarray]:
    rows, columns = case.matrix.shape
    rng = np.random.default_rng(3)
    shapes = {
        "x": (columns,),
        "y": (rows,),
        "xs": (2, columns),
        "direction": (columns,),
    }
    return {key: draw(rng, shape, dtype) for key, shape in shapes.items()}


def as_arguments(case: Case, dtype: str) -> tuple[Any, ...]:
    A, arrays = case.operator, inputs(case, dtype)
    many = jax.tree.map(
        lambda s: jax.ShapeDtypeStruct((2, *s.shape), s.dtype), A.in_structure
    )
    return (
        A,
        to_field(arrays["x"], A.in_structure),
        to_field(arrays["y"], A.out_structure),
        _stacked_field(arrays["xs"], many),
        to_field(arrays["direction"], A.in_structure),
    )


@cache
def evaluated(name: str, dtype: str) -> tuple[Case, dict[str, Any], dict]:
    """A case, its results, and the inputs as vectors."""
    case = make(name, dtype)
    return case, evaluate(*as_arguments(case, dtype)), inputs(case, dtype)


@checks_types
@each_pair
def test_matrix_is_the_one_assembled_independently(name: str, dtype: str):
    case, results, _ = evaluated(name, dtype)
    assert relative_error(results["as_matrix"], case.matrix) <= tolerance(1, dtype)


@each_pair
def test_mv_is_the_product_with_the_matrix(name: str, dtype: str):
    case, results, given = evaluated(name, dtype)
    error = relative_error(to_vector(results["mv"]), case.matrix @ given["x"])
    assert error <= tolerance(1, dtype)


@each_pair
def test_transpose_is_the_product_with_the_transposed_matrix(name: str, dtype: str):
    case, results, given = evaluated(name, dtype)
    error = relative_error(to_vector(results["T"]), case.matrix.T @ given["y"])
    assert error <= tolerance(1, dtype)


@each_pair
def test_adjoint_is_the_product_with_the_conjugate_transpose(name: str, dtype: str):
    case, results, given = evaluated(name, dtype)
    error = relative_error(to_vector(results["H"]), case.matrix.conj().T @ given["y"])
    assert error <= tolerance(1, dtype)


@each_pair
def test_mm_is_mv_of_every_row(name: str, dtype: str):
    case, results, given = evaluated(name, dtype)
    got = np.stack([to_vector(_row(results["mm"], i)) for i in range(2)])
    assert relative_error(got, given["xs"] @ case.matrix.T) <= tolerance(1, dtype)


@each_pair
def test_derivative_along_x_is_mv_of_the_direction(name: str, dtype: str):
    case, results, given = evaluated(name, dtype)
    got = to_vector(results["derivative"])
    error = relative_error(got, case.matrix @ given["direction"])
    assert error <= tolerance(1, dtype)


@each_square_pair
def test_diagonal_is_that_of_the_matrix(name: str, dtype: str):
    case, results, _ = evaluated(name, dtype)
    got = to_vector(results["diagonal"])
    assert relative_error(got, np.diagonal(case.matrix)) <= tolerance(1, dtype)


@each_square_pair
def test_tags_are_true_of_the_matrix(name: str, dtype: str):
    case = make(name, dtype)
    slack = tolerance(1, dtype, factor=100)
    found = {tag: IS_TRUE_OF[tag](case.matrix, slack) for tag in case.operator.tags}
    assert all(found.values()), found


@each_square_pair
def test_declared_null_vectors_are_orthonormal_and_null_both_ways(
    name: str, dtype: str
):
    case = make(name, dtype)
    N = _null_vectors(case, dtype)
    slack = tolerance(1, dtype, factor=100)
    assert relative_error(N.conj() @ N.T, np.eye(len(N))) <= slack
    assert np.linalg.norm(case.matrix @ N.T) <= slack * np.linalg.norm(case.matrix)
    assert np.linalg.norm(N.conj() @ case.matrix) <= slack * np.linalg.norm(case.matrix)


@pytest.mark.parametrize(("name", "dtype"), CHECKED)
def test_check_operator_finds_nothing_wrong(name: str, dtype: str):
    errors = kx.operators.check_operator(make(name, dtype).operator, jax.random.key(0))
    assert {"linearity", "adjoint", "transpose"} <= set(errors)


@each_pair
def test_dtype_and_shape_of_the_result_are_the_announced_ones(name: str, dtype: str):
    case, results, _ = evaluated(name, dtype)
    assert _structure(results["mv"]) == case.operator.out_structure
    assert _structure(results["T"]) == case.operator.in_structure


@checks_types
@pytest.mark.parametrize(("name", "dtype"), SINGLE_PAIRS)
def test_single_precision_stays_and_agrees_to_its_own_rounding(name: str, dtype: str):
    case = make(name, dtype)
    x = inputs(case, dtype)["x"]
    got = to_vector(multiply(case.operator, to_field(x, case.operator.in_structure)))
    assert got.dtype == dtype
    assert relative_error(got, case.matrix @ x) <= tolerance(1, dtype)


@each_case
def test_vmap_over_operators_and_fields_is_one_by_one(name: str):
    cases = [make(name, "float64", seed) for seed in (1, 2)]
    xs = [as_arguments(case, "float64")[1] for case in cases]
    A, x = (
        jax.tree.map(lambda a, b: np.stack([a, b]), *pair)
        for pair in ([case.operator for case in cases], xs)
    )
    got = jax.jit(jax.vmap(lambda A, x: A.mv(x), axis_size=2))(A, x)
    stacked = np.stack([to_vector(_row(got, i)) for i in range(2)])
    each = [c.matrix @ to_vector(x) for c, x in zip(cases, xs, strict=True)]
    assert relative_error(stacked, np.stack(each)) <= tolerance(1, "float64")


@each_case
def test_second_operator_of_the_same_structure_compiles_nothing(name: str):
    # Anew, as programs are dropped where they take too much memory.
    evaluate(*as_arguments(make(name, "float64"), "float64"))
    arguments = as_arguments(make(name, "float64", seed=5), "float64")
    with jax.no_tracing(True):
        evaluate(*arguments)


def _smallest_eigenvalue(A: np.ndarray) -> float:
    """In units of the largest."""
    eigenvalues = np.linalg.eigvalsh(A)
    return float(eigenvalues[0] / np.abs(eigenvalues).max())


def _row(field: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[i], field)


def _structure(field: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), field)


def _null_vectors(case: Case, dtype: str) -> np.ndarray:
    """One null vector per row; no rows where none is declared."""
    declared = case.operator.nullspace
    flat = [np.reshape(leaf, (len(leaf), -1)) for leaf in jax.tree.leaves(declared)]
    empty = np.zeros((0, case.matrix.shape[1]), dtype)
    return np.concatenate(flat, axis=1) if flat else empty


def _stacked_field(rows: np.ndarray, structure: Any) -> Any:
    fields = [to_field(row, jax.tree.map(_drop_first, structure)) for row in rows]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *fields)


def _drop_first(s: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(s.shape[1:], s.dtype)
