"""Masses reduced to identities: a generalised separable form as a standard one.

With W_iᴴ M_i W_i = I the sum T_1 ⊗ M_2 + M_1 ⊗ T_2 becomes W_1ᴴT_1W_1 ⊗ I +
I ⊗ W_2ᴴT_2W_2, whose inverse X gives that of the sum, (W_1 ⊗ W_2) X (W_1 ⊗ W_2)ᴴ. B. N.
Parlett, The Symmetric Eigenvalue Problem (1980), ch. 15.4.

Differs from the source:
1. W is V m^(-1/2) of the eigenpairs M = V m Vᴴ, not an inverse Cholesky factor, since a
   kernel matrix is definite in exact arithmetic only. Eigenvalues below `CUT` of the
   largest are left out: the inverse is then a pseudo-inverse, in the space of the
   others.
2. What is left out stays in the matrices, whose sizes are static. Columns of zeros in W
   hide it, and eigenvalues beyond all others keep it apart.
"""

from functools import reduce

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import matmul
from ...operators._line import DenseLine, Line
from ...operators._separable import Separable

CUT = 450
"""In units of eps, 1e-13 in 64 bits and 5e-5 in 32: with an eigenvalue of the mass that
is smaller the reduced matrix is all rounding."""


class StandardLine(eqx.Module):
    """A line with an identity for its mass.

    Attributes:
        line: Wᴴ T W, or T where there is no mass.
        basis: W; `None` for the identity.
    """

    line: Line
    basis: Inexact[Array, "n n"] | None

    def expand(self, vectors: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
        """Return the vectors, columns in the basis, as vectors along the axis."""
        if self.basis is None:
            return vectors
        return matmul(self.basis.astype(vectors.dtype), vectors)


def standard_lines(form: Separable) -> tuple[StandardLine, ...]:
    """Return the lines of a form with its masses reduced to identities."""
    if form.masses is None:
        return tuple(StandardLine(line, None) for line in form.lines)
    bases = [_basis(mass) for mass in form.masses]
    matrices = [
        matmul(W.conj().T, matmul(line.as_matrix(), W))
        for line, (W, _) in zip(form.lines, bases, strict=True)
    ]
    # No eigenvalue of the sum is larger.
    size = reduce(jnp.add, [_norm(matrix) for matrix in matrices])
    return tuple(
        StandardLine(DenseLine(_apart(matrix, is_kept, 4 * size), line.tags), W)
        for matrix, line, (W, is_kept) in zip(matrices, form.lines, bases, strict=True)
    )


def _apart(
    matrix: Inexact[Array, "n n"], is_kept: Bool[Array, " n"], far: Float[Array, ""]
) -> Inexact[Array, "n n"]:
    """The matrix with a far eigenvalue where the mass has none."""
    return matrix + jnp.diag(jnp.where(is_kept, 0, far).astype(matrix.dtype))


def inverse_tags(A: AbstractLinearOperator, form: Separable) -> frozenset[str]:
    """Return what the inverse of A by its form promises."""
    # With a mass that is definite only in exact arithmetic the inverse is not.
    lost = {"singular"} if form.masses is None else {"singular", "positive_definite"}
    return A.tags - lost


def _basis(mass: Line) -> tuple[Inexact[Array, "n n"], Bool[Array, " n"]]:
    """W, and which of its columns are kept; the others are zero."""
    values, vectors = mass.eigenpairs()
    is_kept = values > CUT * jnp.finfo(values.dtype).eps * jnp.max(values)
    weights = jnp.where(is_kept, 1 / jnp.sqrt(jnp.where(is_kept, values, 1)), 0)
    return weights.astype(vectors.dtype)[None, :] * vectors, is_kept


def _norm(matrix: Inexact[Array, "n n"]) -> Inexact[Array, ""]:
    """The largest sum of the moduli in a row, where squares could overflow."""
    return jnp.max(jnp.sum(jnp.abs(matrix), axis=1))
