from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import relative_error, to_vector, tolerance

TREE = {
    "u": jax.ShapeDtypeStruct((2, 2), jnp.float64),
    "v": jax.ShapeDtypeStruct((3,), jnp.float64),
}
HERMITIAN = np.array([[1.0, 1.0j], [-1.0j, 1.0]])
NULL = np.array([[1.0, 1.0j]])


def same(x: Any) -> Any:
    return x


def test_constant_of_a_tree_is_normalised_over_all_leaves():
    A = kx.operators.Function(same, TREE, nullspace="constant")
    vector = to_vector(jax.tree.map(lambda leaf: leaf[0], A.nullspace))
    assert relative_error(vector, np.full(7, 7**-0.5)) <= tolerance(1, "float64")


def test_vectors_of_a_tree_are_orthonormal_over_all_leaves():
    vectors = {"u": jnp.ones((1, 2, 2)), "v": jnp.zeros((1, 3))}
    A = kx.operators.Function(same, TREE, nullspace=vectors)
    expected = np.r_[np.full(4, 0.5), np.zeros(3)]
    got = to_vector(A.nullspace)
    assert relative_error(np.abs(got), expected) <= tolerance(1, "float64")


@pytest.mark.parametrize("of", ["T", "H"])
def test_null_vectors_of_a_transposed_complex_matrix_are_null(of: str):
    A = kx.operators.Dense(HERMITIAN, tags=["positive_semidefinite"], nullspace=NULL)
    transposed = getattr(A, of)
    residual = transposed.mm(transposed.nullspace)
    assert np.linalg.norm(residual) <= tolerance(1, "complex128")


def test_null_vectors_of_a_conjugated_complex_matrix_are_null():
    A = kx.operators.Dense(HERMITIAN, tags=["positive_semidefinite"], nullspace=NULL)
    conjugate = kx.operators.Conjugate(A)
    residual = conjugate.mm(conjugate.nullspace)
    assert np.linalg.norm(residual) <= tolerance(1, "complex128")


def test_dependent_null_vectors_are_refused():
    with pytest.raises(ValueError, match="independent"):
        kx.operators.Dense(np.diag([0.0, 1.0, 2.0]), nullspace=np.eye(3)[[0, 0]])
