from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import draw, relative_error, tolerance

ops: Any = kx.operators
DEFINITE = {"symmetric", "hermitian", "positive_semidefinite", "positive_definite"}
LINE = ops.Laplacian((3,))
NEUMANN = ops.Laplacian((4,), boundary="neumann", nullspace="constant")


def dense(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return draw(np.random.default_rng(seed), shape, "float64")


def test_two_factors_multiply_a_matrix_from_both_sides():
    A, B, U = dense((2, 3)), dense((5, 4), 1), dense((3, 4), 2)
    got = ops.Kronecker(ops.Dense(A), ops.Dense(B)) @ U
    assert relative_error(got, A @ U @ B.T) <= tolerance(1, "float64")


def test_one_factor_is_the_operator_itself():
    A = ops.Kronecker(ops.Dense(dense((2, 3))))
    assert relative_error(A.as_matrix(), dense((2, 3))) <= tolerance(1, "float64")


def test_as_matrix_is_numpys_kron():
    A, B = dense((2, 3)), dense((5, 4), 1)
    got = ops.Kronecker(ops.Dense(A), ops.Dense(B)).as_matrix()
    assert relative_error(got, np.kron(A, B)) <= tolerance(1, "float64")


def test_sum_of_lines_is_the_laplacian_of_the_grid():
    A = ops.KroneckerSum(LINE, ops.Laplacian((4,), 0.5, boundary="periodic"))
    B = ops.Laplacian((3, 4), (1.0, 0.5), boundary=["dirichlet", "periodic"])
    assert relative_error(A.as_matrix(), B.as_matrix()) <= tolerance(1, "float64")


@pytest.mark.parametrize("combine", [ops.Kronecker, ops.KroneckerSum])
def test_definite_factors_make_it_definite(combine: Any):
    A = combine(LINE, LINE)
    assert A.tags == DEFINITE
    assert A.T is A


def test_definite_masses_keep_the_tags_of_a_sum_and_others_do_not():
    A = ops.KroneckerSum(LINE, LINE, masses=(LINE, LINE))
    assert A.tags == DEFINITE
    assert A.T is A
    singular = ops.KroneckerSum(
        LINE, LINE, masses=(LINE, ops.Laplacian((3,), boundary="neumann"))
    )
    assert singular.tags == DEFINITE - {"positive_definite"}


def test_masses_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="sizes and the dtype of its factors"):
        ops.KroneckerSum(LINE, LINE, masses=(LINE, NEUMANN))


def test_one_definite_factor_makes_a_sum_definite_but_a_product_singular():
    assert ops.KroneckerSum(LINE, NEUMANN).tags == DEFINITE
    expected = DEFINITE - {"positive_definite"} | {"singular"}
    assert ops.Kronecker(LINE, NEUMANN).tags == expected


def test_sum_of_singular_factors_keeps_the_products_of_their_null_vectors():
    A = ops.KroneckerSum(NEUMANN, NEUMANN)
    assert "singular" in A.tags
    assert A.annihilates_constants
    error = relative_error(A.nullspace, np.full((1, 4, 4), 0.25))
    assert error <= tolerance(1, "float64")


def test_sum_of_indefinite_factors_declares_no_null_space():
    B = ops.Dense(np.diag([0.0, -1.0]), nullspace=np.array([[1.0, 0.0]]))
    A = ops.KroneckerSum(B, ops.Dense(np.diag([0.0, 1.0]), nullspace=np.eye(2)[:1]))
    assert A.nullspace is None


def test_product_annihilates_constants_if_one_factor_does():
    assert ops.Kronecker(LINE, NEUMANN).annihilates_constants
    assert not ops.Kronecker(LINE, LINE).annihilates_constants


def test_transpose_is_the_product_of_the_transposes():
    A = ops.Kronecker(ops.Dense(dense((2, 3))), ops.Dense(dense((5, 4), 1)))
    assert A.T.in_structure.shape == (2, 5)
    assert relative_error(A.T.as_matrix(), A.as_matrix().T) <= tolerance(1, "float64")


def test_shrinking_factors_go_first():
    # 2 x 100 before 100 x 2: the field in between has 2 x 2 numbers, not 100 x 100.
    wide, tall = ops.Dense(dense((2, 100))), ops.Dense(dense((100, 2), 1))
    A = ops.Kronecker(tall, wide)
    jaxpr = str(jax.make_jaxpr(A.mv)(jnp.ones((2, 100))))
    assert "[100,100]" not in jaxpr
