"""The storage of `Sparse`: rows padded to one length, the remainder by row (HYB).

The hybrid of N. Bell and M. Garland (Implementing sparse matrix-vector multiplication
on throughput-oriented processors, SC 2009, §4): the first `width` numbers of every row
stand in `width` columns of one number per row (ELL), which a processor reads without a
jump; what longer rows have beyond is a list sorted by row. A row shorter than `width`
is padded with zeros.
"""

from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Int32

from ._field import on_device

MAX_WIDTH = 64
"""The product is unrolled over the width; 128 terms took 0.3 s to compile."""


class Extent(NamedTuple):
    """The static part of a layout."""

    width: int
    num_rows: int


class Layout(eqx.Module):
    """Where the numbers of a matrix stand in its vector of slots.

    Attributes:
        columns: the column of each slot; slot k num_rows + i with k < `width` is the
            k-th number of row i, the slots after those belong to `rest_rows`.
        rest_rows: the row of each of the last slots, sorted.
        order: where the number of each slot stands in the layout of the transpose; for
            padding an index beyond its end.
        extent: width and number of rows.
    """

    columns: Int32[Array, " slots"]
    rest_rows: Int32[Array, " rest"]
    order: Int32[Array, " slots"]
    extent: Extent = eqx.field(static=True)


def make_layouts(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
) -> tuple[Layout, Layout, Int32[np.ndarray, " slots"]]:
    """Lay a matrix and its transpose out.

    Args:
        rows: the row of each stored number, sorted.
        columns: its column.
        shape: of the matrix.

    Returns:
        The layout of A, that of Aᵀ, and for each slot of A the stored number that it
        holds, for padding an index beyond their end.
    """
    by_column = np.argsort(columns, kind="stable")
    slots, size, extent = _place(rows, shape[0])
    sorted_slots, size_of_T, extent_of_T = _place(columns[by_column], shape[1])
    slots_of_T = np.empty_like(slots)
    slots_of_T[by_column] = sorted_slots
    there = _layout(slots, size, rows, columns, slots_of_T, size_of_T, extent)
    back = _layout(slots_of_T, size_of_T, columns, rows, slots, size, extent_of_T)
    stored = np.full(size, len(rows), np.int32)
    stored[slots] = np.arange(len(rows))
    return there, back, stored


def known_rows(layout: Layout) -> Int32[np.ndarray, " slots"]:
    """Return the row of every slot of a layout that is not being traced."""
    each = np.tile(np.arange(layout.extent.num_rows), layout.extent.width)
    return np.concatenate([each, layout.rest_rows]).astype(np.int32)


def _place(rows: np.ndarray, num_rows: int) -> tuple[np.ndarray, int, Extent]:
    """The slot of each stored number, rows sorted, and the number of slots."""
    counts = np.bincount(rows, minlength=num_rows)
    # A padded slot costs a third of a number in the rest (benchmarks/sparse.py), so
    # the width grows while a third of the rows fill it (Bell and Garland, §4.4).
    by_length = np.sort(counts)[::-1]
    width = min(int(by_length[(num_rows - 1) // 3]), MAX_WIDTH)
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_rest = rank >= width
    slots = rank * num_rows + rows
    slots[is_rest] = width * num_rows + np.arange(np.sum(is_rest))
    return slots, width * num_rows + int(np.sum(is_rest)), Extent(width, num_rows)


def _layout(
    slots: np.ndarray,
    size: int,
    rows: np.ndarray,
    columns: np.ndarray,
    other_slots: np.ndarray,
    other_size: int,
    extent: Extent,
) -> Layout:
    columns_of_slots = np.zeros(size, np.int32)
    columns_of_slots[slots] = columns
    order = np.full(size, other_size, np.int32)
    order[slots] = other_slots
    num_padded = extent.width * extent.num_rows
    rest_rows = np.empty(size - num_padded, np.int32)
    is_rest = slots >= num_padded
    rest_rows[slots[is_rest] - num_padded] = rows[is_rest]
    return Layout(
        on_device(columns_of_slots), on_device(rest_rows), on_device(order), extent
    )
