"""The one stopping test: ‖b − A x‖ ≤ max(rtol·‖b‖, atol), and who may ask for what."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from ...operators._field import is_traced
from ._solver import AbstractSolver

MARGIN = 0.99
"""Solvers aim 1 % below the tolerance, so that a residual that someone else computes,
with other rounding, is below it too; it costs less than a tenth of a step."""


def threshold(
    solver: AbstractSolver, b_norm: Float[Array, ""], unit: Float[Array, ""]
) -> Float[Array, ""]:
    """The residual norm that counts as converged, where b is measured in `unit`."""
    return jnp.maximum(solver.rtol * b_norm, solver.atol / unit)


def require_settings(solver: Any) -> None:
    """Check the settings that every solver has; called from `__check_init__`.

    Raises:
        ValueError: negative or non-finite tolerances, both zero, or max_steps below 1.
    """
    for name in ("rtol", "atol"):
        value = getattr(solver, name)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be zero or positive and finite, got {value}")
    if solver.rtol == 0 and solver.atol == 0:
        raise ValueError("rtol and atol are both zero; give one of them, say rtol=1e-6")
    if solver.rtol >= 1:
        raise ValueError(
            f"rtol must be below 1, got {solver.rtol}: the zero field would pass"
        )
    if solver.max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {solver.max_steps}")


def require_integers(settings: Any, *names: str) -> None:
    """Check settings that count something.

    Raises:
        ValueError: one of them is no integer.
    """
    for name in names:
        if not isinstance(value := getattr(settings, name), int | np.integer):
            raise ValueError(f"{name} must be an integer, got {value!r}")


def require_reachable(solver: AbstractSolver, dtype: DTypeLike) -> None:
    """Refuse a relative tolerance below ten units of rounding.

    Raises:
        ValueError: 0 < rtol < 10 eps.
    """
    eps = float(jnp.finfo(dtype).eps)
    if is_traced(solver.rtol) or not 0 < solver.rtol < 10 * eps:
        return
    raise ValueError(
        f"rtol={solver.rtol:.1e} is below 10 eps = {10 * eps:.1e} of {jnp.dtype(dtype)}"
        "; ask for at least that, or solve in a higher precision"
    )
