"""Incomplete factors of sparse matrices: their pattern, and their numbers.

The formula of `IncompleteLU` is the same for every stored entry, which depends on the
entries in its terms: the entries are computed by a level schedule.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int32

from ...operators import Sparse
from ...operators._field import on_device
from ..sweeps._level_schedule import Schedule, compute, make_schedule
from ..sweeps._level_sweeps import (
    LevelPattern,
    TrianglePattern,
    known_pattern,
    row_schedule,
)


class IncompletePattern(eqx.Module):
    """The entries of the factors, by row and by column within it.

    Attributes:
        entries: the entry of each number that the matrix stores.
        slots: where the matrix stores it.
        diagonal: the entry on the diagonal of each row.
        order: the order of the entries, and the terms of their sums.
        is_term: whether each term is a real one, not padding.
        sweeps: both triangles.
        sweeps_of_T: those of the transpose, if requested.
    """

    entries: Int32[Array, " stored"]
    slots: Int32[Array, " stored"]
    diagonal: Int32[Array, " n"]
    order: Schedule
    is_term: Bool[Array, "steps count width"]
    sweeps: LevelPattern
    sweeps_of_T: LevelPattern | None


def incomplete_pattern(A: Sparse, of_T: bool, wanted_by: str) -> IncompletePattern:
    """Return the pattern of the factors of A.

    Raises:
        ValueError: the pattern of A is being traced.
    """
    rows, columns, slots = known_pattern(A.layout, A.layout_of_T, wanted_by)
    num_rows = A.layout.extent.num_rows
    each = np.arange(num_rows)
    stored = rows.astype(np.int64) * num_rows + columns
    known = np.unique(np.concatenate([stored, each * num_rows + each]))
    rows, columns = np.divmod(known, num_rows)
    targets, sources = _terms(known, rows, columns)
    order = make_schedule(len(known), targets, sources)

    def triangle(rows: np.ndarray, columns: np.ndarray, side: int) -> TrianglePattern:
        inside = np.flatnonzero(side * (columns - rows) > 0)
        i, j = rows[inside], columns[inside]
        return TrianglePattern(
            schedule=row_schedule(i, j, each[::-side]),
            slots=on_device(inside.astype(np.int32)),
            rows=on_device(i.astype(np.int32)),
        )

    def both(rows: np.ndarray, columns: np.ndarray) -> LevelPattern:
        return LevelPattern(triangle(rows, columns, -1), triangle(rows, columns, 1))

    return IncompletePattern(
        entries=on_device(np.searchsorted(known, stored).astype(np.int32)),
        slots=on_device(slots.astype(np.int32)),
        diagonal=on_device(np.flatnonzero(rows == columns).astype(np.int32)),
        order=order,
        is_term=on_device(np.asarray(order.terms) < len(targets)),
        sweeps=both(rows, columns),
        sweeps_of_T=both(columns, rows) if of_T else None,
    )


def incomplete_values(
    stored: Inexact[Array, " slots"],
    pattern: IncompletePattern,
    shift: Float[Array, ""],
) -> Inexact[Array, " entries"]:
    """Return the numbers of the factors of A + shift diag(A): L and U, and P between.

    Cost: 3 operations per term, in as many steps as the pattern has levels.
    """
    num_entries = pattern.order.places.size
    values = jnp.zeros(num_entries, stored.dtype)
    values = values.at[pattern.entries].add(stored[pattern.slots])
    values = values.at[pattern.diagonal].multiply((1 + shift).astype(values.dtype))
    return compute(pattern.order, values, pattern.is_term, _term)


def _terms(
    known: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Entries ij with s_ik s_kj / s_kk in their sums, and those three of each term."""
    num_rows = int(rows[-1]) + 1
    diagonal = np.flatnonzero(rows == columns)
    below, above = np.flatnonzero(rows > columns), np.flatnonzero(rows < columns)
    # Every entry of a column below its diagonal, with every one right of it in its row.
    counts = np.bincount(rows[above], minlength=num_rows)
    first = (np.cumsum(counts) - counts)[columns[below]]
    counts = counts[columns[below]]
    rank = np.arange(np.sum(counts)) - np.repeat(np.cumsum(counts) - counts, counts)
    ik, kj = np.repeat(below, counts), above[np.repeat(first, counts) + rank]
    keys = rows[ik] * num_rows + columns[kj]
    ij = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    is_stored = known[ij] == keys
    ik, kj, ij = ik[is_stored], kj[is_stored], ij[is_stored]
    return ij, (ik, kj, diagonal[columns[ik]])


def _term(
    is_term: Array,
    ik: Inexact[Array, "count width"],
    kj: Inexact[Array, "count width"],
    kk: Inexact[Array, "count width"],
) -> Inexact[Array, "count width"]:
    return jnp.where(is_term, ik * kj / jnp.where(is_term, kk, 1), 0)
