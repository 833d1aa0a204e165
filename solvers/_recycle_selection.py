"""Which part of a cycle's search space GCRO-DR keeps.

M. L. Parks, E. de Sturler, G. Mackey, D. D. Johnson, S. Maiti, SIAM J. Sci. Comput. 28
(2006), doi:10.1137/040607277, eq. 3.2 and Appendix, Algorithm 2, for "harmonic"; the
default needs no eigenvalues of a general matrix, which TPUs cannot compute.
"""

from typing import Literal, TypeAlias

import jax.numpy as jnp
from jax.lax import Precision
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Inexact, Int

from ._arnoldi_cycle import Cycle
from ._inner_product import InnerProduct, add, recombine, select
from ._recycle_space import RecycleSpace, ScaledSpace

Selection: TypeAlias = Literal["svd", "harmonic"]


def chosen_space(
    space: RecycleSpace,
    scaled: ScaledSpace,
    cycle: Cycle,
    selection: Selection,
    inner_product: InnerProduct,
) -> RecycleSpace:
    """The k best vectors of the search space of a cycle, A S = W Q R."""
    m = cycle.problem.R.shape[1]
    k = scaled.factors.shape[0]
    is_used = cycle.problem.is_used(cycle.j)
    triangle = cycle.problem.triangle(is_used)
    Q = jnp.where(is_used, cycle.problem.Qh.conj().T[:, :-1], 0)
    is_krylov = is_used & (jnp.arange(m, dtype=jnp.int32) >= space.num_vectors)
    WV, VV = _products(scaled, cycle, is_krylov, inner_product)
    num_vectors = jnp.minimum(k, jnp.sum(is_used, dtype=jnp.int32))
    chosen = choose_subspace(selection, triangle, Q, WV, VV, k, num_vectors)
    P = solve_triangular(triangle, chosen)
    krylov_part = jnp.where(is_krylov[:, None], P, 0)
    # V is W but for its last row; to leave that out would copy the others.
    from_krylov = recombine(jnp.pad(krylov_part, ((0, 1), (0, 0))), cycle.W)
    Y = add(recombine(P[:k], scaled.Y), from_krylov)
    C = recombine(jnp.matmul(Q, chosen, precision=Precision.HIGHEST), cycle.W)
    new = RecycleSpace(recombine(P, cycle.S), C, Y, num_vectors)
    return select(jnp.all(jnp.isfinite(P)), new, space)


def _products(
    scaled: ScaledSpace,
    cycle: Cycle,
    is_krylov: Bool[Array, " m"],
    inner_product: InnerProduct,
) -> tuple[Inexact[Array, "m1 m"], Inexact[Array, "m m"]]:
    """Inner products of W and of the search vectors [Y D, V] with the latter."""
    rest = is_krylov.shape[0] - scaled.factors.shape[0]
    WY = jnp.pad(inner_product.gram(cycle.W, scaled.Y), ((0, 0), (0, rest)))
    YY = jnp.pad(inner_product.gram(scaled.Y, scaled.Y), ((0, rest), (0, rest)))
    unit = jnp.diag(is_krylov).astype(WY.dtype)
    cross = jnp.where(is_krylov[:, None], WY[:-1], 0)
    WV = WY + jnp.pad(unit, ((0, 1), (0, 0)))
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
