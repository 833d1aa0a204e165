"""One factory per operator, each with the dense matrix that the operator must equal.

A factory takes a random generator and a dtype. The generic tests in
test_all_operators.py run every row. A new operator is a new row.
"""

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

import krylax as kx

from ..gallery import finite_volume_matrix
from ..helpers import draw, to_field, to_vector

ops = kx.operators
N = 6
GRIDS = {"1d": (6,), "2d": (3, 4), "3d": (2, 3, 4)}
SPACINGS = (0.5, 0.25, 2.0)
CELLS = {
    # 1 solid, 2 fluid, 3 air: water with a stone in it and air above
    "pool": np.array([[2, 2, 3, 3], [2, 1, 2, 3], [2, 2, 2, 1]]),
    # three regions that air does not touch, one of one cell, and one that it does
    "closed": np.array([[2, 2, 1, 2, 3], [2, 1, 1, 2, 1], [1, 2, 2, 1, 2]]),
    "tank": np.array([[[2, 2, 3, 2]] * 3, [[2, 1, 2, 0]] * 3]),
}
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
    linear = jax.tree_util.Partial(jnp.matmul, jax.device_put(matrix))
    return Case(ops.Function(linear, vector_structure(dtype)), matrix)


def function_symmetric(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = dense_symmetric(rng, dtype).matrix
    linear = jax.tree_util.Partial(jnp.matmul, jax.device_put(matrix))
    operator = ops.Function(linear, vector_structure(dtype), tags=["symmetric"])
    return Case(operator, matrix)


def function_of_a_tree(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (N, N), dtype)
    linear = jax.tree_util.Partial(apply_matrix, jax.device_put(matrix))
    return Case(ops.Function(linear, tree_structure(dtype)), matrix)


def function_between_different_fields(rng: np.random.Generator, dtype: Any) -> Case:
    matrix = draw(rng, (4, N), dtype)
    linear = jax.tree_util.Partial(_to_a_square, jax.device_put(matrix))
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


def sparse(rng: np.random.Generator, dtype: Any) -> Case:
    return _sparse_case(rng, dtype, (N, N))


def sparse_rectangular(rng: np.random.Generator, dtype: Any) -> Case:
    return _sparse_case(rng, dtype, (4, 9))


def sparse_with_one_long_row(rng: np.random.Generator, dtype: Any) -> Case:
    """Row 0 is full, the others hold their diagonal: most of row 0 is in the rest."""
    rows, columns = np.r_[np.zeros(N, int), 1:N], np.r_[0:N, 1:N]
    return _from_coordinates(draw(rng, (len(rows),), dtype), rows, columns, (N, N))


def sparse_symmetric(rng: np.random.Generator, dtype: Any) -> Case:
    case = _sparse_case(rng, dtype, (N, N))
    matrix = case.matrix + case.matrix.T
    operator = ops.Sparse.from_scipy(scipy.sparse.coo_array(matrix), tags="symmetric")
    return Case(operator, matrix)


def kronecker(rng: np.random.Generator, dtype: Any) -> Case:
    first, second = dense_definite(rng, dtype), diagonal_definite(rng, dtype)
    operator = ops.Kronecker(first.operator, second.operator)
    return Case(operator, np.kron(first.matrix, second.matrix))


def kronecker_rectangular(rng: np.random.Generator, dtype: Any) -> Case:
    cases = [
        _sparse_case(rng, dtype, (2, 3)),
        dense_rectangular(rng, dtype),
        _sparse_case(rng, dtype, (3, 2)),
    ]
    operator = ops.Kronecker(*[case.operator for case in cases])
    return Case(operator, reduce(np.kron, [case.matrix for case in cases]))


def kronecker_singular(rng: np.random.Generator, dtype: Any) -> Case:
    first, second = dense_definite(rng, dtype), dense_with_nullspace(rng, dtype)
    operator = ops.Kronecker(first.operator, second.operator)
    return Case(operator, np.kron(first.matrix, second.matrix))


def kronecker_sum(rng: np.random.Generator, dtype: Any) -> Case:
    return _kronecker_sum([dense(rng, dtype), banded(rng, dtype)])


def kronecker_sum_definite(rng: np.random.Generator, dtype: Any) -> Case:
    line = laplacian("1d", "neumann", rng, dtype)
    return _kronecker_sum([line, diagonal_definite(rng, dtype)])


def kronecker_sum_with_nullspace(rng: np.random.Generator, dtype: Any) -> Case:
    line = laplacian("1d", "neumann", rng, dtype, nullspace="constant")
    return _kronecker_sum([line, dense_with_nullspace(rng, dtype)])


def kronecker_sum_with_masses(rng: np.random.Generator, dtype: Any) -> Case:
    cases = [dense(rng, dtype), banded(rng, dtype)]
    masses = [_mass(len(case.matrix), dtype) for case in cases]
    (A, B), (M, N) = ([case.matrix for case in found] for found in (cases, masses))
    operator = ops.KroneckerSum(
        *[case.operator for case in cases], masses=[case.operator for case in masses]
    )
    return Case(operator, np.kron(A, N) + np.kron(M, B))


def _mass(n: int, dtype: Any) -> Case:
    matrix = (4 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)).astype(dtype)
    return Case(ops.Dense(matrix, tags=["symmetric", "positive_definite"]), matrix)


