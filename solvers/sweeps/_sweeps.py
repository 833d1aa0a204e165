"""The interface of triangular sweeps, for SOR, SSOR and incomplete factors.

All stand on A = D + L + U and pivots P on the diagonal (for an incomplete factor L and
U may be its own): a forward sweep solves with I + P⁻¹L, a backward one with I + P⁻¹U.
Both together are M⁻¹ = (I + P⁻¹U)⁻¹ (I + P⁻¹L)⁻¹ P⁻¹, M = (P + L) P⁻¹ (P + U).
"""

from abc import abstractmethod

import equinox as eqx
from jaxtyping import Array, Inexact


class AbstractSweeps(eqx.Module):
    """The two triangles, made for one operator and its pivots."""

    @abstractmethod
    def forward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return (I + P⁻¹L)⁻¹ b, or an approximation."""

    @abstractmethod
    def backward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return (I + P⁻¹U)⁻¹ b, or an approximation."""

    @abstractmethod
    def upper(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return P⁻¹U x."""

    def solve(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return (I + P⁻¹U)⁻¹ (I + P⁻¹L)⁻¹ b, or an approximation."""
        return self.backward(self.forward(b))

    def remainder(
        self,
        b: Inexact[Array, "..."],
        x: Inexact[Array, "..."],
        omega: Inexact[Array, ""],
    ) -> Inexact[Array, "..."]:
        """Return b - P⁻¹A x for x = forward(b) and pivots P = D/ω.

        As (I + P⁻¹L) x = b this is (1 - ω) x - P⁻¹U x: half a product with A.
        """
        del b
        return (1 - omega) * x - self.upper(x)
