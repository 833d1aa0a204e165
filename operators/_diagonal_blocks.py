"""Consecutive blocks along the diagonal of an operator's matrix."""

from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ._field import size_of

LARGEST = 2048
"""Unknowns up to which the dense matrix of an operator is made: 32 MiB in float64."""

MatrixDiagonals: TypeAlias = list[tuple[int, Inexact[Array, " n"]]]
"""Column minus row of each diagonal of a matrix, and its entries by their row."""


def blocks_of(A: Any, size: int) -> Inexact[Array, "blocks size size"]:
    """Return the blocks of an operator with a stencil, or of a small one.

    Raises:
        ValueError: more than `LARGEST` unknowns, and no stencil.
    """
    if (stencil := A.stencil) is not None:
        return blocks_of_diagonals(stencil.matrix_diagonals(), size)
    num_unknowns = size_of(A.in_structure)
    if num_unknowns > LARGEST:
        raise ValueError(
            f"cannot see the blocks of a {type(A).__name__}, and {num_unknowns} "
            f"unknowns are too many for its dense matrix (at most {LARGEST}); build it "
            "as Sparse or Banded, or use Jacobi"
        )
    return blocks_of_matrix(A.as_matrix(), size)


def blocks_of_matrix(
    matrix: Inexact[Array, "n n"], size: int
) -> Inexact[Array, "blocks size size"]:
    """Return the blocks of a dense matrix, the last one padded with zeros."""
    num_unknowns = matrix.shape[0]
    num_blocks = -(-num_unknowns // size)
    padding = num_blocks * size - num_unknowns
    padded = jnp.pad(matrix, (0, padding)).reshape(num_blocks, size, num_blocks, size)
    each = jnp.arange(num_blocks)
    return padded[each, :, each]


def blocks_of_diagonals(
    diagonals: MatrixDiagonals, size: int
) -> Inexact[Array, "blocks size size"]:
    """Return the blocks of a matrix given by its diagonals, likewise."""
    num_unknowns = diagonals[0][1].size
    num_blocks = -(-num_unknowns // size)
    blocks = jnp.zeros((num_blocks, size, size), diagonals[0][1].dtype)
    for offset, values in diagonals:
        rows = np.arange(max(0, -offset), min(size, size - offset))
        padded = jnp.pad(values, (0, num_blocks * size - num_unknowns))
        inside = padded.reshape(num_blocks, size)[:, rows]
        blocks = blocks.at[:, rows, rows + offset].add(inside)
    return blocks
