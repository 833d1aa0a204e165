"""Wrong input to operators is refused: what was wrong, what was got, the remedy."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

from ..helpers import types_unchecked

ops: Any = kx.operators  # whatever the types say: users get them wrong
ONES = np.ones(4)
STRUCTURE = jax.ShapeDtypeStruct((4,), jnp.float64)
A4: Any = ops.Laplacian((4,))
A5: Any = ops.Laplacian((5,))


@pytest.fixture(autouse=True)
def _as_users_run_it() -> Iterator[None]:
    with types_unchecked():
        yield


def holding(value: float) -> np.ndarray:
    return np.array([1.0, value, 1.0, 1.0])


BAD_VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    "dense_vector": (lambda: ops.Dense(ONES), r"two axes, got shape \(4,\).*vmap"),
    "dense_integer": (
        lambda: ops.Dense(np.eye(2, dtype=int)),
        r"matrix must be .*floating or complex.*got dtype int64.*astype",
    ),
    "dense_boolean": (lambda: ops.Dense(np.eye(2) > 0), "got dtype bool"),
    "dense_nan": (
        lambda: ops.Dense(np.diag(holding(np.nan))),
        "matrix must be finite, got 1 of 16 values",
    ),
    "banded_infinite": (
        lambda: ops.Banded(np.stack([holding(np.inf)]), (0,)),
        "diagonals must be finite, got 1 of 4 values",
    ),
    "banded_integer": (
        lambda: ops.Banded(np.ones((1, 4), int), (0,)),
        "diagonals must be .*floating.*got dtype int64",
    ),
    "banded_row_missing": (
        lambda: ops.Banded(np.ones((1, 4)), (0, 1)),
        r"one row per offset.*\(2, n\), got \(1, 4\)",
    ),
    "banded_one_axis": (lambda: ops.Banded(ONES, (0,)), r"got \(4,\)"),
    "banded_no_diagonal": (
        lambda: ops.Banded(np.ones((0, 4)), ()),
        r"one row per offset.*got \(0, 4\)",
    ),
    "banded_offset_outside": (
        lambda: ops.Banded(np.ones((1, 4)), (4,)),
        r"between -3 and 3 for n = 4, got \(4,\)",
    ),
    "banded_offset_twice": (
        lambda: ops.Banded(np.ones((2, 4)), (1, 1)),
        r"distinct.*got \(1, 1\)",
    ),
    "banded_fractional_offset": (
        lambda: ops.Banded(np.ones((1, 4)), (0.5,)),
        "offset.*0.5",
    ),
    "diagonal_integer": (
        lambda: ops.Diagonal(np.arange(4)),
        "values must be .*floating.*got dtype int64",
    ),
    "laplacian_four_axes": (
        lambda: ops.Laplacian((2, 2, 2, 2)),
        r"one to three axes.*got shape \(2, 2, 2, 2\)",
    ),
    "laplacian_no_axis": (
        lambda: ops.Laplacian(()),
        r"one to three axes.*got shape \(\)",
    ),
    "laplacian_one_node": (
        lambda: ops.Laplacian((3, 1)),
        r"at least two points each, got shape \(3, 1\)",
    ),
    "laplacian_one_node_without_axis": (
        lambda: ops.Laplacian(1),
        "at least two points each, got shape",
    ),
    "laplacian_fractional_count": (
        lambda: ops.Laplacian((3.5,)),
        "shape.*3.5",
    ),
    "laplacian_integer_dtype": (
        lambda: ops.Laplacian((4,), dtype=int),
        "dtype.*floating.*int64",
    ),
    "laplacian_negative_spacing": (
        lambda: ops.Laplacian((4,), -0.5),
        "spacing must be positive and finite, got -0.5",
    ),
    "laplacian_zero_spacing": (
        lambda: ops.Laplacian((4, 4), (1.0, 0.0)),
        "spacing must be positive and finite",
    ),
    "laplacian_nan_spacing": (
        lambda: ops.Laplacian((4,), float("nan")),
        "spacing must be positive and finite, got nan",
    ),
    "laplacian_too_many_spacings": (
        lambda: ops.Laplacian((4, 4), (1.0, 1.0, 1.0)),
        r"one for each of the 2 axes, got shape \(3,\)",
    ),
    "laplacian_unknown_boundary": (
        lambda: ops.Laplacian((4,), boundary="robin"),
        "dirichlet.*neumann.*periodic.*got .*robin",
    ),
    "laplacian_half_periodic": (
        lambda: ops.Laplacian((4,), boundary=[("periodic", "neumann")]),
        "periodic on both faces or on none, got .*periodic.*neumann",
    ),
    "laplacian_boundary_missing": (
        lambda: ops.Laplacian((4, 4), boundary=["neumann"]),
        "each of the 2 axes, got 1 entries",
    ),
    "laplacian_three_faces": (
        lambda: ops.Laplacian((4,), boundary=[("neumann",) * 3]),
        r"\(low, high\) pair.*got",
    ),
    "laplacian_false_nullspace": (
        lambda: ops.Laplacian((4,), nullspace="constant"),
        "Dirichlet face makes the operator nonsingular; leave out",
    ),
    "laplacian_unknown_nullspace": (
        lambda: ops.Laplacian((4,), boundary="neumann", nullspace="linear"),
        'nullspace must be "constant" or None, got .linear',
    ),
    "diffusion_integer": (
        lambda: ops.Diffusion(np.ones(4, int)),
        "coefficient must be .*floating.*got dtype int64.*astype",
    ),
    "diffusion_nan": (
        lambda: ops.Diffusion(holding(np.nan)),
        "coefficient must be finite, got 1 of 4 values",
    ),
    "diffusion_infinite": (
        lambda: ops.Diffusion(holding(np.inf)),
        "coefficient must be finite, got 1 of 4 values",
    ),
    "diffusion_zero": (
        lambda: ops.Diffusion(holding(0.0)),
        "positive in every cell, got 0.0 .*small positive number",
    ),
    "diffusion_negative": (
        lambda: ops.Diffusion(holding(-2.0)),
        "positive in every cell, got -2.0",
    ),
    "diffusion_scalar": (
        lambda: ops.Diffusion(np.array(1.0)),
        r"one to three axes.*got shape",
    ),
    "diffusion_one_cell": (lambda: ops.Diffusion(np.ones(1)), r"got shape \(1,\)"),
    "diffusion_unknown_mean": (
        lambda: ops.Diffusion(ONES, face_mean="geometric"),
        "face_mean must be one of .*harmonic.*arithmetic.*got 'geometric'",
    ),
    "diffusion_false_nullspace": (
        lambda: ops.Diffusion(
            ONES, boundary=[("neumann", "dirichlet")], nullspace="constant"
        ),
        "Dirichlet face makes the operator nonsingular",
    ),
    "sparse_data_and_indices": (
        lambda: ops.Sparse(ONES, [0, 1], [0, 2, 4], (2, 2)),
        r"same length, got shapes \(4,\) and \(2,\)",
    ),
    "sparse_column_outside": (
        lambda: ops.Sparse(ONES, [0, 1, 2, -1], [0, 2, 4], (2, 2)),
        "between 0 and 1 for 2 columns, got 2 and 1 more outside",
    ),
    "sparse_falling_indptr": (
        lambda: ops.Sparse(ONES, [0, 1, 0, 1], [0, 5, 4], (2, 2)),
        "indptr must rise from 0 to the number of stored values, 4, in 3 entries",
    ),
    "sparse_row_missing": (
        lambda: ops.Sparse(ONES, [0, 1, 0, 1], [0, 4], (2, 2)),
        r"3 entries for 2 rows, got 2 entries.*Sparse\.from_scipy",
    ),
    "sparse_fractional_indices": (
        lambda: ops.Sparse(ONES, ONES, [0, 2, 4], (2, 2)),
        r"indices must be integers along one axis, got float64 of shape \(4,\)",
    ),
    "sparse_shape": (
        lambda: ops.Sparse(ONES, [0, 1, 0, 1], [0, 2, 4], (2,)),
        r"shape must be \(rows, columns\), two positive integers, got \(2,\)",
    ),
    "sparse_traced_pattern": (
        lambda: jax.jit(lambda i: ops.Sparse(ONES, i, [0, 2, 4], (2, 2)))(
            jnp.array([0, 1, 0, 1])
        ),
        "indices must be known when the operator is built, got a traced array",
    ),
    "sparse_nan": (
        lambda: ops.Sparse(holding(np.nan), [0, 1, 0, 1], [0, 2, 4], (2, 2)),
        "data must be finite, got 1 of 4 values",
    ),
    "sparse_of_a_dense_array": (
        lambda: ops.Sparse.from_scipy(np.eye(2)),
        "sparse array or matrix of SciPy.*got ndarray; for a dense one use Dense",
    ),
    "sparse_of_integers": (
        lambda: ops.Sparse.from_scipy(scipy.sparse.eye_array(2, dtype=int)),
        "data must be .*floating.*got dtype int64",
    ),
    "kronecker_without_factors": (ops.Kronecker, "at least one factor, got none"),
    "kronecker_of_grids": (
        lambda: ops.Kronecker(A4, ops.Laplacian((2, 2))),
        r"vectors to vectors, got factor 1 from float64\[2, 2\]",
    ),
    "kronecker_of_two_dtypes": (
        lambda: ops.Kronecker(A4, ops.Laplacian((2,), dtype=jnp.float32)),
        "share one dtype, got float32, float64",
    ),
    "kronecker_sum_of_a_rectangle": (
        lambda: ops.KroneckerSum(A4, ops.Dense(np.ones((2, 3)))),
        r"must be square, got factor 1 from float64\[3\] to float64\[2\]",
    ),
    "block_without_rows": (lambda: ops.Block([]), r"rows of lengths \[\]"),
    "block_of_ragged_rows": (
        lambda: ops.Block([[A4, None], [A4]]),
        r"equally many blocks, got rows of lengths \[2, 1\]",
    ),
    "block_with_a_zero_row": (
        lambda: ops.Block([[A4, A4], [None, None]]),
        "row 1 holds zero blocks alone.*put a zero operator",
    ),
    "block_with_a_zero_column": (
        lambda: ops.Block([[A4, None], [A4, None]]),
        "column 1 holds zero blocks alone",
    ),
    "block_of_different_rows": (
        lambda: ops.Block([[A4, A5]]),
        r"row return the same field, got float64\[4\] and float64\[5\] in number 0",
    ),
    "block_of_different_columns": (
        lambda: ops.Block([[A4], [A5]]),
        r"column take the same field, got float64\[4\] and float64\[5\]",
    ),
    "jacobian_at_integers": (
        lambda: ops.Jacobian(jnp.sin, np.arange(4)),
        "point must be .*floating.*got dtype int64",
    ),
    "helmholtz_of_another_shape": (
        lambda: ops.Helmholtz(ONES, np.ones(3)),
        r"one number or one per cell, shape \(4,\), got shape \(3,\)",
    ),
    "helmholtz_nan": (
        lambda: ops.Helmholtz(ONES, np.nan),
        "wavenumber_squared must be finite, got 1 of 1 values",
    ),
    "helmholtz_negative_coefficient": (
        lambda: ops.Helmholtz(-ONES, 1.0),
        "coefficient must be positive in every cell",
    ),
    "convection_of_another_shape": (
        lambda: ops.ConvectionDiffusion(ONES, np.ones((2, 4))),
        r"one component per axis, shape \(1, 4\) or \(1,\), got \(2, 4\)",
    ),
    "convection_complex": (
        lambda: ops.ConvectionDiffusion(ONES, np.ones(1, complex)),
        "velocity must be real, got dtype complex128",
    ),
    "convection_infinite": (
        lambda: ops.ConvectionDiffusion(ONES, np.array([np.inf])),
        "velocity must be finite",
    ),
    "convection_unknown_scheme": (
        lambda: ops.ConvectionDiffusion(ONES, np.ones(1), scheme="quick"),
        "scheme must be one of .*upwind.*central.*got 'quick'",
    ),
    "convection_unknown_form": (
        lambda: ops.ConvectionDiffusion(ONES, np.ones(1), form="skew"),
        "form must be one of .*conservative.*advective.*got 'skew'",
    ),
    "convection_false_nullspace": (
        lambda: ops.ConvectionDiffusion(ONES, np.ones(1), nullspace="constant"),
        "Dirichlet face makes the operator nonsingular",
    ),
    "masked_poisson_mask": (
        lambda: ops.MaskedPoisson(np.ones((2, 2), bool)),
        r"integers of CellType, got dtype bool.*jnp\.where",
    ),
    "masked_poisson_unknown_cell": (
        lambda: ops.MaskedPoisson(np.array([[2, 4], [2, 2]])),
        r"1 \(solid\), 2 \(fluid\) or 3 \(air\).*got \[2, 4\]",
    ),
    "masked_poisson_dry": (
        lambda: ops.MaskedPoisson(np.array([[1, 3], [1, 1]])),
        r"at least one fluid cell, got \[1, 3\]",
    ),
    "masked_poisson_integer_dtype": (
        lambda: ops.MaskedPoisson(np.full((2, 2), 2), dtype=int),
        "dtype must be floating or complex, got int64",
    ),
    "masked_poisson_four_axes": (
        lambda: ops.MaskedPoisson(np.full((2, 2, 2, 2), 2)),
        "one to three axes",
    ),
    "unknown_tag": (
        lambda: ops.Dense(np.eye(4), tags=["spd"]),
        r"unknown tags \['spd'\]; the tags are .*positive_definite",
    ),
    "symmetric_rectangle": (
        lambda: ops.Dense(np.ones((3, 4)), tags=["symmetric"]),
        "symmetric.*square|square.*symmetric",
    ),
    "nullspace_of_another_shape": (
        lambda: ops.Dense(np.eye(4), nullspace=np.ones((1, 3))),
        r"each float64\[4\], got float64\[3\]",
    ),
    "nullspace_not_stacked": (
        lambda: ops.Dense(np.eye(4), nullspace=ONES),
        r"stacked along a first axis.*got float64\[\]",
    ),
    "nullspace_of_a_function": (
        lambda: ops.Function(lambda x: x, STRUCTURE, nullspace=np.ones((1, 5))),
        r"each float64\[4\], got float64\[5\]",
    ),
    "field_of_another_shape": (
        lambda: A4 @ np.ones(5),
        r"x has structure float64\[5\], the operator expects float64\[4\]",
    ),
    "field_of_another_type": (
        lambda: A4 @ np.ones(4, np.float32),
        r"x has structure float32\[4\], the operator expects float64\[4\]",
    ),
    "field_of_another_tree": (
        lambda: A4 @ {"u": ONES},
        r"x has structure \{u: float64\[4\]\}, the operator expects float64\[4\]",
    ),
    "integer_field": (lambda: A4 @ np.arange(4), "operand of @ .*got dtype int64"),
    "sum_of_different": (
        lambda: A4 + A5,
        r"A \+ B needs .* agree, got float64\[4\] and float64\[5\]",
    ),
    "difference_of_different": (lambda: A4 - A5, r"float64\[4\] and float64\[5\]"),
    "product_of_different": (
        lambda: A4 @ A5,
        r"A @ B needs .* agree, got float64\[4\] and float64\[5\]",
    ),
    "multiple_by_an_array": (
        lambda: jnp.ones(4) * A4,
        r"multiplied by a scalar, got an array of shape \(4,\); use Diagonal",
    ),
    "complex_multiple_of_a_real_one": (
        lambda: 1j * A4,
        "complex factor needs a complex operator, got float64",
    ),
}
BAD_TYPES: dict[str, tuple[Callable[[], Any], str]] = {
    "multiple_by_an_operator": (lambda: A4 * A4, "Laplacian"),
    "sum_with_an_array": (lambda: A4 + ONES, "array|operator"),
    "sum_with_a_number": (lambda: A4 + 1.0, "float"),
    "array_times_operator": (lambda: ONES @ A4, "unsupported|operand"),
}
WIDE: dict[str, Callable[[], Any]] = {
    "dense": partial(ops.Dense, np.eye(2)),
    "banded": partial(ops.Banded, np.ones((1, 4)), (0,)),
    "diagonal": partial(ops.Diagonal, ONES),
    "diffusion": partial(ops.Diffusion, ONES),
    "complex_dense": partial(ops.Dense, np.eye(2, dtype=complex)),
    "laplacian": partial(ops.Laplacian, (4,), dtype=jnp.float64),
    "sparse": partial(ops.Sparse, ONES, [0, 1, 0, 1], [0, 2, 4], (2, 2)),
    "jacobian": partial(ops.Jacobian, jnp.sin, ONES),
    "helmholtz": partial(ops.Helmholtz, ONES, 1.0),
    "wavenumbers": partial(ops.Helmholtz, np.ones(4, np.float32), ONES),
    "convection_diffusion": partial(ops.ConvectionDiffusion, ONES, np.ones(1)),
    "masked_poisson": partial(ops.MaskedPoisson, np.full((2, 2), 2), dtype=jnp.float64),
}


@pytest.mark.parametrize(("build", "message"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_bad_value_is_refused_with_the_reason(build: Callable[[], Any], message: str):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        build()


@pytest.mark.parametrize(("build", "message"), BAD_TYPES.values(), ids=BAD_TYPES)
def test_bad_operand_is_refused_with_the_reason(build: Callable[[], Any], message: str):
    with pytest.raises(TypeError, match=message):
        build()


@pytest.mark.parametrize("factor", [np.ones(4), np.ones(1)], ids=["four", "one"])
def test_multiple_by_a_numpy_array_is_refused_like_one_of_jax(factor: np.ndarray):
    with pytest.raises((ValueError, TypeError), match=r"scalar|unsupported"):
        _ = factor * A4


@pytest.mark.parametrize("build", WIDE.values(), ids=WIDE)
def test_64_bits_are_refused_while_x64_is_off(build: Callable[[], Any]):
    with (
        jax.enable_x64(False),
        pytest.raises(
            ValueError, match=r'while jax_enable_x64 is off.*config\.update\("'
        ),
    ):
        build()


def test_laplacian_without_dtype_is_single_precision_while_x64_is_off():
    with jax.enable_x64(False):
        assert ops.Laplacian((4,)).in_structure.dtype == jnp.float32


def test_numbers_without_a_dtype_are_single_precision_while_x64_is_off():
    with jax.enable_x64(False):
        assert ops.Dense([[2.0, 1.0], [1.0, 3.0]]).in_structure.dtype == jnp.float32
