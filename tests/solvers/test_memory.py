"""How much memory a compiled solve holds, against what the docstrings state.

In vectors of n unknowns, n so large that nothing else counts: what the program
allocates, and the solution that it returns. A docstring counts x and not b. The solve
itself adds one vector, b in units of its size; the certificate comes after the
iteration, in vectors that this has left.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import krylax as kx

from .cases import ROWS

NUM_UNKNOWNS = 2**16
# The history and the small matrices of a cycle, in vectors.
SMALL_ARRAYS = 0.1
ITERATIVE = [row for row in ROWS if ROWS[row].num_vectors is not None]
# Solver, whether the operator knows its matrix, and how many matrices are held.
DENSE = [("cholesky", True, 2), ("cholesky", False, 3), ("lu", True, 2)]
DENSE += [("lu", False, 2)]


def bytes_of(A: Any, solver: Any) -> int:
    """What the compiled solve allocates, its solution included."""

    def solve(A: Any, b: Any) -> Any:
        return kx.solve(A, b, solver, throw=False).value

    b = jax.ShapeDtypeStruct(A.in_structure.shape, A.in_structure.dtype)
    memory = jax.jit(solve).lower(A, b).compile().memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes + memory.output_size_in_bytes


@pytest.mark.parametrize("row", ITERATIVE)
def test_vectors_are_at_most_those_of_the_docstring(row: str):
    solver = ROWS[row].solver()
    found = bytes_of(kx.operators.Laplacian((512, 128)), solver) / (8 * NUM_UNKNOWNS)
    documented = ROWS[row].num_vectors
    assert documented is not None
    assert found <= documented + 1 + SMALL_ARRAYS


@pytest.mark.parametrize(
    ("shape", "order", "documented"),
    [
        ((256, 256), kx.solvers.Multicolour(), 9),
        ((256, 256), kx.solvers.Natural(), 16),
        ((40, 40, 40), kx.solvers.Natural(), 25),
    ],
    ids=["two_colours", "square", "cube"],
)
def test_vectors_of_relaxation_are_at_most_those_of_the_docstring(
    shape: tuple[int, ...], order: Any, documented: int
):
    A = kx.operators.Laplacian(shape)
    solver = kx.solvers.SOR(1e-8, omega=1.5, order=order)
    found = bytes_of(A, solver) / (8 * math.prod(shape))
    assert found <= documented + 1 + SMALL_ARRAYS


@pytest.mark.parametrize("row", ["cg", "gmres", "gcrodr"])
def test_single_precision_takes_half_the_bytes(row: str):
    double, single = (
        bytes_of(
            kx.operators.Laplacian((NUM_UNKNOWNS,), dtype=dtype),
            ROWS[row].make(rtol=1e-4),
        )
        for dtype in (jnp.float64, jnp.float32)
    )
    assert single <= (0.5 + 0.01) * double


@pytest.mark.parametrize(("row", "is_known", "documented"), DENSE)
def test_matrices_are_at_most_those_of_the_docstring(
    row: str, is_known: bool, documented: int
):
    n, A = 512, kx.operators.Laplacian((512,))
    A = kx.operators.Dense(A.as_matrix()) if is_known else A
    found = bytes_of(A, ROWS[row].solver()) / (8 * n**2)
    # A panel of the factorisation, 64 columns, and vectors.
    assert found <= documented + 80 / n
