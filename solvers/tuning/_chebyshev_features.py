"""Chebyshev polynomials of a number in an interval, as features of regressions."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def chebyshev_features(
    x: Any, low: Any, high: Any, count: int
) -> Float[Array, "... count"]:
    """Return T_0, ..., T_{count-1} of x, scaled from [low, high] to [-1, 1].

    What lies outside counts as the nearest end, since polynomials do not extrapolate.
    """
    x = jnp.asarray(x)
    x = jnp.clip(2 * (x - low) / (high - low) - 1, -1, 1)
    values = [jnp.ones_like(x), x]
    for _ in range(2, count):
        values.append(2 * x * values[-1] - values[-2])
    return jnp.stack(values[:count], axis=-1)
