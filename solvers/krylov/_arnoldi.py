"""One Arnoldi step, and the least-squares problem that grows by a column per step.

Both work on arrays of fixed shape, with the number of the step as data, so that one
compiled program serves every step of a cycle.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Inexact, Int

from ...operators._arithmetic import combine, matmul, root, scale, subtract
from ...operators._field import Field
from ..core._inner_product import InnerProduct


def orthogonalise(
    w: Field, rows: Field, num_rows: Int[Array, ""], inner_product: InnerProduct
) -> tuple[Field, Inexact[Array, " m1"], Float[Array, ""]]:
    """Make w orthonormal to a block of rows, by classical Gram-Schmidt twice.

    Twice is enough for orthogonality to rounding (L. Giraud, J. Langou, M. Rozložník,
    J. van den Eshof, Numer. Math. 101 (2005), doi:10.1007/s00211-005-0615-4), and both
    passes are matrix-vector products.

    Args:
        w: the field.
        rows: orthonormal fields stacked along a first axis.
        num_rows: how many of them, the first ones, are in use.
        inner_product: how fields are reduced.

    Returns:
        The orthonormal field, zero where w lies in the span of the rows; the
        coefficients of w in the rows; and the norm of the rest.
    """
    size = inner_product.norm(w)
    first = project(w, rows, num_rows, inner_product)
    w = subtract(w, combine(first, rows))
    second = project(w, rows, num_rows, inner_product)
    w = subtract(w, combine(second, rows))
    rest = inner_product.norm(w)
    # Below this the rest is rounding of the projections, and no direction.
    is_new = rest > 10 * jnp.finfo(size.dtype).eps * size
    factor = jnp.where(is_new, 1 / jnp.where(is_new, rest, 1), 0)
    return scale(factor, w), first + second, jnp.where(is_new, rest, 0)


def project(
    w: Field, rows: Field, num_rows: Int[Array, ""], inner_product: InnerProduct
) -> Inexact[Array, " m1"]:
    """The coefficients of w in the first rows; zero for the others."""
    along = inner_product.block_dot(rows, w)
    return jnp.where(jnp.arange(along.size, dtype=jnp.int32) < num_rows, along, 0)


class LeastSquares(eqx.Module):
    """The problem min ‖g - G y‖, G upper Hessenberg, kept as Q R by Givens rotations.

    The product of the rotations is kept as a matrix: a new column then costs one small
    matrix-vector product instead of a sequence of rotations, each a kernel of its own.

    Attributes:
        Qh: (m+1, m+1), unitary, Qᴴ.
        R: (m, m), upper triangular; columns after the last step are zero.
        Qhg: (m+1), the rotated right-hand side; entry j+1 after step j is the residual.
    """

    Qh: Inexact[Array, "m1 m1"]
    R: Inexact[Array, "m m"]
    Qhg: Inexact[Array, " m1"]

    def add_column(
        self, h: Inexact[Array, " m1"], below: Float[Array, ""], j: Int[Array, ""]
    ) -> "LeastSquares":
        """Return the problem with column j: h in rows 0..j and `below` in row j+1."""
        column = matmul(self.Qh, h)
        a = column[j]
        modulus = jnp.abs(a)
        size = root(modulus**2 + below**2)
        safe = jnp.where(size == 0, 1, size)
        phase = jnp.where(a == 0, 1, a / jnp.where(a == 0, 1, modulus).astype(a.dtype))
        cosine = jnp.where(size == 0, 1, modulus / safe).astype(a.dtype)
        sine = phase * (below / safe).astype(a.dtype)

        def rotate(rows: Array) -> Array:
            pair = lax.dynamic_slice_in_dim(rows, j, 2)
            rotation = jnp.array([[cosine, sine], [-jnp.conj(sine), cosine]])
            pair = matmul(rotation, pair)
            return lax.dynamic_update_slice_in_dim(rows, pair, j, 0)

        index = jnp.arange(self.R.shape[1], dtype=jnp.int32)
        above = jnp.where(index < j, column[:-1], 0)
        above = jnp.where(index == j, phase * size.astype(a.dtype), above)
        R = lax.dynamic_update_index_in_dim(self.R, above, j, axis=1)
        return LeastSquares(rotate(self.Qh), R, rotate(self.Qhg))

    def residual(self, j: Int[Array, ""]) -> Float[Array, ""]:
        """The minimum after j columns."""
        return jnp.abs(self.Qhg[j])

    def is_used(self, num_columns: Int[Array, ""]) -> Bool[Array, " m"]:
        """Which of the first columns are independent of those before them.

        The last one is not where a singular operator ends the Krylov space.
        """
        diagonal = jnp.abs(jnp.diagonal(self.R))
        floor = 10 * jnp.finfo(diagonal.dtype).eps * jnp.max(diagonal)
        index = jnp.arange(diagonal.size, dtype=jnp.int32)
        return (index < num_columns) & (diagonal > floor)

    def triangle(self, is_used: Bool[Array, " m"]) -> Inexact[Array, "m m"]:
        """R with columns of the identity where unused, so that it can be inverted."""
        unused = jnp.diag((~is_used).astype(self.R.dtype))
        return jnp.where(is_used[None, :], self.R, 0) + unused

    def solve(self, num_columns: Int[Array, ""]) -> Inexact[Array, " m"]:
        """The minimiser y over the first columns; zero elsewhere."""
        is_used = self.is_used(num_columns)
        rhs = jnp.where(is_used, self.Qhg[:-1], 0)
        return solve_triangular(self.triangle(is_used), rhs)


def start_least_squares(
    diagonal: Inexact[Array, " m"], norm: Float[Array, ""], first: Int[Array, ""]
) -> LeastSquares:
    """The problem before the first step: R = diag(diagonal), g = norm · e_first."""
    size = diagonal.shape[0] + 1
    g = jnp.where(jnp.arange(size, dtype=jnp.int32) == first, norm, 0).astype(
        diagonal.dtype
    )
    return LeastSquares(jnp.eye(size, dtype=diagonal.dtype), jnp.diag(diagonal), g)
