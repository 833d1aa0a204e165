import operator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import relative_error, tolerance

Function = kx.operators.Function
MATRIX = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 4.0]])
X = jnp.array([1.0, -2.0, 3.0])
VECTOR = jax.ShapeDtypeStruct((3,), jnp.float64)


def test_plain_function_goes_through_plain_jit():
    A = Function(jnp.cumsum, VECTOR)
    assert np.array_equal(jax.jit(lambda A, x: A @ x)(A, X), np.cumsum(X))


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_function_may_hold_arrays_of_numpy_or_jax(array: Any):
    A = Function(jax.tree_util.Partial(operator.matmul, array(MATRIX)), VECTOR)
    assert relative_error(A @ X, MATRIX @ np.asarray(X)) <= tolerance(1, "float64")


def test_partial_of_the_standard_library_is_a_plain_function():
    A = Function(partial(jnp.matmul, jnp.asarray(MATRIX)), VECTOR)
    assert relative_error(A.T @ X, MATRIX.T @ np.asarray(X)) <= tolerance(1, "float64")


def test_gradient_flows_to_the_leaves_of_the_function():
    def value(matrix: Any) -> Any:
        A = Function(jax.tree_util.Partial(jnp.matmul, matrix), VECTOR)
        return jnp.sum(A @ X)

    assert np.array_equal(jax.grad(value)(jnp.asarray(MATRIX)), np.tile(X, (3, 1)))


def test_gradient_flows_to_what_the_function_closes_over():
    def value(matrix: Any) -> Any:
        return jnp.sum(Function(lambda x: matrix @ x, VECTOR) @ X)

    assert np.array_equal(jax.grad(value)(jnp.asarray(MATRIX)), np.tile(X, (3, 1)))


def test_structure_of_a_field_made_from_python_numbers_fits_it():
    # jnp.full gives a weak type, which is no part of a field's structure.
    x = jnp.full((3,), 2.0)
    A = Function(jnp.cumsum, jax.eval_shape(lambda: x))
    assert (A @ x).tolist() == [2, 4, 6]


def test_transpose_maps_back_between_different_fields():
    A = Function(lambda x: {"sum": jnp.sum(x), "twice": 2 * x}, VECTOR)
    got = A.T @ {"sum": jnp.array(1.0), "twice": X}
    assert np.array_equal(got, 1 + 2 * X)
    assert A.T.out_structure == VECTOR


def test_declared_null_vectors_are_made_orthonormal():
    vectors = np.array([[1.0, 1.0, 0.0], [1.0, 2.0, 0.0]])
    A = Function(lambda x: x, VECTOR, nullspace=vectors)
    N = np.asarray(A.nullspace)
    assert relative_error(N @ N.T, np.eye(2)) <= tolerance(1, "float64")
    assert np.linalg.norm(N[:, 2]) <= tolerance(1, "float64")
