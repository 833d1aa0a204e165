"""The algebra: what it composes, what survives of tags and null spaces."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import relative_error, tolerance

ops: Any = kx.operators
X = jnp.array([1.0, -2.0, 3.0, 0.5])
A = ops.Laplacian((4,))
NEUMANN = ops.Laplacian((4,), boundary="neumann", nullspace="constant")
DEFINITE = {"symmetric", "hermitian", "positive_semidefinite", "positive_definite"}


class Square(kx.operators.AbstractOperator):
    """A nonlinear operator that works at any resolution."""

    @property
    def in_structure(self) -> Any:
        return None

    @property
    def out_structure(self) -> Any:
        return None

    def __call__(self, x: Any) -> Any:
        return x**2


def test_call_and_matmul_agree():
    assert np.array_equal(A(X), A @ X)


def test_numpy_arrays_are_taken_like_those_of_jax():
    assert np.array_equal(A @ np.asarray(X), A @ X)


def test_composition_with_a_nonlinear_operator_applies_the_inner_one_first():
    assert np.array_equal((Square() @ A) @ X, (A @ X) ** 2)
    assert np.array_equal((A @ Square())(X), A @ X**2)


def test_composition_has_the_inner_structure_in_and_the_outer_one_out():
    composed = Square() @ A
    assert composed.in_structure == A.in_structure
    assert composed.out_structure is None


def test_composition_of_linear_operators_is_linear():
    assert isinstance(A @ A, ops.AbstractLinearOperator)
    assert not isinstance(A @ Square(), ops.AbstractLinearOperator)


@pytest.mark.parametrize(
    "factor", [2, 2.0, np.float64(2), np.array(2.0), jnp.array(2.0)], ids=repr
)
def test_scalars_of_all_kinds_multiply_from_both_sides(factor: Any):
    for_left, for_right = factor * A, A * factor
    assert np.array_equal(for_left @ X, 2 * (A @ X))
    assert np.array_equal(for_right @ X, 2 * (A @ X))


def test_double_transpose_is_the_operator():
    function = ops.Function(jnp.cumsum, A.in_structure)
    assert function.T.T is function


def test_double_adjoint_is_the_operator():
    function = ops.Function(jnp.cumsum, jax.ShapeDtypeStruct((4,), jnp.complex128))
    assert function.H.H is function


def test_one_tag_need_not_be_in_a_list():
    assert ops.Diagonal(X**2, tags="positive_definite").tags == DEFINITE


def test_transposing_a_symmetric_operator_costs_nothing():
    assert A.T is A
    assert A.H is A


def test_sum_of_definite_and_semidefinite_is_definite():
    assert (A + NEUMANN).tags == DEFINITE


def test_difference_of_definite_operators_promises_symmetry_only():
    assert (A - NEUMANN).tags == {"symmetric", "hermitian"}


def test_multiple_keeps_symmetry_but_not_definiteness():
    assert (-1.0 * A).tags == {"symmetric", "hermitian"}


def test_product_of_symmetric_operators_promises_nothing():
    assert (A @ A).tags == frozenset()


def test_sum_of_operators_with_one_null_space_keeps_it():
    both = NEUMANN + 2.0 * NEUMANN
    assert "singular" in both.tags
    assert relative_error(both.nullspace, NEUMANN.nullspace) <= tolerance(1, "float64")


def test_sum_with_what_annihilates_constants_one_way_alone_declares_nothing():
    v = np.array([[1.0, 2.0, -1.0, 0.5]])
    flow = ops.ConvectionDiffusion(np.ones(4), v, form="advective", boundary="neumann")
    assert (NEUMANN + flow).annihilates_constants
    assert (NEUMANN + flow).nullspace is None


def test_multiple_keeps_the_null_space():
    assert "singular" in (3.0 * NEUMANN).tags
    assert np.array_equal((3.0 * NEUMANN).nullspace, NEUMANN.nullspace)


def test_multiple_by_a_traced_scalar_is_differentiable():
    got = jax.grad(lambda c: jnp.sum((c * A) @ X))(jnp.array(3.0))
    assert abs(got - jnp.sum(A @ X)) <= tolerance(1, "float64")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_multiple_of_a_single_precision_operator_stays_so(dtype: Any):
    single = 2.0 * ops.Laplacian((4,), dtype=dtype)
    assert (single @ X.astype(dtype)).dtype == dtype


def test_operator_survives_flattening():
    leaves, tree = jax.tree.flatten(NEUMANN + A @ A.T)
    assert np.array_equal(tree.unflatten(leaves) @ X, (NEUMANN + A @ A.T) @ X)
