"""Reductions of fields to numbers, and their arithmetic, against NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.operators import _arithmetic as arithmetic
from krylax.operators._arithmetic import power_of_two
from krylax.solvers import InnerProduct

from ...helpers import draw, relative_error, to_vector, tolerance

DTYPES = ["float32", "float64", "complex64", "complex128"]
SHAPES = {"x": (4, 3), "y": (8,)}
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def field(seed: int, dtype: str, *rows: int) -> dict[str, Any]:
    """A random field of two leaves; a block of them with a number of rows."""
    rng = np.random.default_rng(seed)
    return {name: draw(rng, (*rows, *SHAPES[name]), dtype) for name in SHAPES}


def flat(block: Any) -> np.ndarray:
    """A block of fields as a matrix with a row for each."""
    return np.concatenate(
        [np.reshape(leaf, (len(leaf), -1)) for leaf in block.values()], axis=1
    )


def reductions(inner_product: InnerProduct, x: Any, y: Any, rows: Any, others: Any):
    """Every number that an inner product makes of fields."""
    return {
        "dot": inner_product.dot(x, y),
        "dots": jnp.stack(inner_product.dots((x, y), (y, x))),
        "norm": inner_product.norm(x),
        "max_abs": inner_product.max_abs(x),
        "block_dot": inner_product.block_dot(rows, y),
        "gram": inner_product.gram(rows, others),
    }


def by_numpy(x: Any, y: Any, rows: Any, others: Any) -> dict[str, Any]:
    """The same by NumPy."""
    x, y, rows, others = to_vector(x), to_vector(y), flat(rows), flat(others)
    return {
        "dot": np.vdot(x, y),
        "dots": np.array([np.vdot(x, y), np.vdot(y, x)]),
        "norm": np.linalg.norm(x),
        "max_abs": np.max(np.abs(x)),
        "block_dot": rows.conj() @ y,
        "gram": rows.conj() @ others.T,
    }


def arguments(dtype: str) -> tuple[Any, ...]:
    blocks = field(3, dtype, 3), field(4, dtype, 2)
    return field(1, dtype), field(2, dtype), *blocks


@each_dtype
def test_reductions_over_a_field_are_those_of_numpy(dtype: str):
    given = arguments(dtype)
    found = jax.jit(reductions)(InnerProduct(), *given)
    expected = by_numpy(*given)
    errors = {name: relative_error(found[name], expected[name]) for name in expected}
    assert max(errors.values()) <= tolerance(1, dtype), errors


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_reductions_over_a_mapped_axis_are_those_of_the_whole_field(dtype: str):
    given = arguments(dtype)
    # Two devices with two rows of x each and four entries of y.
    halves = [jax.tree.map(lambda a: np.split(a, 2), x) for x in given[:2]]
    halves += [jax.tree.map(lambda a: np.split(a, 2, axis=1), x) for x in given[2:]]
    is_list = {"is_leaf": lambda node: isinstance(node, list)}
    spread = [jax.tree.map(np.stack, x, **is_list) for x in halves]
    mapped = jax.vmap(
        lambda *local: reductions(InnerProduct("devices"), *local),
        axis_name="devices",
    )
    found, expected = jax.jit(mapped)(*spread), by_numpy(*given)
    errors = {name: relative_error(found[name][1], expected[name]) for name in expected}
    assert max(errors.values()) <= tolerance(1, dtype), errors


def test_dots_over_a_mapped_axis_take_one_reduction():
    x = jnp.ones((2, 3))

    def dots(x: Any) -> Any:
        return InnerProduct("devices").dots((x, x), (2 * x, x), (x, 3 * x))

    program = jax.make_jaxpr(jax.vmap(dots, axis_name="devices"))(x)
    assert str(program).count("psum[") == 1


def test_norm_has_derivative_zero_at_zero():
    assert not np.any(jax.grad(InnerProduct().norm)(jnp.zeros(3)))


@each_dtype
def test_arithmetic_of_fields_is_that_of_their_vectors(dtype: str):
    x, y = field(1, dtype), field(2, dtype)
    factor = np.asarray(0.75, dtype)
    u, v = to_vector(x), to_vector(y)
    expected = {
        "add": u + v,
        "subtract": u - v,
        "scale": factor * u,
        "add_scaled": u + factor * v,
        "divide": u / factor,
        "conj": u.conj(),
        "zeros_like": 0 * u,
        "select": u,
        "select_other": v,
    }

    @jax.jit
    def compute(x: Any, y: Any, factor: Any, is_first: Any) -> dict[str, Any]:
        return {
            "add": arithmetic.add(x, y),
            "subtract": arithmetic.subtract(x, y),
            "scale": arithmetic.scale(factor, x),
            "add_scaled": arithmetic.add_scaled(x, factor, y),
            "divide": arithmetic.divide(x, factor),
            "conj": arithmetic.conj(x),
            "zeros_like": arithmetic.zeros_like(x),
            "select": arithmetic.select(is_first, x, y),
            "select_other": arithmetic.select(~is_first, x, y),
        }

    found = compute(x, y, factor, np.asarray(True))
    errors = {
        name: relative_error(to_vector(found[name]), vector)
        for name, vector in expected.items()
    }
    assert max(errors.values()) <= tolerance(1, dtype), errors
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {dtype}


@each_dtype
def test_combinations_of_rows_are_products_with_their_matrix(dtype: str):
    rows, matrix = field(3, dtype, 3), draw(np.random.default_rng(5), (3, 2), dtype)
    factors = np.arange(1.0, 4.0)
    combined, recombined, scaled = jax.jit(
        lambda c, factors, rows: (
            arithmetic.combine(c[:, 0], rows),
            arithmetic.recombine(c, rows),
            arithmetic.scale_rows(factors, rows),
        )
    )(matrix, factors, rows)
    slack = tolerance(1, dtype)
    assert relative_error(to_vector(combined), matrix[:, 0] @ flat(rows)) <= slack
    assert relative_error(flat(recombined), matrix.T @ flat(rows)) <= slack
    expected = factors[:, None].astype(dtype) * flat(rows)
    assert relative_error(flat(scaled), expected) <= slack


def test_quotients_by_zero_are_zero():
    below = jnp.array([2.0, 0.0, -4.0, np.nan])
    found = arithmetic.ratio(jnp.full(4, 8.0), below)
    assert np.array_equal(found, [4.0, 0.0, -2.0, np.nan], equal_nan=True)


def test_reciprocals_of_what_is_no_length_are_zero():
    sizes = jnp.array([2.0, 0.0, -4.0, np.nan])
    assert arithmetic.reciprocal(sizes).tolist() == [0.5, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("function", ["root", "reciprocal"])
def test_derivative_at_zero_is_zero(function: str):
    assert jax.grad(getattr(arithmetic, function))(0.0) == 0


@pytest.mark.parametrize(
    ("tree", "is_finite"),
    [
        ({"a": np.ones(2), "b": np.arange(3)}, True),
        ({"a": np.ones(2), "b": np.array([1.0, np.inf])}, False),
        ({"a": np.array(np.nan * 1j), "b": "no array"}, False),
        ({"b": np.arange(3)}, True),
    ],
)
def test_a_single_entry_that_is_not_finite_counts(tree: Any, is_finite: bool):
    assert bool(arithmetic.all_finite(tree)) == is_finite


def test_products_are_of_full_precision():
    # A TPU would round the factors to 16 bits, some GPUs to 19.
    rows, x = jnp.ones((2, 3), jnp.float32), jnp.ones(3, jnp.float32)
    functions = {
        "block_dot": lambda: InnerProduct().block_dot(rows, x),
        "gram": lambda: InnerProduct().gram(rows, rows),
        "dot": lambda: InnerProduct().dot(x, x),
        "combine": lambda: arithmetic.combine(x[:2], rows),
        "recombine": lambda: arithmetic.recombine(rows.T[:2], rows),
    }
    texts = {name: str(jax.make_jaxpr(f)()) for name, f in functions.items()}
    assert [name for name in texts if "HIGHEST" not in texts[name]] == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_power_of_two_is_near_and_divides_without_rounding(dtype: str):
    limits = np.finfo(dtype)
    # From the smallest normal numbers, of which there are no smaller powers, to the
    # largest.
    sizes = np.geomspace(4 * limits.tiny, limits.max / 4, 97).astype(dtype)
    sizes = np.r_[sizes, np.exp2(np.arange(-20, 20)), limits.max].astype(dtype)
    powers = np.asarray(jax.jit(jax.vmap(power_of_two))(sizes))
    assert np.all(np.frexp(powers)[0] == 0.5)
    assert np.all((sizes / powers >= 1) & (sizes / powers <= 2))


@pytest.mark.parametrize("size", [0.0, np.inf, np.nan])
def test_power_of_two_is_one_where_there_is_no_size(size: float):
    assert power_of_two(jnp.asarray(size)) == 1


def test_power_of_two_has_no_derivative():
    assert jax.grad(power_of_two)(3.0) == 0
