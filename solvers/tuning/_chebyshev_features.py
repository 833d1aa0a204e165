"""Chebyshev polynomials of a number in an interval, as features of regressions.

Tuners evaluate them inside compiled programs, where
`numpy.polynomial.chebyshev.chebvander` cannot follow and JAX has no counterpart.
"""

from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Number: TypeAlias = float | Float[Array, ""]


def chebyshev_features(
    x: Float[Array, "*points"], low: Number, high: Number, count: int
) -> Float[Array, "*points count"]:
    """Return T_0, ..., T_{count-1} of x, scaled from [low, high] to [-1, 1].

    Points outside are clipped to the interval, since polynomials do not extrapolate.
    NaN counts as the middle, where one such point harms least what is learned.
    """
    x = jnp.where(jnp.isnan(x), (low + high) / 2, x)
    x = jnp.clip(2 * (x - low) / (high - low) - 1, -1, 1)
    values = [jnp.ones_like(x), x]
    for _ in range(2, count):
        values.append(2 * x * values[-1] - values[-2])
    return jnp.stack(values[:count], axis=-1)
