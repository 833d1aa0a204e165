"""Wrong input to operators is refused: what was wrong, what was got, the remedy."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

ops: Any = kx.operators  # whatever the types say: users get them wrong
ONES = np.ones(4)
pytestmark = pytest.mark.usefixtures("as_users_run_it")
STRUCTURE = jax.ShapeDtypeStruct((4,), jnp.float64)
EMPTY = jax.ShapeDtypeStruct((0,), jnp.float64)
INTEGERS = jax.ShapeDtypeStruct((4,), jnp.int64)
COMPLEX = jax.ShapeDtypeStruct((4,), jnp.complex128)
SINGLE = np.ones(4, np.float32)
A4: Any = ops.Laplacian((4,))
A5: Any = ops.Laplacian((5,))


def holding(value: float) -> np.ndarray:
    return np.array([1.0, value, 1.0, 1.0])


HALF = ("periodic", "neumann")
LINE = partial(ops.Laplacian, shape=(4,))
PLANE = partial(ops.Laplacian, shape=(4, 4))
POOL = partial(ops.MaskedPoisson, cells=np.full((2, 2), 2))
MIXED = ("neumann", "dirichlet")
CELLS = partial(ops.Diffusion, coefficient=ONES)
FLOW = partial(ops.ConvectionDiffusion, coefficient=ONES, velocity=np.ones(1))
WAVE = partial(ops.Helmholtz, ONES)
SPARSE = partial(ops.Sparse, ONES, indices=[0, 1, 0, 1], indptr=[0, 2, 4], shape=(2, 2))
BAD_VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    "dense_vector": (lambda: ops.Dense(ONES), r"two axes, got shape \(4,\).*vmap"),
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
    "sparse_traced_pattern": (
        lambda: jax.jit(lambda i: ops.Sparse(ONES, i, [0, 2, 4], (2, 2)))(
            jnp.array([0, 1, 0, 1])
        ),
        "indices must be known when the operator is built, got a traced array",
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
    "kronecker_of_trees": (
        lambda: ops.Kronecker(ops.Identity({"u": STRUCTURE})),
        r"vectors to vectors, got factor 0 from \{u: float64\[4\]\}",
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
    "function_from_real_to_complex": (
        lambda: ops.Function(jnp.fft.rfft, STRUCTURE),
        r"complex to complex ones, got one from float64\[4\] to complex128\[3",
    ),
    "helmholtz_negative_coefficient": (
        lambda: ops.Helmholtz(-ONES, 1.0),
        "coefficient must be positive in every cell",
    ),
    "tags_of_none": (
        lambda: ops.Dense(np.eye(4), tags=None),
        "tags must be names among .*positive_definite.*, got None",
    ),
    "offsets_of_none": (
        lambda: ops.Banded(np.ones((1, 4)), None),
        "offsets must be integers, column minus row, got None",
    ),
    "block_of_a_number": (lambda: ops.Block(3), "sequence of rows, .*got 3"),
    "couplings_of_a_list": (
        lambda: ops.Stencil.of(ONES, [1.0]),
        "couplings must be weights by offset",
    ),
    "factor_of_none": (lambda: ops.Scaled(None, A4), "factor must be a number, got"),
    "key_of_a_number": (
        lambda: ops.check_operator(A4, 0),
        r"key must be one random key, such as jax.random.key\(0\), got 0",
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
        r"each float64\[4\], got float64\[1, 3\]",
    ),
    "nullspace_not_stacked": (
        lambda: ops.Dense(np.eye(4), nullspace=ONES),
        r"stacked along a first axis.*got float64\[4\]",
    ),
    "nullspace_of_a_function": (
        lambda: ops.Function(lambda x: x, STRUCTURE, nullspace=np.ones((1, 5))),
        r"each float64\[4\], got float64\[1, 5\]",
    ),
    "nullspace_misspelt": (
        lambda: ops.Dense(np.eye(4), nullspace="constants"),
        "must be .constant. or null vectors, got 'constants'",
    ),
    "nullspace_of_none": (
        lambda: ops.Dense(np.eye(4), nullspace=np.ones((0, 4))),
        "must hold 1 to 4 independent vectors, got 0",
    ),
    "nullspace_of_too_many": (
        lambda: ops.Dense(np.eye(4), nullspace=np.ones((5, 4))),
        "must hold 1 to 4 independent vectors, got 5",
    ),
    "nullspace_of_ragged_counts": (
        lambda: ops.Function(
            lambda x: x,
            (STRUCTURE, STRUCTURE),
            nullspace=(np.ones((1, 4)), np.ones((2, 4))),
        ),
        r"stacked along a first axis.*got \(float64\[1, 4\], float64\[2, 4\]\)",
    ),
    "nullspace_nan": (
        lambda: ops.Dense(np.eye(4), nullspace=holding(np.nan)[None]),
        "nullspace must be finite, got 1 of 4 values",
    ),
    "nullspace_of_a_rectangle": (
        lambda: ops.Dense(np.ones((2, 4)), nullspace="constant"),
        r"only a square operator has a declared null space.*float64\[4\] to float64\[2",
    ),
    "nullspace_of_a_definite_operator": (
        lambda: ops.Dense(np.eye(4), tags="positive_definite", nullspace="constant"),
        "positive definite operator has no null vectors",
    ),
    "definite_and_singular": (
        lambda: ops.Diagonal(ONES, tags=["positive_definite", "singular"]),
        "not both positive definite and singular",
    ),
    "field_of_numbers": (
        lambda: A4([1.0, 2.0, 3.0, 4.0]),
        r"x has structure \[float64\[\].*the operator expects float64\[4\]",
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
    "multiple_by_a_list": (lambda: [1.0, 2.0] * A4, "sequence"),
    "multiple_by_nothing": (lambda: A4 * None, "None"),
    "kronecker_of_an_array": (
        lambda: ops.Kronecker(np.eye(2)),
        "must be linear operators, got a ndarray as factor 0; wrap a matrix in Dense",
    ),
    "function_of_none": (
        lambda: ops.Function(None, STRUCTURE),
        "function must be a function of a field, got None",
    ),
    "division_by_nothing": (lambda: A4 / None, "None"),
    "inverse_of_an_array": (
        lambda: ops.Inverse(np.eye(4), kx.solvers.CG()),
        "operator must be a linear operator, got ndarray; wrap a matrix in Dense",
    ),
    "transpose_of_an_array": (
        lambda: ops.Transpose(np.eye(4)),
        "operator must be a linear operator, got ndarray",
    ),
    "block_of_an_array": (
        lambda: ops.Block([[np.eye(2)]]),
        "blocks must be linear operators or None, got ndarray",
    ),
}
OPTIONS: dict[str, tuple[Callable, dict[str, Any], str]] = {
    "four_axes": (LINE, {"shape": (2,) * 4}, r"one to three axes.*\(2, 2, 2, 2\)"),
    "no_axis": (LINE, {"shape": ()}, r"one to three axes.*got shape \(\)"),
    "one_node": (LINE, {"shape": (3, 1)}, r"at least two points each.*\(3, 1\)"),
    "no_sequence": (LINE, {"shape": 1}, "at least two points each, got shape"),
    "fraction": (LINE, {"shape": (3.5,)}, "shape.*3.5"),
    "integers": (LINE, {"dtype": int}, "dtype.*floating.*int64"),
    "integer_masked": (POOL, {"dtype": int}, "dtype must be floating.*int64"),
    "masked_axes": (POOL, {"cells": np.full((2,) * 4, 2)}, "one to three axes"),
    "negative_spacing": (LINE, {"spacing": -0.5}, "positive and finite, got -0.5"),
    "zero_spacing": (PLANE, {"spacing": (1.0, 0.0)}, "spacing must be positive"),
    "nan_spacing": (LINE, {"spacing": np.nan}, "positive and finite, got nan"),
    "spacings": (PLANE, {"spacing": (1.0,) * 3}, r"each of the 2 axes.*\(3,\)"),
    "unknown_boundary": (LINE, {"boundary": "robin"}, "dirichlet.*periodic.*robin"),
    "half_periodic": (LINE, {"boundary": [HALF]}, "on both faces or on none, got"),
    "boundary_missing": (PLANE, {"boundary": ["neumann"]}, "2 axes, got 1 entries"),
    "no_boundary": (LINE, {"boundary": None}, "one of .*for each axis.*, got None"),
    "boundary_number": (LINE, {"boundary": [2.0]}, r"\(low, high\) pair.*got 2.0"),
    "complex_spacing": (LINE, {"spacing": 1j}, "spacing must be real numbers, got 1j"),
    "spacing_text": (LINE, {"spacing": "1"}, "spacing must be real numbers, got '1'"),
    "spacing_flag": (LINE, {"spacing": True}, "must be real numbers, got True"),
    "unknown_dtype": (LINE, {"dtype": "real"}, "floating or complex type.*got 'real'"),
    "null_vectors": (LINE, {"nullspace": np.ones((1, 4))}, "None, got array"),
    "mean_array": (CELLS, {"face_mean": ONES}, "one of .*harmonic.*got array"),
    "three_faces": (LINE, {"boundary": [("neumann",) * 3]}, r"\(low, high\) pair.*got"),
    "false_nullspace": (LINE, {"nullspace": "constant"}, "makes .*nonsingular; leave"),
    "false_in_flow": (FLOW, {"nullspace": "constant"}, "Dirichlet face makes"),
    "unknown_nullspace": (LINE, {"nullspace": "linear"}, "None, got .linear"),
    "insulator": (
        CELLS,
        {"coefficient": holding(0.0)},
        "in every cell, got 0.0 .*small",
    ),
    "negative": (CELLS, {"coefficient": holding(-2.0)}, "in every cell, got -2.0"),
    "one_number": (CELLS, {"coefficient": np.array(1.0)}, "one to three axes"),
    "one_cell": (CELLS, {"coefficient": np.ones(1)}, r"got shape \(1,\)"),
    "unknown_mean": (CELLS, {"face_mean": "geometric"}, "harmonic.*got 'geometric'"),
    "one_wall": (CELLS, {"boundary": [MIXED], "nullspace": "constant"}, "nonsingular"),
    "mask": (POOL, {"cells": np.ones((2, 2), bool)}, r"dtype bool.*jnp\.where"),
    "unknown_cell": (POOL, {"cells": np.array([2, 4])}, r"3 \(air\).*got \[2, 4\]"),
    "dry": (
        POOL,
        {"cells": np.array([1, 3])},
        r"at least one fluid cell, got \[1, 3\]",
    ),
    "complex_flow": (FLOW, {"velocity": np.ones(1, complex)}, "real, got .*complex128"),
    "flow_shape": (
        FLOW,
        {"velocity": np.ones((2, 4))},
        r"\(1, 4\) or \(1,\), got \(2, 4",
    ),
    "wave_shape": (
        WAVE,
        {"wavenumber_squared": np.ones(3)},
        r"\(4,\), got shape \(3,\)",
    ),
    "sparse_length": (SPARSE, {"indices": [0, 1]}, r"same length.*\(4,\) and \(2,\)"),
    "column": (SPARSE, {"indices": [0, 1, 2, -1]}, "got 2 and 1 more outside"),
    "falling": (
        SPARSE,
        {"indptr": [0, 5, 4]},
        "rise from 0 .* values, 4, in 3 entries",
    ),
    "row_missing": (SPARSE, {"indptr": [0, 4]}, r"got 2 entries.*Sparse\.from_scipy"),
    "fractional": (SPARSE, {"indices": ONES}, r"got float64 of shape \(4,\)"),
    "sparse_shape": (SPARSE, {"shape": (2,)}, r"two positive integers.*got \(2,\)"),
    "sparse_huge": (SPARSE, {"shape": (2, 2**31)}, "below 2³¹"),
    "unknown_scheme": (FLOW, {"scheme": "quick"}, "one of .*central.*got 'quick'"),
    "unknown_form": (FLOW, {"form": "skew"}, "one of .*advective.*got 'skew'"),
}
TAKERS: dict[str, Callable[[Any], Any]] = {
    "matrix": lambda a: ops.Dense(a[None]),
    "diagonals": lambda a: ops.Banded(a[None], (0,)),
    "data": lambda a: ops.Sparse(a, [0, 1, 0, 1], [0, 2, 4], (2, 2)),
    "coefficient": ops.Diffusion,
    "wavenumber_squared": lambda a: ops.Helmholtz(SINGLE, a),
    "velocity": lambda a: ops.ConvectionDiffusion(SINGLE, a[None]),
    "values": ops.Diagonal,
    "point": partial(ops.Jacobian, jnp.sin),
}
each_taker = pytest.mark.parametrize(("name", "build"), TAKERS.items(), ids=TAKERS)
STRUCTURES: dict[str, tuple[Any, str]] = {
    "shape": ((3, 4), r"jax.ShapeDtypeStruct, got 3; .*eval_shape"),
    "nothing": ({}, "at least one entry in every array"),
    "no_entry": ({"u": STRUCTURE, "v": EMPTY}, r"in every array.*v: float64\[0\]"),
    "integers": (INTEGERS, "floating or complex dtype.*int64"),
    "two_precisions": (
        (STRUCTURE, jax.eval_shape(lambda: SINGLE)),
        "one floating.*float64.*float32",
    ),
    "real_and_complex": ((STRUCTURE, COMPLEX), "one floating.*float64.*complex128"),
}
each_structure = pytest.mark.parametrize(
    ("structure", "message"), STRUCTURES.values(), ids=STRUCTURES
)
WIDE: dict[str, Callable[[], Any]] = {
    "laplacian": partial(ops.Laplacian, (4,), dtype=jnp.float64),
    "masked_poisson": partial(ops.MaskedPoisson, np.full((2, 2), 2), dtype=jnp.float64),
    "identity": partial(ops.Identity, STRUCTURE),
    "function": partial(ops.Function, lambda x: x, STRUCTURE),
}
RECTANGLES: dict[str, Any] = {
    "dense": ops.Dense(np.ones((2, 3))),
    "function": ops.Function(lambda x: x[:2], STRUCTURE),
    "sparse": ops.Sparse(ONES, [0, 1, 0, 1], [0, 2, 4], (2, 3)),
    "kronecker": ops.Kronecker(ops.Dense(np.ones((2, 3))), ops.Dense(np.ones((3, 2)))),
    "block": ops.Block([[A4], [A4]]),
    "sum": ops.Dense(np.ones((2, 3))) + ops.Dense(np.ones((2, 3))),
}


@pytest.mark.parametrize(("build", "message"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_bad_value_is_refused_with_the_reason(build: Callable[[], Any], message: str):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        build()


@pytest.mark.parametrize(("build", "options", "message"), OPTIONS.values(), ids=OPTIONS)
def test_bad_option_is_refused_with_the_reason(
    build: Callable, options: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(("build", "message"), BAD_TYPES.values(), ids=BAD_TYPES)
def test_bad_operand_is_refused_with_the_reason(build: Callable[[], Any], message: str):
    with pytest.raises(TypeError, match=message):
        build()


@pytest.mark.parametrize("factor", [np.ones(4), np.ones(1)], ids=["four", "one"])
def test_multiple_by_a_numpy_array_is_refused_like_one_of_jax(factor: np.ndarray):
    with pytest.raises((ValueError, TypeError), match=r"scalar|unsupported"):
        _ = factor * A4


@pytest.mark.parametrize("dtype", [int, bool])
@each_taker
def test_integers_are_refused_by_name(name: str, build: Callable, dtype: Any):
    message = (
        f"{name} must be .*floating or complex.*got dtype {np.dtype(dtype)}.*astype"
    )
    with pytest.raises(ValueError, match=message):
        build(np.ones(4, dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@each_taker
def test_nonfinite_numbers_are_refused_but_of_diagonals_and_points(
    name: str, build: Callable, value: float
):
    # A solve reports those by its status: Jacobi() divides by the diagonal.
    is_taken = name in ("values", "point")
    refusal = pytest.raises(ValueError, match=f"{name} must be finite, got 1 of 4")
    with nullcontext() if is_taken else refusal:
        build(holding(value))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@each_taker
def test_64_bits_are_refused_by_name_while_x64_is_off(
    name: str, build: Callable, dtype: Any
):
    message = rf'{name} asks for .*while jax_enable_x64 is off.*config\.update\("'
    with jax.enable_x64(False), pytest.raises(ValueError, match=message):
        build(np.ones(4, dtype))


@pytest.mark.parametrize("build", WIDE.values(), ids=WIDE)
def test_64_bit_fields_are_refused_while_x64_is_off(build: Callable[[], Any]):
    message = "asks for float64 while jax_enable_x64 is off"
    with jax.enable_x64(False), pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("build", [ops.Identity, partial(ops.Function, lambda x: x)])
@each_structure
def test_what_is_no_field_is_refused(build: Callable, structure: Any, message: str):
    with pytest.raises(ValueError, match=message):
        build(structure)


@pytest.mark.parametrize(
    "build",
    [
        lambda: ops.Dense(np.zeros((0, 0))),
        lambda: ops.Diagonal(np.zeros(0)),
        lambda: ops.Function(lambda x: x > 0, STRUCTURE),
        lambda: ops.Block([[A4, None], [None, ops.Diagonal(SINGLE)]]),
    ],
    ids=["dense", "diagonal", "function", "block"],
)
def test_operators_between_what_is_no_field_are_refused(build: Callable[[], Any]):
    with pytest.raises(ValueError, match=r"field must have"):
        build()


@pytest.mark.parametrize("operator", RECTANGLES.values(), ids=RECTANGLES)
def test_a_rectangle_has_no_diagonal(operator: Any):
    with pytest.raises(ValueError, match="only a square operator has a diagonal, got"):
        operator.diagonal()


def test_laplacian_without_dtype_is_single_precision_while_x64_is_off():
    with jax.enable_x64(False):
        assert ops.Laplacian((4,)).in_structure.dtype == jnp.float32


def test_numbers_without_a_dtype_are_single_precision_while_x64_is_off():
    with jax.enable_x64(False):
        assert ops.Dense([[2.0, 1.0], [1.0, 3.0]]).in_structure.dtype == jnp.float32
