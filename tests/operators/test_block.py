from typing import Any

import jax
import numpy as np

import krylax as kx

from ..helpers import relative_error

ops: Any = kx.operators
A = ops.Laplacian((3,))
B = ops.Dense(np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]]))


def test_fields_are_tuples_of_the_blocks_fields():
    block = ops.Block([[A, B.T]])
    assert block.in_structure == (A.in_structure, B.out_structure)
    assert block.out_structure == (A.out_structure,)


def test_fields_of_the_blocks_may_be_of_any_structure():
    grid = ops.Laplacian((2, 2))
    tree = ops.Identity({"u": jax.ShapeDtypeStruct((3,), np.float64)})
    x = (np.ones((2, 2)), {"u": np.ones(3)})
    first, second = ops.Block([[grid, None], [None, tree]]) @ x
    assert np.array_equal(first, grid @ x[0])
    assert np.array_equal(second["u"], x[1]["u"])


def test_tags_are_those_that_the_caller_promises():
    assert ops.Block([[A]]).tags == frozenset()
    assert ops.Block([[A]], tags=["positive_definite"]).tags == A.tags


def test_symmetric_block_is_its_own_transpose():
    saddle = ops.Block([[A, B.T], [B, None]], tags=["symmetric"])
    assert saddle.T is saddle


def test_diagonal_of_a_zero_block_is_zero():
    first, second = ops.Block([[A, B.T], [B, None]]).diagonal()
    assert np.array_equal(first, [2, 2, 2])
    assert np.array_equal(second, [0, 0])


def test_blocks_of_blocks_work():
    inner = ops.Block([[A, B.T], [B, None]])
    outer = ops.Block([[inner, None], [None, A]])
    matrix = np.asarray(outer.as_matrix())
    assert relative_error(matrix[:5, :5], inner.as_matrix()) == 0
