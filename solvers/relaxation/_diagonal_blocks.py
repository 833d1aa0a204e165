"""Consecutive blocks along the diagonal of an operator's matrix."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ...operators import (
    AbstractLinearOperator,
    Banded,
    Dense,
    Diagonal,
    Identity,
    Scaled,
    Sparse,
    Sum,
)
from ...operators._field import ravel, size_of
from ...operators._sparse_product import rows_of_slots
from ...operators.grids._grid_stencil import GridTriangle, stencil_of, triangles_of
from ...operators.grids._shift import shift_in_zero

LARGEST = 2048
"""Unknowns up to which the dense matrix of an operator is made: 32 MiB in float64."""

Diagonals = list[tuple[int, Inexact[Array, " n"]]]
"""Matrix diagonals: column minus row, and the entries by their row."""


def diagonal_blocks(
    A: AbstractLinearOperator, size: int
) -> Inexact[Array, "blocks size size"]:
    """Return the blocks; the last one is filled up with ones on the diagonal.

    Raises:
        ValueError: an operator of more than `LARGEST` unknowns that does not show its
            numbers.
    """
    found = _blocks(A, size)
    if found is None:
        num_unknowns = size_of(A.in_structure)
        if num_unknowns > LARGEST:
            raise ValueError(
                f"BlockJacobi cannot see the blocks of a {type(A).__name__}, and "
                f"{num_unknowns} unknowns are too many for its dense matrix (at most "
                f"{LARGEST}); build it as Sparse or Banded, or use Jacobi"
            )
        found = _of_matrix(A.as_matrix(), size)
    is_missing = np.arange(found.shape[0] * size) >= size_of(A.in_structure)
    ones = jnp.asarray(is_missing.reshape(-1, size, 1) * np.eye(size), found.dtype)
    return found + ones


def _blocks(A: Any, size: int) -> Inexact[Array, "blocks size size"] | None:
    """The blocks, filled up with zeros, of an operator that shows its numbers."""
    if isinstance(A, Scaled):
        inner = _blocks(A.operator, size)
        return None if inner is None else A.factor.astype(inner.dtype) * inner
    if isinstance(A, Sum):
        left, right = _blocks(A.left, size), _blocks(A.right, size)
        return None if left is None or right is None else left + right
    if isinstance(A, Dense):
        return _of_matrix(A.matrix, size)
    if isinstance(A, Sparse):
        return _of_sparse(A, size)
    if (diagonals := _diagonals(A)) is not None:
        return _of_diagonals(diagonals, size)
    return None


def _of_matrix(
    matrix: Inexact[Array, "n n"], size: int
) -> Inexact[Array, "blocks size size"]:
    num_unknowns = matrix.shape[0]
    num_blocks = -(-num_unknowns // size)
    padding = num_blocks * size - num_unknowns
    padded = jnp.pad(matrix, (0, padding)).reshape(num_blocks, size, num_blocks, size)
    each = jnp.arange(num_blocks)
    return padded[each, :, each]


def _of_sparse(A: Sparse, size: int) -> Inexact[Array, "blocks size size"]:
    rows, columns = rows_of_slots(A.layout), A.layout.columns
    is_inside = rows // size == columns // size
    num_blocks = -(-A.layout.extent.num_rows // size)
    zeros = jnp.zeros((num_blocks, size, size), A.values.dtype)
    index = (rows // size, rows % size, columns % size)
    return zeros.at[index].add(jnp.where(is_inside, A.values, 0))


def _diagonals(A: Any) -> Diagonals | None:
    """The matrix diagonals of an operator that has few."""
    if isinstance(A, Banded):
        return [
            (offset, _from_columns(diagonal, offset))
            for offset, diagonal in zip(A.offsets, A.diagonals, strict=True)
        ]
    if isinstance(A, Diagonal | Identity):
        return [(0, ravel(A.diagonal()))]
    if (stencil := stencil_of(A)) is None:
        return None
    found = [(0, stencil.centre.reshape(-1))]
    for triangle, sign in zip(triangles_of(stencil), (-1, 1), strict=True):
        found += _of_triangle(triangle, sign)
    return found


def _from_columns(diagonal: Inexact[Array, " n"], offset: int) -> Inexact[Array, " n"]:
    """Bring entry j of a diagonal to its row j - offset."""
    if offset == 0:
        return diagonal
    return shift_in_zero(diagonal, 0, "high" if offset > 0 else "low", abs(offset))


def _of_triangle(triangle: GridTriangle, sign: int) -> Diagonals:
    shape = triangle.weights[0].shape
    found = []
    for axis, weight in enumerate(triangle.weights):
        stride = int(np.prod(shape[axis + 1 :]))
        found.append((sign * stride, weight.reshape(-1)))
        if (wrap := triangle.wraps[axis]) is not None:
            found.append((sign * (shape[axis] - 1) * stride, wrap.reshape(-1)))
    return found


def _of_diagonals(
    diagonals: Diagonals, size: int
) -> Inexact[Array, "blocks size size"]:
    num_unknowns = diagonals[0][1].size
    num_blocks = -(-num_unknowns // size)
    blocks = jnp.zeros((num_blocks, size, size), diagonals[0][1].dtype)
    for offset, values in diagonals:
        rows = np.arange(max(0, -offset), min(size, size - offset))
        padded = jnp.pad(values, (0, num_blocks * size - num_unknowns))
        inside = padded.reshape(num_blocks, size)[:, rows]
        blocks = blocks.at[:, rows, rows + offset].add(inside)
    return blocks
