"""Incomplete Cholesky factors of sparse matrices: their pattern, and their numbers.

The formula of `IncompleteCholesky` is the same for every stored entry of the lower
triangle, which waits for entries in columns before its own: a schedule over entries.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int32

from ..operators import Sparse
from ._level_schedule import Schedule, compute, make_schedule, of_terms
from ._level_sweeps import LevelSweeps, LevelTriangle, known_pattern, row_schedule


class IncompletePattern(eqx.Module):
    """The entries of the lower triangle, by column and by row within it.

    Attributes:
        slots: the slots of the matrix that hold numbers of the lower triangle.
        entries: the entry of each of these.
        diagonal: the entry on the diagonal of each column.
        below: the entries off the diagonal.
        rows: the row of each of these.
        columns: the column of each of these.
        order: the order of the entries, and the terms of their sums.
        is_term: which of the terms are no padding.
        lower: the order of the rows for L.
        upper: that for Lᴴ.
    """

    slots: Int32[Array, " stored"]
    entries: Int32[Array, " stored"]
    diagonal: Int32[Array, " n"]
    below: Int32[Array, " below"]
    rows: Int32[Array, " below"]
    columns: Int32[Array, " below"]
    order: Schedule
    is_term: Bool[Array, "steps count width"]
    lower: Schedule
    upper: Schedule


def incomplete_pattern(A: Sparse) -> IncompletePattern:
    """Return the pattern of the factor of A.

    Raises:
        ValueError: the pattern of A is being traced.
    """
    rows, columns, slots = known_pattern(A, "IncompleteCholesky")
    is_lower = columns <= rows
    num_rows = A.layout.extent.num_rows
    each = np.arange(num_rows)
    keys = columns[is_lower].astype(np.int64) * num_rows + rows[is_lower]
    known = np.unique(np.concatenate([keys, each * num_rows + each]))
    columns, rows = np.divmod(known, num_rows)
    targets, sources = _terms(known, rows, columns)
    order = make_schedule(len(known), targets, sources)
    below = np.flatnonzero(rows != columns)
    i, j = rows[below], columns[below]
    return IncompletePattern(
        slots=jnp.asarray(slots[is_lower], jnp.int32),
        entries=jnp.asarray(np.searchsorted(known, keys), jnp.int32),
        diagonal=jnp.asarray(np.flatnonzero(rows == columns), jnp.int32),
        below=jnp.asarray(below, jnp.int32),
        rows=jnp.asarray(i, jnp.int32),
        columns=jnp.asarray(j, jnp.int32),
        order=order,
        is_term=of_terms(order, jnp.ones(len(targets), bool)),
        lower=row_schedule(i, j, each),
        upper=row_schedule(j, i, each[::-1]),
    )


def incomplete_values(
    stored: Inexact[Array, " slots"],
    pattern: IncompletePattern,
    shift: Float[Array, ""],
) -> Inexact[Array, " entries"]:
    """Return the numbers of the factor of A + shift diag(A): L, and P on its diagonal.

    Cost: 3 operations per term, in as many steps as the pattern has levels.
    """
    num_entries = pattern.diagonal.size + pattern.below.size
    values = jnp.zeros(num_entries, stored.dtype)
    values = values.at[pattern.entries].add(stored[pattern.slots])
    values = values.at[pattern.diagonal].multiply((1 + shift).astype(values.dtype))
    return compute(pattern.order, values, pattern.is_term, _term)


def incomplete_sweeps(
    pattern: IncompletePattern, values: Inexact[Array, " entries"]
) -> LevelSweeps:
    """Return the sweeps with L and Lᴴ."""
    pivots, L = values[pattern.diagonal], values[pattern.below]
    lower = of_terms(pattern.lower, L / pivots[pattern.rows])
    upper = of_terms(pattern.upper, L.conj() / pivots[pattern.columns])
    return LevelSweeps(
        LevelTriangle(pattern.lower, lower),
        LevelTriangle(pattern.upper, upper),
    )


def _terms(
    known: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Entries s_ij with s_ik conj(s_jk) / s_kk in their sums, and these three."""
    num_rows = int(columns[-1]) + 1
    diagonal = np.flatnonzero(rows == columns)
    below = np.flatnonzero(rows != columns)
    # Every pair of entries of a column: the second at or below the first.
    ends = np.cumsum(np.bincount(columns[below], minlength=num_rows))
    counts = ends[columns[below]] - np.arange(len(below))
    first = np.repeat(np.arange(len(below)), counts)
    rank = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    jk, ik = below[first], below[first + rank]
    keys = rows[jk] * num_rows + rows[ik]
    ij = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    is_stored = known[ij] == keys
    jk, ik, ij = jk[is_stored], ik[is_stored], ij[is_stored]
    return ij, (ik, jk, diagonal[columns[jk]])


def _term(
    is_term: Array,
    ik: Inexact[Array, "count width"],
    jk: Inexact[Array, "count width"],
    kk: Inexact[Array, "count width"],
) -> Inexact[Array, "count width"]:
    return jnp.where(is_term, ik * jk.conj() / jnp.where(is_term, kk, 1), 0)
