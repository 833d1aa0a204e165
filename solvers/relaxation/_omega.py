"""The relaxation factor ω as a number that may be traced."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators._field import as_scalar, is_traced


def as_omega(omega: Any) -> Float[Array, ""]:
    """Return ω as an array.

    Raises:
        ValueError: outside of (0, 2) or no single number.
    """
    if not is_traced(omega) and not (jnp.ndim(omega) == 0 and 0 < float(omega) < 2):
        raise ValueError(
            f"omega must be one number between 0 and 2, got {omega}; 1 is (symmetric) "
            "Gauss-Seidel"
        )
    return as_scalar(omega, jnp.result_type(float, omega))
