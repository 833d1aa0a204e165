"""The separable form of an operator: one matrix per axis, their sum or their product.

A = T_1 ⊗ I ⊗ I + I ⊗ T_2 ⊗ I + ... + c I, or A = T_1 ⊗ T_2 ⊗ ... + c I: eigenvectors
are products of those of the T_i, which is what fast diagonalisation uses.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ._line import DenseLine, Line


class Separable(eqx.Module):
    """Lines along the axes of a field; what an operator answers as `separable`.

    Attributes:
        lines: per axis a hermitian matrix, `DenseLine` or `UniformLine`; none for a
            multiple of the identity.
        shift: c, a multiple of the identity; `None` for zero.
        is_product: whether the lines are factors, not summands.
    """

    lines: tuple[Line, ...]
    shift: Inexact[Array, ""] | None = None
    is_product: bool = eqx.field(static=True, default=False)

    def scaled(self, factor: Inexact[Array, ""]) -> "Separable | None":
        """Return a multiple, `None` for a complex one."""
        if jnp.iscomplexobj(factor):
            return None
        lines = self.lines
        if self.is_product:
            lines = (lines[0].scaled(factor), *lines[1:])
        else:
            lines = tuple(line.scaled(factor) for line in lines)
        shift = self.shift
        if shift is not None:
            shift = factor.astype(shift.dtype) * shift
        return Separable(lines, shift, self.is_product)

    def plus(self, other: "Separable") -> "Separable | None":
        """Return the sum, `None` where it is not separable."""
        shift = _sum(self.shift, other.shift)
        if not self.lines or not other.lines:
            form = self if self.lines else other
            return Separable(form.lines, shift, form.is_product)
        if self.is_product or other.is_product:
            return None
        pairs = zip(self.lines, other.lines, strict=True)
        lines = tuple(
            DenseLine(left.as_matrix() + right.as_matrix()) for left, right in pairs
        )
        return Separable(lines, shift)


def _sum(
    left: Inexact[Array, ""] | None, right: Inexact[Array, ""] | None
) -> Inexact[Array, ""] | None:
    if left is None or right is None:
        return right if left is None else left
    dtype = jnp.promote_types(left.dtype, right.dtype)
    return left.astype(dtype) + right.astype(dtype)