def block(rng: np.random.Generator, dtype: Any) -> Case:
    A, B = function_of_a_tree(rng, dtype), dense(rng, dtype)
    tree = kx.operators.Identity(tree_structure(dtype))
    matrix = np.block(
        [[A.matrix, np.zeros((N, N))], [np.zeros((N, N)), B.matrix]]
    ).astype(dtype)
    return Case(ops.Block([[A.operator @ tree, None], [None, B.operator]]), matrix)


def block_saddle_point(rng: np.random.Generator, dtype: Any) -> Case:
    A, B = dense_symmetric(rng, dtype), dense_rectangular(rng, dtype)
    rows = [[A.operator, B.operator.T], [B.operator, None]]
    zeros = np.zeros((4, 4), dtype)
    matrix = np.block([[A.matrix, B.matrix.T], [B.matrix, zeros]])
    return Case(ops.Block(rows, tags=["symmetric"]), matrix)


def block_rectangular(rng: np.random.Generator, dtype: Any) -> Case:
    A, B = dense(rng, dtype), dense_rectangular(rng, dtype)
    operator = ops.Block([[A.operator], [B.operator]])
    return Case(operator, np.concatenate([A.matrix, B.matrix]))


def jacobian(rng: np.random.Generator, dtype: Any) -> Case:
    matrix, point = draw(rng, (2, N, N), dtype)[0] / 2, draw(rng, (N,), dtype)
    waves = jax.tree_util.Partial(_sine_of_product, jax.device_put(matrix))
    expected = np.cos(matrix @ point)[:, None] * matrix
    return Case(ops.Jacobian(waves, point), expected)


def jacobian_of_a_gradient(rng: np.random.Generator, dtype: Any) -> Case:
    """Of x³, the gradient of Σ x⁴ / 4, at a tree."""
    point = to_field(draw(rng, (N,), dtype), tree_structure(dtype))
    operator = ops.Jacobian(_cubes, point, tags=["symmetric"])
    return Case(operator, np.diag(3 * to_vector(point) ** 2))


def jacobian_between_different_fields(rng: np.random.Generator, dtype: Any) -> Case:
    matrix, point = draw(rng, (4, N), dtype), draw(rng, (N,), dtype)
    squares = jax.tree_util.Partial(_square_of_products, jax.device_put(matrix))
    expected = 2 * (matrix @ point)[:, None] * matrix
    return Case(ops.Jacobian(squares, point), expected)


