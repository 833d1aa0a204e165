"""Block Jacobi against the inverse of the dense matrix without couplings of blocks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import as_matrix, relative_error, tolerance, types_unchecked
from ..preconditioner_cases import matrix_of, operator

BlockJacobi = kx.solvers.BlockJacobi
SHAPE = (3, 4, 5)


def expected(matrix: Any, size: int) -> np.ndarray:
    block = np.arange(len(matrix)) // size
    return np.linalg.inv(np.where(block[:, None] == block, matrix, 0))


def wavy(shape: tuple[int, ...]) -> np.ndarray:
    return np.exp(np.random.default_rng(0).standard_normal(shape))


PERIODIC: Any = ["periodic", ("dirichlet", "neumann"), "periodic"]
GRID = jax.ShapeDtypeStruct(SHAPE, jnp.dtype(float))
OPERATORS = {
    "grid": lambda: kx.operators.Diffusion(wavy(SHAPE), boundary=PERIODIC),
    "flow": lambda: kx.operators.ConvectionDiffusion(
        wavy(SHAPE), wavy((3, *SHAPE)), boundary=PERIODIC
    ),
    "shifted": lambda: (
        0.1 * kx.operators.Laplacian(SHAPE) + kx.operators.Identity(GRID)
    ),
    "banded": lambda: kx.operators.Banded(
        wavy((4, 30)) + np.array([[0], [0], [9], [0]]), (-7, -1, 0, 2)
    ),
    "sparse": lambda: operator("sparse"),
    "dense": lambda: kx.operators.Dense(matrix_of("float64", 1.0)),
    "function": lambda: operator("tree"),
}


@pytest.mark.parametrize("size", [1, 4, 5, 7, 100])
@pytest.mark.parametrize("name", OPERATORS)
def test_preconditioner_is_the_inverse_of_the_blocks(name: str, size: int):
    A = OPERATORS[name]()
    matrix = as_matrix(A)
    slack = tolerance(float(np.linalg.cond(matrix)), "float64")
    M = jax.jit(lambda A: BlockJacobi(size)(A).as_matrix())(A)
    assert relative_error(M, expected(matrix, size)) <= slack


def test_blocks_of_one_are_jacobi():
    A = operator("diffusion")
    got, jacobi = BlockJacobi(1)(A).as_matrix(), kx.solvers.Jacobi()(A).as_matrix()
    assert relative_error(got, jacobi) <= tolerance(1, "float64")


def test_one_block_is_the_inverse():
    A = operator("flow")
    b = jnp.ones(A.in_structure.shape)
    M = BlockJacobi(48)
    found = kx.solve(A, b, kx.solvers.GMRES(rtol=1e-10), preconditioner=M)
    assert int(found.stats.num_steps) <= 1


def test_lines_along_strong_couplings_save_most_steps():
    A = kx.operators.Laplacian((16, 16), (1.0, 0.05))
    b, solver = jnp.ones((16, 16)), kx.solvers.CG(rtol=1e-8)
    lines = kx.solve(A, b, solver, preconditioner=BlockJacobi(16))
    points = kx.solve(A, b, solver, preconditioner=kx.solvers.Jacobi())
    assert 2 * lines.stats.num_steps <= points.stats.num_steps


def test_large_operator_without_numbers_is_refused():
    structure = jax.ShapeDtypeStruct((3000,), jnp.dtype(float))
    A = kx.operators.Function(lambda x: x, structure)
    with pytest.raises(ValueError, match="cannot see the blocks of a Function, and 30"):
        BlockJacobi(4)(A)


@pytest.mark.parametrize("size", [0, 2.5])
def test_what_is_no_size_of_a_block_is_refused(size: Any):
    match = "block_size must be"
    with types_unchecked(), pytest.raises(ValueError, match=match):
        BlockJacobi(size)


def test_operator_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match="only a square operator has diagonal blocks"):
        BlockJacobi(2)(kx.operators.Dense(np.ones((3, 4))))
