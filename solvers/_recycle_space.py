"""The recycled pair (U, C) of GCRO-DR: A U = C, CᴴC = I, and how it is made and chosen.

Notation of M. L. Parks, E. de Sturler, G. Mackey, D. D. Johnson, S. Maiti, Recycling
Krylov subspaces for sequences of linear systems, SIAM J. Sci. Comput. 28 (2006),
doi:10.1137/040607277. Blocks of vectors are stacked along the first axis.
"""

from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import Precision
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Inexact, Int

from ..operators._field import Field, Structure
from ._inner_product import InnerProduct, recombine

Selection: TypeAlias = Literal["svd", "harmonic"]


class RecycleSpace(eqx.Module):
    """What GCRO-DR hands to the next system.

    Attributes:
        U: k fields along a first axis, with A U = C for the A of the solve it came
            from.
        C: k orthonormal fields.
        Y: M U, the same vectors before the preconditioner M⁻¹; U itself without one.
        num_vectors: how many of the k count; the rest are zero.
    """

    U: Field
    C: Field
    Y: Field
    num_vectors: Int[Array, ""]


def empty_space(structure: Structure, num_recycled: int) -> RecycleSpace:
    """A space of no vectors, with room for `num_recycled`."""
    rows = jax.tree.map(
        lambda s: jnp.zeros((num_recycled, *s.shape), s.dtype), structure
    )
    return RecycleSpace(rows, rows, rows, jnp.zeros((), jnp.int32))


def orthonormalise_images(
    space: RecycleSpace, images: Field, inner_product: InnerProduct
) -> RecycleSpace:
    """Return the space with C an orthonormal basis of `images` = A U, and U to match.

    By the eigenvectors of the Gram matrix, twice (A. Stathopoulos and K. Wu, A block
    orthogonalization procedure with constant synchronization requirements, SIAM J. Sci.
    Comput. 23 (2002), doi:10.1137/S1064827500370883): it needs inner products only, and
    finds and drops dependent vectors, which end up last and zero.
    """
    U, C, Y, num_vectors = space.U, images, space.Y, space.num_vectors
    for _ in range(2):
        transform, num_vectors = _whitening(inner_product.gram(C, C))
        U, C, Y = (recombine(transform, rows) for rows in (U, C, Y))
    return RecycleSpace(U, C, Y, num_vectors)


def _whitening(
    gram: Inexact[Array, "k k"],
) -> tuple[Inexact[Array, "k k"], Int[Array, ""]]:
    """A matrix T with Tᴴ G T = I, zero in the columns of dependent directions."""
    size = gram.shape[0]
    lengths = jnp.sqrt(jnp.real(jnp.diagonal(gram)))
    inverse = jnp.where(lengths > 0, 1 / jnp.where(lengths > 0, lengths, 1), 0)
    inverse = inverse.astype(gram.dtype)
    values, vectors = jnp.linalg.eigh(inverse[:, None] * gram * inverse[None, :])
    values, vectors = values[::-1], vectors[:, ::-1]
    # Eigenvalues are squares of singular values: below this they are rounding.
    is_kept = values > size * 10 * jnp.finfo(values.dtype).eps * values[0]
    factors = jnp.where(is_kept, 1 / jnp.sqrt(jnp.where(is_kept, values, 1)), 0)
    transform = inverse[:, None] * vectors * factors.astype(gram.dtype)[None, :]
    return transform, jnp.sum(is_kept).astype(jnp.int32)


def choose_subspace(
    selection: Selection,
    triangle: Inexact[Array, "m m"],
    Q: Inexact[Array, "m1 m"],
    WV: Inexact[Array, "m1 m"],
    VV: Inexact[Array, "m m"],
    num_kept: int,
    num_vectors: Int[Array, ""],
) -> Inexact[Array, "m k"]:
    """Return an orthonormal basis of the part of the search space worth keeping.

    With A V = W Q R, W and Q orthonormal, write a search vector as V z and y = R z, so
    that ‖A V z‖ = ‖y‖. "svd" maximises ‖V z‖ / ‖A V z‖: the leading eigenvectors of R⁻ᴴ
    (VᴴV) R⁻¹, by a hermitian eigenproblem on any backend. "harmonic" takes the harmonic
    Ritz vectors of smallest modulus, (A V)ᴴ (A V) z = θ (A V)ᴴ V z, that is the leading
    eigenvectors of Qᴴ (WᴴV) R⁻¹ with eigenvalues 1/θ (Parks et al., eq. 3.2).

    Args:
        selection: "svd" or "harmonic".
        triangle: R, invertible.
        Q: the orthonormal factor, zero in unused columns.
        WV: the products of the rows of W with those of V, zero in unused columns.
        VV: the products of the rows of V, zero in unused rows and columns.
        num_kept: k.
        num_vectors: how many of them there are, at most k; the rest is zero.
    """
    is_kept = jnp.arange(num_kept, dtype=jnp.int32) < num_vectors
    if selection == "svd":
        half = _over(VV, triangle)
        _, vectors = jnp.linalg.eigh(_over(half.conj().T, triangle))
        return jnp.where(is_kept, vectors[:, ::-1][:, :num_kept], 0)
    projected = _over(jnp.matmul(Q.conj().T, WV, precision=Precision.HIGHEST), triangle)
    values, vectors = jnp.linalg.eig(projected)
    order = jnp.argsort(-jnp.abs(values), stable=True)[:num_kept]
    vectors = jnp.where(is_kept, vectors[:, order], 0)
    return jnp.where(is_kept, _span(vectors, projected.dtype), 0)


def _over(matrix: Inexact[Array, "l m"], triangle: Inexact[Array, "m m"]):
    """Matrix times R⁻¹."""
    return solve_triangular(triangle.T, matrix.T, lower=True).T


def _span(vectors: Inexact[Array, "m k"], dtype: jnp.dtype):
    """An orthonormal basis; for a real problem of the real and imaginary parts."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jnp.linalg.qr(vectors.astype(dtype))[0]
    parts = jnp.concatenate([vectors.real, vectors.imag], axis=1).astype(dtype)
    # Where a conjugate pair is cut in two, k+1 directions remain; the k leading ones
    # stay.
    return jnp.linalg.svd(parts, full_matrices=False)[0][:, : vectors.shape[1]]
