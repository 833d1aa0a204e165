"""One factory per operator, each with the dense matrix that the operator must equal.

A factory takes a random generator and a dtype. The generic tests in
test_all_operators.py run every row. A new operator is a new row.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import krylax as kx

from ..gallery import finite_volume_matrix
from ..helpers import draw, to_field, to_vector

ops = kx.operators
N = 6
GRIDS = {"1d": (6,), "2d": (3, 4), "3d": (2, 3, 4)}
SPACINGS = (0.5, 0.25, 2.0)
BOUNDARIES: dict[str, Any] = {
    "dirichlet": [("dirichlet", "dirichlet")] * 3,
    "neumann": [("neumann", "neumann")] * 3,
    "periodic": [("periodic", "periodic")] * 3,
    "mixed": [
        ("dirichlet", "neumann"),
        ("periodic", "periodic"),
        ("neumann", "dirichlet"),
    ],
}


class Case(NamedTuple):
    """An operator, and its matrix assembled without the library."""

    operator: Any
    matrix: np.ndarray


Factory = Callable[[np.random.Generator, Any], Case]


def vector_structure(dtype: Any, n: int = N) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((n,), dtype)


def tree_structure(dtype: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Two leaves of together N entries, of different rank."""
    return {
        "u": jax.ShapeDtypeStruct((2, 2), dtype),
        "v": jax.ShapeDtypeStruct((N - 4,), dtype),
    }


def apply_matrix(matrix: Any, x: Any) -> Any:
    """A matrix-free function on the pytree of `tree_structure`."""
    flat = matrix @ jnp.concatenate([x["u"].reshape(-1), x["v"]])
    return {"u": flat[:4].reshape(2, 2), "v": flat[4:]}


def identity(rng: np.random.Generator, dtype: Any) -> Case:
    del rng
    return Case(ops.Identity(vector_structure(dtype)), np.eye(N, dtype=dtype))


def identity_of_a_tree(rng: np.random.Generator, dtype: Any) -> Case:
    del rng
    return Case(ops.Identity(tree_structure(dtype)), np.eye(N, dtype=dtype))


def diagonal_of_a_grid(rng: np.random.Generator, dtype: Any) -> Case:
    values = draw(rng, (3, 4), dtype)
    return Case(ops.Diagonal(values), np.diag(values.ravel()))


def diagonal_definite(rng: np.random.Generator, dtype: Any) -> Case:
    values = (1 + rng.random(N)).astype(dtype)
    return Case(ops.Diagonal(values, tags=["positive_definite"]), np.diag(values))


def diagonal_of_a_tree(rng: np.random.Generator, dtype: Any) -> Case:
    values = to_field(draw(rng, (N,), dtype), tree_structure(dtype))
    return Case(ops.Diagonal(values), np.diag(to_vector(values)))


def dense(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (N, N), dtype)
    return Case(ops.Dense(matrix), matrix)


def dense_rectangular(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (4, N), dtype)
    return Case(ops.Dense(matrix), matrix)


def dense_symmetric(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (N, N), dtype)
    matrix = matrix + matrix.T
    return Case(ops.Dense(matrix, tags=["symmetric"]), matrix)


def dense_definite(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (N, N), dtype)
    matrix = matrix @ matrix.conj().T + np.eye(N, dtype=dtype)
    return Case(ops.Dense(matrix, tags=["positive_definite"]), matrix)


def dense_with_nullspace(rng: np.random.Generator, dtype: Any) -> Case:
    Q = np.linalg.qr(draw(rng, (N, N), dtype))[0]
    matrix = (Q * np.array([0, 0, 1, 2, 3, 4], dtype)) @ Q.conj().T
    tags = ["positive_semidefinite", "singular"]
    return Case(ops.Dense(matrix, tags=tags, nullspace=Q[:, :2].T), matrix)


def banded(rng: np.random.Generator, dtype: Any) -> Case:
    offsets, rows = (-2, 0, 1), draw(rng, (3, N), dtype)
    return Case(ops.Banded(rows, offsets), _from_diagonals(rows, offsets))


