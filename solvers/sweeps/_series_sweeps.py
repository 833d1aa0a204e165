"""Approximate sweeps by truncated Neumann series, by products with the triangles."""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator, Diagonal
from ...operators._control_flow import fori_loop
from ...operators.grids._triangles import unit_triangles
from ._sweeps import AbstractSweeps

Triangle: TypeAlias = Callable[[Inexact[Array, "..."]], Inexact[Array, "..."]]


class SeriesSweeps(AbstractSweeps):
    """Sweeps with Σ_{k ≤ num_terms} (-T)^k for the inverse of I + T."""

    lower_triangle: Triangle
    upper_triangle: Triangle
    num_terms: int = eqx.field(static=True)

    @override
    def forward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return _truncated_series(self.lower_triangle, b, self.num_terms)

    @override
    def backward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return _truncated_series(self.upper_triangle, b, self.num_terms)

    @override
    def upper(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.upper_triangle(x)

    def remainder(
        self,
        b: Inexact[Array, "..."],
        x: Inexact[Array, "..."],
        omega: Inexact[Array, ""],
    ) -> Inexact[Array, "..."]:
        """Return b - P⁻¹A x by a full product, as forward(b) is not an exact solve."""
        return b - omega * x - self.lower_triangle(x) - self.upper_triangle(x)


def triangles(
    A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
) -> tuple[Triangle, Triangle]:
    """Return P⁻¹L and P⁻¹U as functions.

    Raises:
        ValueError: an operator whose triangles are not known.
    """
    if (stencil := A.stencil) is not None:
        return unit_triangles(stencil, pivots)
    if (found := A.triangles) is not None:
        lower, upper = found
        inverse = Diagonal(1 / pivots)
        return inverse @ lower, inverse @ upper
    raise ValueError(
        "Neumann() knows operators on grids, Banded, Sparse and Dense, got "
        f"{type(A).__name__}; use another preconditioner, such as ChebyshevPolynomial"
    )


def _truncated_series(
    triangle: Triangle, b: Inexact[Array, "..."], num_terms: int
) -> Inexact[Array, "..."]:
    """Σ_{k ≤ num_terms} (-triangle)^k b, by Horner's rule."""
    return fori_loop(0, num_terms, lambda _, x: b - triangle(x), b)
