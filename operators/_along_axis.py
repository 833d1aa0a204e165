"""A matrix applied to every line of a field along one axis."""

from math import prod

import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import Precision
from jaxtyping import Array, Inexact


def multiply_along(
    matrix: Inexact[Array, "n n"], x: Inexact[Array, "..."], axis: int
) -> Inexact[Array, "..."]:
    """Multiply every line of x along an axis by a matrix, which may be a real one."""
    if jnp.iscomplexobj(x) and not jnp.iscomplexobj(matrix):
        parts = (multiply_along(matrix, part, axis) for part in (x.real, x.imag))
        return lax.complex(*parts)
    shape = x.shape
    if axis == x.ndim - 1:
        flat = x.reshape(-1, shape[axis])
        return jnp.matmul(flat, matrix.T, precision=Precision.HIGHEST).reshape(shape)
    flat = x.reshape(prod(shape[:axis]), shape[axis], -1)
    product = jax.vmap(
        lambda lines: jnp.matmul(matrix, lines, precision=Precision.HIGHEST)
    )
    return product(flat).reshape(shape)
