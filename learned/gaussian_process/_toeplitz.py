"""Symmetric Toeplitz matrices, which kernels are on uniform points."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float


def toeplitz(column: Float[Array, " n"], order: int) -> Float[Array, "n n"]:
    """Return the matrix of k^(order)(x_i - x_j), of which the first column is given.

    A derivative of odd order is odd.
    """
    number = jnp.arange(column.shape[0])
    lag = number[:, None] - number[None, :]
    entries = column[jnp.abs(lag)]
    return entries if order % 2 == 0 else jnp.where(lag < 0, -entries, entries)


@jax.custom_jvp
def log_determinant(column: Float[Array, " n"], factor: Float[Array, "n n"]) -> Any:
    """Return log|K| of a Toeplitz matrix, given its first column and Cholesky factor.

    Its derivative in the entries of a diagonal is the sum of the inverse's diagonal. By
    the formula of Gohberg and Semencul (1972) the inverse is

        K⁻¹ = (L(x) L(x)ᵀ - L(y) L(y)ᵀ) / x_0,  K x = e_0,  y = (0, x_{n-1}, ..., x_1),

    with L(x) the lower triangular Toeplitz matrix with first column x, so that the sum
    of its diagonal k is Σ_p (n - k - 2p) x_p x_{p+k} / x_0: one solve for n.
    """
    del column
    return 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))


@log_determinant.defjvp
def _log_determinant_jvp(primals: Any, tangents: Any) -> Any:
    column, factor = primals
    n = column.shape[0]
    number = jnp.arange(n)
    order = number.astype(column.dtype)
    x = cho_solve((factor, True), jnp.zeros(n).at[0].set(1))
    # Row k is x from its entry k on.
    shifted = jnp.pad(x, (0, n))[number[:, None] + number[None, :]]
    sums = ((n - order) * (shifted @ x) - 2 * (shifted @ (order * x))) / x[0]
    counts = jnp.full(n, 2.0).at[0].set(1.0)
    return log_determinant(column, factor), jnp.sum(counts * sums * tangents[0])
