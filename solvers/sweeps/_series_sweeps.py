"""Sweeps by truncated Neumann series: products with the triangles, nothing waits."""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Inexact

from ...operators import AbstractLinearOperator, Banded, Dense, Diagonal, Sparse
from ...operators._sparse_product import multiply, rows_of_slots
from ...operators.grids._grid_stencil import stencil_of, unit_triangles
from ._sweeps import AbstractSweeps

Triangle: TypeAlias = Callable[[Inexact[Array, "..."]], Inexact[Array, "..."]]


class SeriesSweeps(AbstractSweeps):
    """Sweeps with Σ_{k ≤ num_terms} (-T)^k for the inverse of I + T."""

    lower_triangle: Triangle
    upper_triangle: Triangle
    num_terms: int = eqx.field(static=True)

    def forward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return an approximation of (I + P⁻¹L)⁻¹ b."""
        return _truncated_series(self.lower_triangle, b, self.num_terms)

    def backward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return an approximation of (I + P⁻¹U)⁻¹ b."""
        return _truncated_series(self.upper_triangle, b, self.num_terms)

    def upper(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return P⁻¹U x."""
        return self.upper_triangle(x)

    def remainder(
        self,
        b: Inexact[Array, "..."],
        x: Inexact[Array, "..."],
        omega: Inexact[Array, ""],
    ) -> Inexact[Array, "..."]:
        """Return b - P⁻¹A x, a whole product, as forward(b) is no exact solve."""
        return b - omega * x - self.lower_triangle(x) - self.upper_triangle(x)


def triangles(
    A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
) -> tuple[Triangle, Triangle]:
    """Return P⁻¹L and P⁻¹U as functions.

    Raises:
        ValueError: an operator whose triangles are not known.
    """
    if (stencil := stencil_of(A)) is not None:
        return unit_triangles(stencil, pivots)
    if isinstance(A, Banded):
        return _band(A, -1, pivots), _band(A, 1, pivots)
    if isinstance(A, Sparse):
        rows, columns = rows_of_slots(A.layout), A.layout.columns
        values = A.values / pivots[rows]
        lower, upper = (
            jax.tree_util.Partial(_multiply, jnp.where(is_inside, values, 0), A)
            for is_inside in (columns < rows, columns > rows)
        )
        return lower, upper
    if isinstance(A, Dense):
        unit = A.matrix / pivots[:, None]
        return Dense(jnp.tril(unit, -1)), Dense(jnp.triu(unit, 1))
    raise ValueError(
        "Neumann() knows operators on grids, Banded, Sparse and Dense, got "
        f"{type(A).__name__}; use another preconditioner, such as ChebyshevPolynomial"
    )


def _truncated_series(
    triangle: Triangle, b: Inexact[Array, "..."], num_terms: int
) -> Inexact[Array, "..."]:
    """Σ_{k ≤ num_terms} (-triangle)^k b, by Horner's rule."""
    return lax.fori_loop(0, num_terms, lambda _, x: b - triangle(x), b)


def _band(A: Banded, sign: int, pivots: Inexact[Array, " n"]) -> Triangle:
    """The diagonals on one side of the main one, if any."""
    found = [i for i, offset in enumerate(A.offsets) if offset * sign > 0]
    rows, offsets = A.diagonals[np.array(found, int)], [A.offsets[i] for i in found]
    inverse = Diagonal(1 / pivots)
    return inverse @ Banded(rows, offsets) if found else 0 * inverse


def _multiply(values: Inexact[Array, " slots"], A: Sparse, x: Inexact[Array, " n"]):
    return multiply(values, x, A.layout, A.layout_of_T)
