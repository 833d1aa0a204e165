"""What the triangular sweeps of SSOR and of incomplete factors have in common.

Both approximate A = D + L + U by M = (P + L) P⁻¹ (P + U) with pivots P on the diagonal
(for an incomplete factor L and U may be its own), so that
M⁻¹ = (I + P⁻¹U)⁻¹ (I + P⁻¹L)⁻¹ P⁻¹: a forward and a backward sweep.
"""

from abc import abstractmethod

import equinox as eqx
from jaxtyping import Array, Inexact


class AbstractSweeps(eqx.Module):
    """The two triangular solves of M⁻¹, made for one operator and its pivots."""

    @abstractmethod
    def solve(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return (I + P⁻¹U)⁻¹ (I + P⁻¹L)⁻¹ b, or an approximation."""
