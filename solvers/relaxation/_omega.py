"""The relaxation factor ω as a number that may be traced."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators._arguments import require_number
from ...operators._field import as_scalar


def as_omega(omega: Any) -> Float[Array, ""]:
    """Return ω as an array.

    Raises:
        ValueError: outside of (0, 2) or no single number.
    """
    wanted = "one number between 0 and 2 (1 is Gauss-Seidel)"
    require_number(omega, "omega", 0, 2, wanted)
    return as_scalar(omega, jnp.result_type(float, omega))
