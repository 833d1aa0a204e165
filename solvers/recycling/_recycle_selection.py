"""Which part of a cycle's search space GCRO-DR keeps.

M. L. Parks, E. de Sturler, G. Mackey, D. D. Johnson, S. Maiti, SIAM J. Sci. Comput. 28
(2006), doi:10.1137/040607277, eq. 3.2 and Appendix, Algorithm 2, for "harmonic"; the
default needs no eigenvalues of a general matrix, which TPUs cannot compute.
"""

from typing import Literal, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Inexact, Int

from ...operators._arithmetic import matmul, select
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..krylov._arnoldi_cycle import Cycle
from ._recycle_space import inverse_lengths

Selection: TypeAlias = Literal["svd", "harmonic"]


class ScaledGram(eqx.Module):
    """The scaling of a recycle space, and the Gram matrix of the scaled vectors.

    Within a solve A U = C D, where D makes the vectors of Y = M U of length one: else U
    grows as the inverse of the eigenvalues that it holds, and would ruin the small
    problems of a cycle (Parks et al., Algorithm 2, step 22).

    Attributes:
        factors: the diagonal of D, zero beyond `num_vectors`.
        YY: the inner products of Y.
        num_vectors: how many of the k count.
    """

    factors: Float[Array, " k"]
    YY: Inexact[Array, "k k"]
    num_vectors: Int[Array, ""]


class Choice(eqx.Module):
    """The k best vectors of a search space S of a cycle, A S = W Ḡ.

    Attributes:
        U: their coefficients in S, and those of Y in [Y, V].
        C: those of A U D⁻¹ in W.
        gram: the scaling and the products of what they make.
    """

    U: Inexact[Array, "m k"]
    C: Inexact[Array, "m1 k"]
    gram: ScaledGram


def choose(
    gram: ScaledGram,
    cycle: Cycle,
    Y: Field,
    selection: Selection,
    inner_product: InnerProduct,
) -> Choice:
    """Return what to keep of a cycle: as it was, where rounding leaves no choice."""
    m, k = cycle.problem.R.shape[1], gram.factors.shape[0]
    is_used = cycle.problem.is_used(cycle.j)
    triangle = cycle.problem.triangle(is_used)
    Q = jnp.where(is_used, cycle.problem.Qh.conj().T[:, :-1], 0)
    WV, VV = _products(gram, cycle, Y, is_used, inner_product)
    num_vectors = jnp.minimum(k, jnp.sum(is_used, dtype=jnp.int32))
    chosen = choose_subspace(selection, triangle, Q, WV, VV, k, num_vectors)
    P = solve_triangular(triangle, chosen)
    factors = inverse_lengths(matmul(P.conj().T, matmul(VV, P)))
    P = P * factors[None, :].astype(P.dtype)
    YY = matmul(P.conj().T, matmul(VV, P))
    found = Choice(P, matmul(Q, chosen), ScaledGram(factors, YY, num_vectors))
    same = Choice(jnp.eye(m, k, dtype=P.dtype), jnp.eye(m + 1, k, dtype=P.dtype), gram)
    return select(jnp.all(jnp.isfinite(P)), found, same)


def _products(
    gram: ScaledGram,
    cycle: Cycle,
    Y: Field,
    is_used: Bool[Array, " m"],
    inner_product: InnerProduct,
) -> tuple[Inexact[Array, "m1 m"], Inexact[Array, "m m"]]:
    """Inner products of W and of the search vectors [Y, V] with the latter."""
    k, m = gram.factors.shape[0], is_used.shape[0]
    index = jnp.arange(m + 1, dtype=jnp.int32)
    is_krylov = is_used & (index[:-1] >= gram.num_vectors)
    WY = jnp.pad(inner_product.gram(cycle.W, Y), ((0, 0), (0, m - k)))
    WY = jnp.where((index <= cycle.j)[:, None], WY, 0)
    unit = jnp.diag(is_krylov).astype(WY.dtype)
    cross = jnp.where(is_krylov[:, None], WY[:-1], 0)
    WV = WY + jnp.pad(unit, ((0, 1), (0, 0)))
    YY = jnp.pad(gram.YY, ((0, m - k), (0, m - k)))
    return WV, YY + cross + cross.conj().T + unit


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
    projected = _over(matmul(Q.conj().T, WV), triangle)
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