def helmholtz(
    grid: str, boundary: str, k2: Any, rng: np.random.Generator, dtype: Any
) -> Case:
    shape = GRIDS[grid]
    faces, spacing = BOUNDARIES[boundary][: len(shape)], SPACINGS[: len(shape)]
    c = np.exp(0.3 * draw(rng, shape, dtype))
    k2 = draw(rng, shape, dtype) if k2 is None else k2
    operator = ops.Helmholtz(c, k2, spacing, boundary=faces)
    shift = np.diag(np.broadcast_to(np.asarray(k2, dtype), shape).ravel())
    return Case(operator, finite_volume_matrix(c, spacing, faces, "harmonic") - shift)


def convection_diffusion(
    grid: str,
    boundary: str,
    scheme: Any,
    form: Any,
    rng: np.random.Generator,
    dtype: Any,
) -> Case:
    shape = GRIDS[grid]
    faces, spacing = BOUNDARIES[boundary][: len(shape)], SPACINGS[: len(shape)]
    k = np.exp(0.3 * draw(rng, shape, dtype))
    v = rng.standard_normal((len(shape), *shape)).astype(np.real(k).dtype)
    operator = ops.ConvectionDiffusion(
        k, v, spacing, scheme=scheme, form=form, boundary=faces
    )
    matrix = finite_volume_matrix(k, spacing, faces, "harmonic")
    convection = convection_matrix(v, spacing, faces, scheme, form)
    return Case(operator, matrix + convection.astype(dtype))


def masked_poisson(
    cells: str, boundary: str, rng: np.random.Generator, dtype: Any, **options: Any
) -> Case:
    del rng
    kinds = CELLS[cells]
    faces, spacing = BOUNDARIES[boundary][: kinds.ndim], SPACINGS[: kinds.ndim]
    operator = ops.MaskedPoisson(kinds, spacing, boundary=faces, dtype=dtype, **options)
    return Case(operator, masked_matrix(kinds, spacing, faces).astype(dtype))


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


def convection_matrix(
    v: np.ndarray, spacing: Any, faces: Any, scheme: str, form: str
) -> np.ndarray:
    """Assemble ∇·(vu), or v·∇u, cell by cell and face by face."""
    index = np.arange(v[0].size).reshape(v.shape[1:])
    matrix = np.zeros((v[0].size, v[0].size), v.dtype)
    for cell, axis, sign, other, condition in _faces_of_cells(v.shape[1:], faces):
        i, h = index[cell], spacing[axis]
        if condition == "inside":
            out, j = sign * (v[axis][cell] + v[axis][other]) / 2 / h, index[other]
            own = float(out > 0) if scheme == "upwind" else 0.5
            matrix[i, i] += own * out
            matrix[i, j] += (1 - own) * out
        else:
            inner = (*cell[:axis], cell[axis] - sign, *cell[axis + 1 :])
            out = sign * (3 * v[axis][cell] - v[axis][inner]) / 2 / h
            if condition == "neumann" or (scheme == "upwind" and out > 0):
                matrix[i, i] += out
        matrix[i, i] -= out if form == "advective" else 0
    return matrix


def masked_matrix(cells: np.ndarray, spacing: Any, faces: Any) -> np.ndarray:
    """Assemble the pressure matrix cell by cell; 1 solid, 2 fluid, 3 air."""
    index = np.arange(cells.size).reshape(cells.shape)
    matrix = np.diag((cells.ravel() != 2).astype(float))
    for cell, axis, _, other, condition in _faces_of_cells(cells.shape, faces):
        outside = 3 if condition == "dirichlet" else 1
        neighbour = cells[other] if condition == "inside" else outside
        if cells[cell] == 2 and neighbour >= 2:
            matrix[index[cell], index[cell]] += spacing[axis] ** -2
        if cells[cell] == 2 and neighbour == 2:
            matrix[index[cell], index[other]] -= spacing[axis] ** -2
    is_walled_in = np.diagonal(matrix) == 0
    return matrix + np.diag(is_walled_in.astype(float))


def _faces_of_cells(shape: tuple[int, ...], faces: Any) -> Iterator[Any]:
    """Cell, axis, outward sign, the cell beyond, and the condition, or "inside"."""
    for cell in np.ndindex(*shape):
        for axis, pair in enumerate(faces):
            for sign, condition in zip((-1, 1), pair, strict=True):
                other = list(cell)
                other[axis] += sign
                is_inside = 0 <= other[axis] < shape[axis] or condition == "periodic"
                other[axis] %= shape[axis]
                yield (
                    cell,
                    axis,
                    sign,
                    tuple(other),
                    "inside" if is_inside else condition,
                )


