from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_array

import krylax as kx

from ..helpers import relative_error, to_vector, tolerance

ops: Any = kx.operators
PAIR = jax.ShapeDtypeStruct((2,), jnp.complex128)
TREE = {
    "u": jax.ShapeDtypeStruct((2, 2), jnp.float64),
    "v": jax.ShapeDtypeStruct((3,), jnp.float64),
}
HERMITIAN = np.array([[1.0, 1.0j], [-1.0j, 1.0]])
NULL = np.array([[1.0, 1.0j]])


def same(x: Any) -> Any:
    return x


def test_constant_of_a_tree_is_normalised_over_all_leaves():
    A = ops.Function(same, TREE, nullspace="constant")
    vector = to_vector(jax.tree.map(lambda leaf: leaf[0], A.nullspace))
    assert relative_error(vector, np.full(7, 7**-0.5)) <= tolerance(1, "float64")


def test_vectors_of_a_tree_are_orthonormal_over_all_leaves():
    vectors = {"u": jnp.ones((1, 2, 2)), "v": jnp.zeros((1, 3))}
    A = ops.Function(same, TREE, nullspace=vectors)
    expected = np.r_[np.full(4, 0.5), np.zeros(3)]
    got = to_vector(A.nullspace)
    assert relative_error(np.abs(got), expected) <= tolerance(1, "float64")


OPERATORS: dict[str, Any] = {
    "dense": ops.Dense(HERMITIAN, nullspace=NULL),
    "sparse": ops.Sparse.from_scipy(csr_array(HERMITIAN), nullspace=NULL),
    "banded": ops.Banded(
        np.array([[-1.0j, 0], [1, 1], [0, 1.0j]]), (-1, 0, 1), nullspace=NULL
    ),
    "function": ops.Function(
        lambda x: jnp.asarray(HERMITIAN) @ x, PAIR, nullspace=NULL
    ),
    "jacobian": ops.Jacobian(
        lambda x: jnp.sin(jnp.asarray(HERMITIAN) @ x),
        np.zeros(2, complex),
        nullspace=NULL,
    ),
    "block": ops.Block([[ops.Dense(HERMITIAN)]], nullspace=(NULL,)),
    "convection_diffusion": ops.ConvectionDiffusion(
        np.ones(4, complex), np.ones(1), boundary="periodic", nullspace="constant"
    ),
}


@pytest.mark.parametrize("of", ["T", "H", "conjugate"])
@pytest.mark.parametrize("name", OPERATORS)
def test_null_vectors_of_transposes_and_conjugates_are_null(name: str, of: str):
    A = OPERATORS[name]

    def other(A: Any) -> Any:
        return ops.Conjugate(A) if of == "conjugate" else getattr(A, of)

    @jax.jit
    def null_products(A: Any) -> Any:
        return other(A).mm(other(A).nullspace)

    assert other(A).tags == A.tags
    residual = to_vector(null_products(A))
    assert np.linalg.norm(residual) <= tolerance(1, "complex128")


def test_dependent_null_vectors_are_refused():
    with pytest.raises(ValueError, match="independent"):
        ops.Dense(np.diag([0.0, 1.0, 2.0]), nullspace=np.eye(3)[[0, 0]])
