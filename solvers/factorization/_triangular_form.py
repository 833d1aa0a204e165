"""Separable systems with upper triangular lines, by back substitution.

For (T_1 ⊕ K + c) Y = G with the rest K of the lines, row j of Y along the first axis
solves (K + c + t_jj) Y_j = G_j - Σ_{k>j} t_jk Y_k: a system with one axis less. For a
product, (a T_1 ⊗ K + c) Y = G, it is (a t_jj K + c) Y_j = G_j - a K Σ_{k>j} t_jk Y_k.
R. H. Bartels, G. W. Stewart, Algorithm 432: solution of the matrix equation AX + XB =
C, Commun. ACM 15 (1972), doi:10.1145/361573.361582.

Differs from the paper:
1. Complex Schur forms of real matrices too, so that all diagonal blocks are 1 x 1.
2. Several axes, and products.
"""

from functools import reduce

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import Precision
from jaxtyping import Array, Complex, Float

from ...operators._along_axis import multiply_along
from ...operators._arithmetic import power_of_two, scale
from ...operators._control_flow import scan

Triangle = Complex[Array, "n n"]


class TriangularForm(eqx.Module):
    """unit (T_1 ⊕ T_2 ⊕ ... + c), or with a product for the sum, T_i upper triangular.

    Attributes:
        triangles: the T_i, of moderate size.
        shift: c.
        unit: a power of two.
        largest: the largest modulus of an eigenvalue of what is in brackets.
        is_product: whether the triangles are factors, not summands.
        is_regularised: whether an eigenvalue zero is replaced by the largest; otherwise
            it makes the solution NaN.
    """

    triangles: tuple[Triangle, ...]
    shift: Complex[Array, ""]
    unit: Float[Array, ""]
    largest: Float[Array, ""]
    is_product: bool = eqx.field(static=True)
    is_regularised: bool = eqx.field(static=True)

    @property
    def T(self) -> "TriangularForm":
        """The transpose, with the order of the unknowns along each axis reversed."""
        reversed_ = tuple(T.T[::-1, ::-1] for T in self.triangles)
        return eqx.tree_at(lambda form: form.triangles, self, reversed_)

    def solve(self, b: Complex[Array, "..."]) -> Complex[Array, "..."]:
        """Return the solution for a field b."""
        # Rows along the short axes one by one, along the longest in one call.
        order = np.argsort(b.shape, kind="stable").tolist()
        triangles = tuple(self.triangles[axis] for axis in order)
        one = jnp.ones_like(self.shift)
        y = self._solve(triangles, one, self.shift, jnp.transpose(b, order))
        return scale(1 / self.unit, jnp.transpose(y, np.argsort(order).tolist()))

    def _solve(
        self,
        triangles: tuple[Triangle, ...],
        weight: Complex[Array, ""],
        shift: Complex[Array, ""],
        b: Complex[Array, "..."],
    ) -> Complex[Array, "..."]:
        """Solve with weight times the sum or product of the triangles, plus shift."""
        T, *rest = triangles
        if not rest:
            return self._solve_line(weight * T, shift, b)

        def row(
            Y: Complex[Array, "..."], j: Array
        ) -> tuple[Complex[Array, "..."], None]:
            # Rows that are not known yet are zero.
            known = jnp.tensordot(T[j], Y, 1, precision=Precision.HIGHEST)
            w, c = weight, shift + T[j, j]
            if self.is_product:
                w, c = weight * T[j, j], shift
                for axis, matrix in enumerate(rest):
                    known = multiply_along(matrix, known, axis)
            y = self._solve(tuple(rest), w, c, b[j] - weight * known)
            return Y.at[j].set(y), None

        backwards = jnp.arange(len(T) - 1, -1, -1, dtype=jnp.int32)
        return scan(row, jnp.zeros_like(b), backwards)[0]

    def _solve_line(
        self,
        T: Triangle,
        shift: Complex[Array, ""],
        b: Complex[Array, " n"],
    ) -> Complex[Array, " n"]:
        pivots = jnp.diagonal(T) + shift
        # As in fast diagonalisation. Eigenvalues of a matrix that is far from normal
        # may be less accurate; a zero among them then shows in the residual.
        is_zero = jnp.abs(pivots) <= 10 * jnp.finfo(pivots.dtype).eps * self.largest
        replaced = self.largest if self.is_regularised else jnp.nan * self.largest
        pivots = jnp.where(is_zero, replaced.astype(pivots.dtype), pivots)
        matrix = jnp.fill_diagonal(T, pivots, inplace=False)
        y = lax.linalg.triangular_solve(matrix, b[:, None], left_side=True)
        return y[:, 0]


def triangular_form(
    triangles: tuple[Triangle, ...],
    shift: Complex[Array, ""],
    is_product: bool,
    is_regularised: bool,
) -> TriangularForm:
    """Return the form, measured in a power of two: divisions square what they get."""
    sizes = [jnp.max(jnp.abs(T)) for T in triangles]
    if is_product:
        units = [power_of_two(size) for size in sizes]
        unit = reduce(jnp.multiply, units)
    else:
        unit = power_of_two(reduce(jnp.maximum, [*sizes, jnp.abs(shift)]))
        units = [unit] * len(triangles)
    triangles = tuple(scale(1 / u, T) for T, u in zip(triangles, units, strict=True))
    shift = scale(1 / unit, shift)
    combine = jnp.multiply.outer if is_product else jnp.add.outer
    eigenvalues = reduce(combine, [jnp.diagonal(T) for T in triangles]) + shift
    largest = jnp.max(jnp.abs(eigenvalues))
    return TriangularForm(triangles, shift, unit, largest, is_product, is_regularised)
