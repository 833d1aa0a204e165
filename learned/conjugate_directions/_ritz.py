"""The published training data of the Deep Conjugate Direction Method.

Lanczos with full re-orthogonalisation from A g, g a Gaussian vector, in m steps, and
the Ritz pairs (θ_j, q_j) of what it spans, ascending. Residuals are

    b = Σ_j c_j q_j / ‖Σ_j c_j q_j‖,    c_j = 9 N(0, 1) for j ≤ m/2 + Θ, else N(0, 1),

so that most of their energy lies where A is small.

A. Kaneda et al., ICML 2023, PMLR 202:15720-15736, and the authors' published code (m =
10000, Θ = 500, 20000 residuals).

Differs from the paper:
1. Ritz values below 1e-8 of the largest one are dropped; in the code below 1e-8. In
   both they are those of the null space.
2. m/2 counts the pairs that are kept, which are fewer where the vectors span an
   invariant subspace before there are m.
3. The Ritz vectors, as large as the Lanczos vectors, are not formed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from ...operators import AbstractLinearOperator
from ...operators._arguments import require_count, require_key
from ...operators._operator import require_operator

CUTOFF = 1e-8
"""Of the largest Ritz value; smaller ones count as those of the null space."""

WEIGHT = 9.0


class RitzPairs(NamedTuple):
    """θ, ascending, and q = Qᵀu of those that are kept."""

    values: Float[Array, " m"]
    is_kept: Bool[Array, " m"]
    u: Float[Array, "m m"]  # columns
    Q: Float[Array, "m n"]


def ritz_residuals(
    A: AbstractLinearOperator,
    num_vectors: int,
    num_residuals: int,
    *,
    key: Key[Array, ""],
    theta: int | None = None,
) -> Float[Array, "residuals ..."]:
    """Return random sums of Ritz vectors of A, the lower half weighted 9 times.

    The residuals that the published networks are trained on, by `residual_loss`.
    `train` needs none of them. On grids with solid cells they are zero there.

    Args:
        A: symmetric, on one real array in float64; of one sign, as the weights mean
            little otherwise.
        num_vectors: m, steps of Lanczos; published 10000.
        num_residuals: how many; published 20000.
        key: of the start of Lanczos and of the coefficients.
        theta: Θ, how many more than half of the Ritz vectors are weighted; by default
            m/20, which is published.

    Returns:
        One residual per row, of norm 1; zeros if A is zero.

    Raises:
        TypeError: A is no operator.
        ValueError: A is not tagged symmetric, not on one array in float64, or of
            smaller dimension than m; or a count out of range.

    Cost: within `jit`, m products with A, 8 m² n + 10 m³ operations for vectors of
    length n, and 2 m n for each residual; m n + 4 m² + num_residuals (m + n) numbers,
    of which the published sizes make 21 GB of vectors, 3 GB, and 44 GB.

    Examples:
        >>> import jax, krylax as kx
        >>> from krylax.learned import conjugate_directions as cd
        >>> A = kx.operators.Laplacian((8, 8))
        >>> cd.ritz_residuals(A, 20, 100, key=jax.random.key(0)).shape
        (100, 8, 8)

    References:
        Kaneda et al., ICML 2023, PMLR 202:15720-15736.
    """
    require_operator(A)
    require_count(num_vectors, "num_vectors")
    require_count(num_residuals, "num_residuals")
    require_key(key)
    theta = num_vectors // 20 if theta is None else theta
    require_count(theta, "theta", least=0)
    _require_suitable(A, num_vectors)
    for_start, for_coefficients = jax.random.split(key)
    pairs = ritz_pairs(A, num_vectors, for_start)
    rank = jnp.cumsum(pairs.is_kept)
    is_low = rank <= jnp.sum(pairs.is_kept) // 2 + theta
    weights = jnp.where(is_low, WEIGHT, 1.0) * pairs.is_kept.astype(pairs.values.dtype)
    shape = (num_residuals, num_vectors)
    c = weights[None] * jax.random.normal(for_coefficients, shape, weights.dtype)
    b = c @ pairs.u.T @ pairs.Q
    norms = jnp.linalg.norm(b, axis=1, keepdims=True)
    b = b / jnp.where(norms > 0, norms, 1)
    structure: Any = A.in_structure
    return b.reshape(num_residuals, *structure.shape)


def ritz_pairs(
    A: AbstractLinearOperator, num_vectors: int, key: Key[Array, ""]
) -> RitzPairs:
    """Return the Ritz pairs of m steps of Lanczos from A g."""
    structure: Any = A.in_structure
    g = jax.random.normal(key, structure.shape, structure.dtype)
    # The other cells belong to no system that is solved.
    g = g if A.is_fluid is None else jnp.where(A.is_fluid, g, 0)
    Q, alpha, beta = _lanczos(A, A.mv(g).ravel(), num_vectors)
    T = jnp.diag(alpha) + jnp.diag(beta, 1) + jnp.diag(beta, -1)
    values, u = jnp.linalg.eigh(T)
    sizes = jnp.abs(values)
    return RitzPairs(values, sizes > CUTOFF * jnp.max(sizes), u, Q)


def _lanczos(
    A: AbstractLinearOperator, start: Float[Array, " n"], num_vectors: int
) -> tuple[Float[Array, "m n"], Float[Array, " m"], Float[Array, " m-1"]]:
    """Q, and the diagonals of T; zeros behind an invariant subspace."""
    structure: Any = A.in_structure
    shape, n = structure.shape, start.size
    smallest = n * jnp.finfo(start.dtype).eps

    def step(k: Any, carry: Any) -> Any:
        Q, alpha, beta, scale = carry
        q = Q[k]
        w = A.mv(q.reshape(shape)).ravel()
        a = jnp.dot(q, w)
        # Twice is enough: Giraud et al., Numer. Math. 101 (2005).
        for _ in range(2):
            w = w - (Q @ w) @ Q
        b = jnp.linalg.norm(w)
        scale = jnp.maximum(scale, jnp.abs(a) + b)
        # What is left of A q in an invariant subspace is rounding.
        b = jnp.where(b > smallest * scale, b, 0)
        following = jnp.where(b > 0, w / jnp.where(b > 0, b, 1), 0)
        Q = Q.at[k + 1].set(following, mode="drop")
        return Q, alpha.at[k].set(a), beta.at[k].set(b), scale

    norm = jnp.linalg.norm(start)
    first = start / jnp.where(norm > 0, norm, 1)
    Q = jnp.zeros((num_vectors, n), start.dtype).at[0].set(first)
    zeros = jnp.zeros(num_vectors, start.dtype)
    Q, alpha, beta, _ = lax.fori_loop(0, num_vectors, step, (Q, zeros, zeros, zeros[0]))
    return Q, alpha, beta[:-1]


def _require_suitable(A: AbstractLinearOperator, num_vectors: int) -> None:
    if "symmetric" not in A.tags:
        raise ValueError(
            f"A must be tagged symmetric, got a {type(A).__name__} with the tags "
            f"{sorted(A.tags)}; declare it, if it is"
        )
    structure: Any = A.in_structure
    is_array = isinstance(structure, jax.ShapeDtypeStruct)
    found = structure.dtype.name if is_array else "a pytree"
    if found != "float64":
        raise ValueError(
            f"A must act on one array in float64, got {found}: Ritz values of 1e-8 of "
            "the largest one are less than the rounding of fewer bits; make it in "
            "float64, and round the residuals"
        )
    if num_vectors > structure.size:
        raise ValueError(
            f"num_vectors must be at most the dimension of A, {structure.size}, got "
            f"{num_vectors}"
        )
