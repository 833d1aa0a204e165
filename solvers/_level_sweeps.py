"""Triangular sweeps over a sparse matrix, exactly, level after level."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ..operators import Sparse
from ..operators._field import is_traced
from ..operators._shift import Side
from ..operators._sparse_product import rows_of_slots
from ._level_schedule import Schedule, compute, make_schedule, of_terms
from ._sweeps import AbstractSweeps


class LevelSweeps(AbstractSweeps):
    """(I + P⁻¹U)⁻¹ (I + P⁻¹L)⁻¹ for sparse triangles."""

    lower: "LevelTriangle"
    upper: "LevelTriangle"

    def solve(self, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """Return the result of a forward and a backward sweep."""
        return self.upper.solve(self.lower.solve(b))


class LevelTriangle(eqx.Module):
    """A unit triangle I + L or I + U."""

    schedule: Schedule
    weights: Inexact[Array, "steps count width"]
    side: Side = eqx.field(static=True)

    def solve(self, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """Return (I + L)⁻¹ b or (I + U)⁻¹ b."""
        # U is scheduled from the last row on.
        direction = 1 if self.side == "low" else -1
        b = b[::direction]
        return compute(self.schedule, b, self.weights, jnp.multiply)[::direction]


def row_schedule(
    rows: np.ndarray, columns: np.ndarray, num_rows: int, side: Side
) -> Schedule:
    """Return the order in which the rows of a strict triangle can be solved."""
    if side == "high":
        rows, columns = num_rows - 1 - rows, num_rows - 1 - columns
    return make_schedule(num_rows, rows, (columns,))


def level_sweeps(A: Sparse, pivots: Inexact[Array, " n"]) -> LevelSweeps:
    """Return the sweeps of D + L + U with pivots P."""
    rows, columns, slots = known_pattern(A, "Natural() order")

    def triangle(is_inside: np.ndarray, side: Side) -> LevelTriangle:
        i, j = rows[is_inside], columns[is_inside]
        schedule = row_schedule(i, j, len(pivots), side)
        values = A.values[slots[is_inside]] / pivots[i]
        return LevelTriangle(schedule, of_terms(schedule, values), side)

    lower = triangle(columns < rows, "low")
    return LevelSweeps(lower, triangle(columns > rows, "high"))


def known_pattern(A: Sparse, wanted_by: str) -> tuple[np.ndarray, ...]:
    """Return the row, the column and the slot of every stored number.

    Raises:
        ValueError: the pattern is being traced.
    """
    if is_traced(A.layout):
        raise ValueError(
            f"{wanted_by} needs the pattern of a Sparse matrix, got one that is being "
            "traced; make the preconditioner before the solve, outside of jax.jit: "
            "solve(A, b, solver, preconditioner=factory(A))"
        )
    columns, order = np.asarray(A.layout.columns), np.asarray(A.layout.order)
    # Padding stands beyond the end of the transpose.
    slots = np.flatnonzero(order < A.layout_of_T.columns.size)
    return np.asarray(rows_of_slots(A.layout))[slots], columns[slots], slots