def banded_without_main_diagonal(rng: np.random.Generator, dtype: Any) -> Case:
    offsets, rows = (1 - N, 3), draw(rng, (2, N), dtype)
    return Case(ops.Banded(rows, offsets), _from_diagonals(rows, offsets))


def banded_symmetric(rng: np.random.Generator, dtype: Any) -> Case:
    main, above = draw(rng, (2, N), dtype)
    rows = np.stack([np.roll(above, -1), main, above])
    operator = ops.Banded(rows, (-1, 0, 1), tags=["symmetric"])
    return Case(operator, _from_diagonals(rows, (-1, 0, 1)))


def function(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (N, N), dtype)
    linear = jax.tree_util.Partial(jnp.matmul, jnp.asarray(matrix))
    return Case(ops.Function(linear, vector_structure(dtype)), matrix)


def function_symmetric(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = dense_symmetric(rng, dtype).matrix
    linear = jax.tree_util.Partial(jnp.matmul, jnp.asarray(matrix))
    operator = ops.Function(linear, vector_structure(dtype), tags=["symmetric"])
    return Case(operator, matrix)


def function_of_a_tree(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (N, N), dtype)
    linear = jax.tree_util.Partial(apply_matrix, jnp.asarray(matrix))
    return Case(ops.Function(linear, tree_structure(dtype)), matrix)


def function_between_different_fields(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (4, N), dtype)
    linear = jax.tree_util.Partial(_to_a_square, jnp.asarray(matrix))
    return Case(ops.Function(linear, vector_structure(dtype)), matrix)


def laplacian(
    grid: str, boundary: str, rng: np.random.Generator, dtype: Any, **options: Any
) -> Case:
    del rng
    shape = GRIDS[grid]
    faces, spacing = BOUNDARIES[boundary][: len(shape)], SPACINGS[: len(shape)]
    operator = ops.Laplacian(shape, spacing, boundary=faces, dtype=dtype, **options)
    ones = np.ones(shape, dtype)
    return Case(
        operator, finite_volume_matrix(ones, spacing, faces, "harmonic", wall=1)
    )


def diffusion(
    grid: str,
    boundary: str,
    mean: Any,
    rng: np.random.Generator,
    dtype: Any,
    **options: Any,
) -> Case:
    shape = GRIDS[grid]
    faces, spacing = BOUNDARIES[boundary][: len(shape)], SPACINGS[: len(shape)]
    k = np.exp(0.3 * draw(rng, shape, dtype))
    operator = ops.Diffusion(k, spacing, face_mean=mean, boundary=faces, **options)
    return Case(operator, finite_volume_matrix(k, spacing, faces, mean))


def sum_of_two(rng: np.random.Generator, dtype: Any) -> Case:
    first, second = dense(rng, dtype), banded(rng, dtype)
    return Case(first.operator + second.operator, first.matrix + second.matrix)


def definite_sum(rng: np.random.Generator, dtype: Any) -> Case:
    first, second = dense_with_nullspace(rng, dtype), identity(rng, dtype)
    return Case(first.operator + second.operator, first.matrix + second.matrix)


def difference(rng: np.random.Generator, dtype: Any) -> Case:
    first, second = dense_symmetric(rng, dtype), function_symmetric(rng, dtype)
    return Case(first.operator - second.operator, first.matrix - second.matrix)


def negative(rng: np.random.Generator, dtype: Any) -> Case:
    case = banded(rng, dtype)
    return Case(-case.operator, -case.matrix)


def scaled_laplacian(rng: np.random.Generator, dtype: Any) -> Case:
    case = laplacian("2d", "neumann", rng, dtype, nullspace="constant")
    return Case(1.5 * case.operator, (1.5 * case.matrix).astype(dtype))


def divided(rng: np.random.Generator, dtype: Any) -> Case:
    case = function_of_a_tree(rng, dtype)
    return Case(case.operator / 4, case.matrix / np.asarray(4, dtype))


def scaled_by_a_number_of_the_dtype(rng: np.random.Generator, dtype: Any) -> Case:
    case, factor = dense_definite(rng, dtype), draw(rng, (), dtype)
    return Case(jnp.asarray(factor) * case.operator, factor * case.matrix)


def product(rng: np.random.Generator, dtype: Any) -> Case:
    first, second = dense(rng, dtype), function(rng, dtype)
    return Case(first.operator @ second.operator, first.matrix @ second.matrix)


def product_of_rectangular(rng: np.random.Generator, dtype: Any) -> Case:
    case = dense_rectangular(rng, dtype)
    A, matrix = case.operator, case.matrix
    return Case(A @ A.H @ A, matrix @ matrix.conj().T @ matrix)


def transpose_of_function(rng: np.random.Generator, dtype: Any) -> Case:
    case = function_between_different_fields(rng, dtype)
    return Case(case.operator.T, case.matrix.T)


def adjoint_of_function(rng: np.random.Generator, dtype: Any) -> Case:
    case = function_of_a_tree(rng, dtype)
    return Case(case.operator.H, case.matrix.conj().T)


def conjugate(rng: np.random.Generator, dtype: Any) -> Case:
    case = dense(rng, dtype)
    return Case(ops.Conjugate(case.operator), case.matrix.conj())


def transpose_with_nullspace(rng: np.random.Generator, dtype: Any) -> Case:
    case = dense_with_nullspace(rng, dtype)
    return Case(case.operator.T, case.matrix.T)


def polynomial(rng: np.random.Generator, dtype: Any) -> Case:
    """2 A Aᴴ - A / 3, all of the algebra at once."""
    case = function(rng, dtype)
    A, matrix = case.operator, case.matrix
    expected = 2 * matrix @ matrix.conj().T - matrix / 3
    return Case(2 * (A @ A.H) - A / 3, expected.astype(dtype))


def _from_diagonals(rows: np.ndarray, offsets: tuple[int, ...]) -> np.ndarray:
    """Entry (i, j) with j - i = offsets[d] is rows[d, j]."""
    n = rows.shape[1]
    matrix = np.zeros((n, n), rows.dtype)
    for row, offset in zip(rows, offsets, strict=True):
        for j in range(max(0, offset), min(n, n + offset)):
            matrix[j - offset, j] = row[j]
    return matrix


def _to_a_square(matrix: Any, x: Any) -> Any:
    return (matrix @ x).reshape(2, 2)


def _grid_cases() -> Iterator[tuple[str, Factory]]:
    for grid in GRIDS:
        for boundary in BOUNDARIES:
            yield (
                f"laplacian_{grid}_{boundary}",
                partial(laplacian, grid, boundary),
            )
            for mean in ("harmonic", "arithmetic"):
                name = f"diffusion_{grid}_{boundary}_{mean}"
                yield name, partial(diffusion, grid, boundary, mean)


CASES: dict[str, Factory] = {
    factory.__name__: factory
    for factory in (
        identity,
        identity_of_a_tree,
        diagonal_of_a_grid,
        diagonal_definite,
        diagonal_of_a_tree,
        dense,
        dense_rectangular,
        dense_symmetric,
        dense_definite,
        dense_with_nullspace,
        banded,
        banded_without_main_diagonal,
        banded_symmetric,
        function,
        function_symmetric,
        function_of_a_tree,
        function_between_different_fields,
        sum_of_two,
        definite_sum,
        difference,
        negative,
        scaled_laplacian,
        divided,
        scaled_by_a_number_of_the_dtype,
        product,
        product_of_rectangular,
        transpose_of_function,
        adjoint_of_function,
        conjugate,
        transpose_with_nullspace,
        polynomial,
    )
}
CASES |= dict(_grid_cases())
CASES |= {
    "laplacian_declared": partial(laplacian, "2d", "periodic", nullspace="constant"),
    "diffusion_declared": partial(
        diffusion, "2d", "neumann", "harmonic", nullspace="constant"
    ),
}
SQUARE = [name for name in CASES if "rectangular" not in name and "between" not in name]
SQUARE = [name for name in SQUARE if name != "transpose_of_function"]


def make(name: str, dtype: Any, seed: int = 0) -> Case:
    """Return a row's case; another seed gives other values of the same structure."""
    return CASES[name](np.random.default_rng(seed), dtype)
