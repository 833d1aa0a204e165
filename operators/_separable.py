"""The separable form of an operator: one matrix per axis, their sum or their product.

A = T_1 ⊗ I ⊗ I + I ⊗ T_2 ⊗ I + ... + c I, or A = T_1 ⊗ T_2 ⊗ ... + c I. In a sum masses
may stand for the identities, A = T_1 ⊗ M_2 ⊗ M_3 + M_1 ⊗ T_2 ⊗ M_3 + .... Solvers work
with one small matrix per axis: fast diagonalisation where all are hermitian, the method
of Bartels and Stewart for the others.
"""

from functools import reduce

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ._along_axis import multiply_along
from ._line import DenseLine, Line

DEFINITENESS = ("positive_definite", "positive_semidefinite")


class Separable(eqx.Module):
    """Lines along the axes of a field; what an operator answers as `separable`.

    Attributes:
        lines: per axis a square matrix, `DenseLine` or `UniformLine`, T_i; none for a
            multiple of the identity.
        shift: c, a multiple of the identity; `None` for zero.
        is_product: whether the lines are factors, not summands.
        masses: per axis a hermitian positive semidefinite matrix, M_i, in a sum without
            a shift; `None` for identities.
    """

    lines: tuple[Line, ...]
    shift: Inexact[Array, ""] | None = None
    is_product: bool = eqx.field(static=True, default=False)
    masses: tuple[Line, ...] | None = None

    @property
    def is_hermitian(self) -> bool:
        """Whether all lines are."""
        return all("hermitian" in line.tags for line in self.lines)

    @property
    def T(self) -> "Separable":
        """The transpose."""
        lines = tuple(line.T for line in self.lines)
        masses = self.masses and tuple(mass.T for mass in self.masses)
        return Separable(lines, self.shift, self.is_product, masses)

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the product with a field."""
        terms = [] if self.shift is None else [self.shift.astype(x.dtype) * x]
        matrices = [line.as_matrix() for line in self.lines]
        if self.is_product:
            terms.append(_multiply(dict(enumerate(matrices)), x))
        else:
            masses = self.masses or ()
            others = {axis: mass.as_matrix() for axis, mass in enumerate(masses)}
            for axis, matrix in enumerate(matrices):
                terms.append(_multiply(others | {axis: matrix}, x))
        return reduce(jnp.add, terms)

    def scaled(self, factor: Inexact[Array, ""]) -> "Separable":
        """Return a multiple."""
        lines = [*self.lines]
        scaled = range(len(lines))
        if self.is_product:
            # A line that may serve as a mass stays one.
            scaled = [i for i in scaled if DEFINITENESS[1] not in lines[i].tags]
            scaled = (scaled or [len(lines) - 1])[:1]
        for i in scaled:
            if jnp.iscomplexobj(factor):
                lines[i] = DenseLine(lines[i].as_matrix(), lines[i].tags)
            lines[i] = lines[i].scaled(factor)
        shift = self.shift
        if shift is not None:
            dtype = np.promote_types(factor.dtype, shift.dtype)
            shift = factor.astype(dtype) * shift.astype(dtype)
        return Separable(tuple(lines), shift, self.is_product, self.masses)

    def plus(self, other: "Separable") -> "Separable | None":
        """Return the sum, `None` where it is not separable."""
        shift = _sum(self.shift, other.shift)
        if not self.lines or not other.lines:
            form = self if self.lines else other
            if form.masses is not None:
                return None
            return Separable(form.lines, shift, form.is_product)
        if self.masses is not None or other.masses is not None:
            return None
        if self.is_product and other.is_product and shift is None:
            return _sum_of_products(self.lines, other.lines)
        if self.is_product or other.is_product:
            return None
        pairs = zip(self.lines, other.lines, strict=True)
        lines = tuple(left.plus(right) for left, right in pairs)
        return Separable(lines, shift)


def _multiply(
    matrices: dict[int, Inexact[Array, "_ _"]], x: Inexact[Array, "..."]
) -> Inexact[Array, "..."]:
    for axis, matrix in matrices.items():
        x = multiply_along(matrix, x, axis)
    return x


def _sum_of_products(
    left: tuple[Line, ...], right: tuple[Line, ...]
) -> Separable | None:
    """A ⊗ B + C ⊗ D, of which C and B can be the masses, or A and D."""
    if len(left) != 2:
        return None
    (A, B), (C, D) = left, right
    for tag in DEFINITENESS:
        for lines, masses in (((A, D), (C, B)), ((C, B), (A, D))):
            if all(tag in mass.tags for mass in masses):
                return Separable(lines, masses=masses)
    return None


def _sum(
    left: Inexact[Array, ""] | None, right: Inexact[Array, ""] | None
) -> Inexact[Array, ""] | None:
    if left is None or right is None:
        return right if left is None else left
    dtype = np.promote_types(left.dtype, right.dtype)
    return left.astype(dtype) + right.astype(dtype)
