"""Sparse matrices: formats, layouts, derivatives of all orders, batches."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

from ..helpers import draw, relative_error, tolerance

Sparse: Any = kx.operators.Sparse
SHAPES = [(7, 5), (5, 9), (6, 6), (30, 4), (1, 200)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
EPS = tolerance(1, "float64", factor=100)


def pattern(shape: tuple[int, int]) -> Any:
    """A random matrix, some rows of which are empty or long."""
    rng = np.random.default_rng(0)
    return scipy.sparse.random_array(shape, density=0.4, rng=rng, format="csr")


def built(data: Any, shape: tuple[int, int]) -> Any:
    csr = pattern(shape)
    return Sparse(data, csr.indices, csr.indptr, shape)


def wave(data: Any, x: Any, shape: tuple[int, int]) -> Any:
    return jnp.sum(jnp.sin(built(data, shape).mv(x)))


def dense_wave(data: Any, x: Any, shape: tuple[int, int]) -> Any:
    csr = pattern(shape)
    rows = np.repeat(np.arange(shape[0]), np.diff(csr.indptr))
    matrix = jnp.zeros(shape).at[rows, csr.indices].add(data)
    return jnp.sum(jnp.sin(matrix @ x))


def arguments(shape: tuple[int, int]) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    data, x = pattern(shape).data, draw(rng, shape[1:], "float64")
    return jax.device_put(data), jax.device_put(x)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
def test_every_format_of_scipy_is_taken(kind: str):
    matrix = pattern((6, 6)).asformat(kind)
    assert relative_error(Sparse.from_scipy(matrix).as_matrix(), matrix.toarray()) == 0


def test_old_matrices_of_scipy_are_taken():
    matrix = scipy.sparse.csr_matrix(pattern((6, 6)))
    assert relative_error(Sparse.from_scipy(matrix).as_matrix(), matrix.toarray()) == 0


def test_places_listed_twice_add_up_and_columns_need_no_order():
    A = Sparse(np.array([1.0, 2.0, 4.0, 8.0]), [1, 0, 1, 0], [0, 3, 4], (2, 2))
    assert np.array_equal(A.as_matrix(), [[2.0, 5.0], [8.0, 0.0]])
    assert np.array_equal(A @ jnp.array([1.0, 10.0]), [52.0, 8.0])
    assert np.array_equal(A.diagonal(), [2.0, 0.0])


def test_a_matrix_without_numbers_is_zero():
    A = Sparse(np.zeros(0), [], [0, 0, 0], (2, 3))
    assert np.array_equal(A @ np.ones(3), np.zeros(2))
    assert np.array_equal(A.T @ np.ones(2), np.zeros(3))


@each_shape
def test_transpose_of_the_transpose_is_the_matrix(shape: tuple[int, int]):
    A, matrix = Sparse.from_scipy(pattern(shape)), pattern(shape).toarray()
    once, twice = jax.jit(lambda A: (A.T.as_matrix(), A.T.T.as_matrix()))(A)
    assert relative_error(once, matrix.T) == 0
    assert relative_error(twice, matrix) == 0


@pytest.mark.parametrize("position", [0, 1], ids=["data", "x"])
@each_shape
def test_gradient_is_that_of_the_dense_matrix(shape: tuple[int, int], position: int):
    got, expected = (
        jax.jit(jax.grad(partial(f, shape=shape), position))(*arguments(shape))
        for f in (wave, dense_wave)
    )
    assert relative_error(got, expected) <= EPS


@pytest.mark.parametrize(
    ("second", "first", "outer", "inner"),
    [
        (jax.jacfwd, jax.jacrev, 0, 0),
        (jax.jacrev, jax.jacfwd, 0, 1),
        (jax.jacfwd, jax.jacrev, 1, 0),
        (jax.jacrev, jax.jacrev, 1, 1),
    ],
)
def test_second_derivative_is_that_of_the_dense_matrix(
    second: Callable, first: Callable, outer: int, inner: int
):
    got, expected = (
        jax.jit(second(first(partial(f, shape=(6, 6)), inner), outer))(
            *arguments((6, 6))
        )
        for f in (wave, dense_wave)
    )
    assert relative_error(got, expected) <= EPS


@pytest.mark.parametrize("position", [0, 1], ids=["data", "x"])
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_gradient_of_a_batch_is_that_of_the_dense_matrices(
    axes: tuple[Any, Any], position: int
):
    given = tuple(
        arg if axis is None else np.stack([arg, 2 * arg])
        for arg, axis in zip(arguments((5, 9)), axes, strict=True)
    )

    def total(function: Any, *args: Any) -> Any:
        return jnp.sum(jax.vmap(lambda d, x: function(d, x, (5, 9)), axes)(*args))

    got, expected = (
        jax.jit(jax.grad(partial(total, function), position))(*given)
        for function in (wave, dense_wave)
    )
    assert relative_error(got, expected) <= EPS


def test_transposing_a_batch_within_a_batch_is_the_product_with_the_transpose():
    A, matrix = Sparse.from_scipy(pattern((5, 9))), pattern((5, 9)).toarray()
    xs, ys = jnp.zeros((2, 3, 9)), draw(np.random.default_rng(0), (2, 3, 5), "float64")
    (got,) = jax.jit(jax.linear_transpose(jax.vmap(A.mm), xs))(ys)
    assert relative_error(got, ys @ matrix) <= EPS


def test_transposing_the_product_scatters_nothing():
    A = Sparse.from_scipy(scipy.sparse.eye_array(50, format="csr"))
    assert A.layout.rest_rows.size == 0

    def transposed(y: Any) -> Any:
        return jax.linear_transpose(A.mv, y)(y)

    assert "scatter" not in jax.jit(transposed).lower(jnp.ones(50)).as_text()


def test_padding_has_no_gradient():
    A = Sparse(np.ones(4), [0, 1, 2, 0], [0, 3, 4], (2, 3))
    gradient = jax.grad(lambda A: jnp.sum(A.mv(jnp.ones(3))), allow_int=True)(A)
    assert np.sum(A.values == 0) == np.sum(gradient.values == 0)
    assert np.sum(gradient.values) == 4


def test_pattern_may_be_closed_over_while_data_is_traced():
    csr = pattern((6, 6))
    got = jax.jit(lambda data, x: built(data, (6, 6)) @ x)(*arguments((6, 6)))
    assert relative_error(got, csr @ arguments((6, 6))[1]) <= EPS


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_product_in_a_compiled_loop_is_that_of_numpy(dtype: str):
    matrix = pattern((6, 6)).toarray().astype(dtype) / 4
    A = Sparse.from_scipy(scipy.sparse.csr_array(matrix))
    x = draw(np.random.default_rng(2), (6,), dtype)
    step = jax.jit(lambda A, x: jax.lax.fori_loop(0, 5, lambda _, y: y - A.mv(y), x))
    expected = np.linalg.matrix_power(np.eye(6) - matrix, 5) @ x
    assert relative_error(step(A, x), expected) <= tolerance(1, dtype, factor=100)


def test_long_rows_are_cut_at_the_width_that_a_third_of_the_rows_fill():
    counts = [9, 2, 2, 1, 1, 1]
    indptr = np.r_[0, np.cumsum(counts)]
    indices = np.concatenate([np.arange(count) for count in counts])
    A = Sparse(np.ones(len(indices)), indices, indptr, (6, 9))
    assert A.layout.extent.width == 2
    assert A.layout.rest_rows.tolist() == [0] * 7
    assert np.array_equal(A @ np.ones(9), counts)


def test_numbers_are_stored_once():
    A = Sparse.from_scipy(pattern((6, 6)))
    floating = [
        leaf for leaf in jax.tree.leaves(A) if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    assert len(floating) == 1
