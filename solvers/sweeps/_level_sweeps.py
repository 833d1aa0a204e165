"""Triangular sweeps over a sparse matrix, exactly, level after level."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int32
from typing_extensions import override

from ...operators._field import is_traced, on_device
from ...operators._sparse_layout import Layout, known_rows
from ._level_schedule import Schedule, compute, gather, make_schedule, of_terms
from ._sweeps import AbstractSweeps


class LevelSweeps(AbstractSweeps):
    """Sweeps over sparse triangles."""

    lower_triangle: "LevelTriangle"
    upper_triangle: "LevelTriangle"

    @override
    def forward(self, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        return self.lower_triangle.solve(b)

    @override
    def backward(self, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        return self.upper_triangle.solve(b)

    @override
    def upper(self, x: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        return self.upper_triangle(x)


class LevelTriangle(eqx.Module):
    """A strict triangle T."""

    schedule: Schedule
    weights: Inexact[Array, "steps count width"]

    def __call__(self, x: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """Return T x."""
        return gather(self.schedule, x, self.weights)

    def solve(self, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """Return (I + T)⁻¹ b."""
        return compute(self.schedule, b, self.weights, jnp.multiply)


class TrianglePattern(eqx.Module):
    """The entries on one side of the diagonal.

    Attributes:
        schedule: an order of the rows.
        slots: where the matrix holds each entry.
        rows: its row.
    """

    schedule: Schedule
    slots: Int32[Array, " entries"]
    rows: Int32[Array, " entries"]

    def triangle(
        self, values: Inexact[Array, " slots"], pivots: Inexact[Array, " n"]
    ) -> LevelTriangle:
        """Return P⁻¹L or P⁻¹U of a matrix with these numbers."""
        terms = values[self.slots] / pivots[self.rows]
        return LevelTriangle(self.schedule, of_terms(self.schedule, terms))


class LevelPattern(eqx.Module):
    """Both triangles of a sparse pattern, in an order of its rows."""

    lower: TrianglePattern
    upper: TrianglePattern

    def sweeps(
        self, values: Inexact[Array, " slots"], pivots: Inexact[Array, " n"]
    ) -> LevelSweeps:
        """Return the sweeps of a matrix with these numbers."""
        lower = self.lower.triangle(values, pivots)
        return LevelSweeps(lower, self.upper.triangle(values, pivots))


def row_schedule(rows: np.ndarray, columns: np.ndarray, ranks: np.ndarray) -> Schedule:
    """Return an order in which the rows of a triangle can be solved.

    Args:
        rows: of its entries.
        columns: of its entries, of lower rank than their rows.
        ranks: the place of each row in the order of the sweep.
    """
    return make_schedule(len(ranks), rows, (columns,), ranks)


def level_pattern(
    layout: Layout, layout_of_T: Layout, ranks: np.ndarray, wanted_by: str
) -> LevelPattern:
    """Return the triangles of a matrix where its rows are visited by rank.

    Raises:
        ValueError: the pattern is being traced.
    """
    rows, columns, slots = known_pattern(layout, layout_of_T, wanted_by)

    def triangle(is_inside: np.ndarray, ranks: np.ndarray) -> TrianglePattern:
        i, j = rows[is_inside], columns[is_inside]
        return TrianglePattern(
            schedule=row_schedule(i, j, ranks),
            slots=on_device(slots[is_inside].astype(np.int32)),
            rows=on_device(i.astype(np.int32)),
        )

    lower = triangle(ranks[columns] < ranks[rows], ranks)
    backward = len(ranks) - 1 - ranks
    return LevelPattern(lower, triangle(ranks[columns] > ranks[rows], backward))


def known_pattern(
    layout: Layout, layout_of_T: Layout, wanted_by: str
) -> tuple[np.ndarray, ...]:
    """Return the row, the column and the slot of every stored number.

    Raises:
        ValueError: the pattern is being traced.
    """
    if is_traced(layout):
        raise ValueError(
            f"{wanted_by} needs the pattern of a Sparse matrix, got one that is being "
            "traced; make the preconditioner before the solve, outside of jax.jit: "
            "solve(A, b, solver, preconditioner=factory(A)), and for SOR and SSOR the "
            "order: SOR(order=Multicolour().of(A))"
        )
    columns, order = np.asarray(layout.columns), np.asarray(layout.order)
    # Padding stands beyond the end of the transpose.
    slots = np.flatnonzero(order < layout_of_T.columns.size)
    return known_rows(layout)[slots], columns[slots], slots