def _sparse_case(rng: np.random.Generator, dtype: Any, shape: tuple[int, int]) -> Case:
    """A pattern of its own for each shape, one place listed twice."""
    chosen = np.random.default_rng(5).random(shape) < 0.5
    rows, columns = np.nonzero(chosen)
    rows, columns = np.r_[rows, rows[:1]], np.r_[columns, columns[:1]]
    values = draw(rng, (len(rows),), dtype)
    return _from_coordinates(values, rows, columns, shape)


def _from_coordinates(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> Case:
    matrix = np.zeros(shape, values.dtype)
    np.add.at(matrix, (rows, columns), values)
    order = np.argsort(rows, kind="stable")
    indptr = np.r_[0, np.cumsum(np.bincount(rows, minlength=shape[0]))]
    return Case(ops.Sparse(values[order], columns[order], indptr, shape), matrix)


def _kronecker_sum(cases: list[Case]) -> Case:
    first, second = (case.matrix for case in cases)
    matrix = np.kron(first, np.eye(len(second))) + np.kron(np.eye(len(first)), second)
    operator = ops.KroneckerSum(*[case.operator for case in cases])
    return Case(operator, matrix.astype(first.dtype))


def _sine_of_product(matrix: Any, x: Any) -> Any:
    return jnp.sin(matrix @ x)


def _square_of_products(matrix: Any, x: Any) -> Any:
    return ((matrix @ x) ** 2).reshape(2, 2)


def _cubes(x: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf**3, x)


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
            for mean in ("harmonic", "arithmetic")[: 2 if grid == "2d" else 1]:
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
        sparse,
        sparse_rectangular,
        sparse_with_one_long_row,
        sparse_symmetric,
        kronecker,
        kronecker_rectangular,
        kronecker_singular,
        kronecker_sum,
        kronecker_sum_definite,
        kronecker_sum_with_nullspace,
        kronecker_sum_with_masses,
        block,
        block_saddle_point,
        block_rectangular,
        jacobian,
        jacobian_of_a_gradient,
        jacobian_between_different_fields,
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
    "helmholtz_1d_dirichlet": partial(helmholtz, "1d", "dirichlet", 2.5),
    "helmholtz_2d_mixed_varying": partial(helmholtz, "2d", "mixed", None),
    "helmholtz_3d_periodic_shifted": partial(helmholtz, "3d", "periodic", -2.0),
    "masked_poisson_pool": partial(masked_poisson, "pool", "neumann"),
    "masked_poisson_pool_periodic": partial(masked_poisson, "pool", "periodic"),
    "masked_poisson_closed": partial(
        masked_poisson, "closed", "neumann", nullspace="constant"
    ),
    "masked_poisson_3d_mixed": partial(masked_poisson, "tank", "mixed"),
}
for _grid, _boundary, _scheme, _form in (
    ("1d", "dirichlet", "upwind", "conservative"),
    ("1d", "periodic", "central", "advective"),
    ("2d", "dirichlet", "central", "conservative"),
    ("2d", "neumann", "upwind", "advective"),
    ("2d", "mixed", "upwind", "conservative"),
    ("3d", "mixed", "central", "advective"),
    ("3d", "periodic", "upwind", "conservative"),
):
    CASES[f"convection_diffusion_{_grid}_{_boundary}_{_scheme}_{_form}"] = partial(
        convection_diffusion, _grid, _boundary, _scheme, _form
    )
SQUARE = [name for name in CASES if "rectangular" not in name and "between" not in name]
SQUARE = [name for name in SQUARE if name != "transpose_of_function"]


def make(name: str, dtype: Any, seed: int = 0) -> Case:
    """Return a row's case; another seed gives other values of the same structure."""
    return CASES[name](np.random.default_rng(seed), dtype)
