"""One step of the implicit Euler method, as a part of a neural operator.

L explicit steps v ← v + F(v) / L follow dv/dt = F(v) from v₀ for a unit of time. One
implicit step of that length,

    v = v₀ + F(v),

is what `_equilibrium.py` solves. The steady state of the explicit ones, F(v) = 0, is
none of the input: v₀ enters as that from which the step starts.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators._arguments import require_number
from ...solvers.core._status import is_solved
from ._equilibrium import Equilibrium, equilibrium

Features = Float[Array, "*points width"]


def as_tolerance(rtol: Any) -> float | None:
    """Return the tolerance of an equilibrium, None where a model iterates.

    Raises:
        ValueError: it is no number between 0 and 1.
    """
    if rtol is None:
        return None
    wanted = "a relative tolerance between 0 and 1, or None to iterate"
    require_number(rtol, "equilibrium", 0, 1, wanted)
    return float(rtol)


def require_tolerance(rtol: float | None, cls: type) -> None:
    """Raise a `ValueError` where a model iterates."""
    if rtol is None:
        raise ValueError(
            f"this {cls.__name__} iterates; make one with equilibrium=1e-4, or another "
            "relative tolerance, for an equilibrium"
        )


def solved(
    F: Callable[[Features], Features], v0: Features, rtol: float | None
) -> Equilibrium:
    """Return the implicit step, with what it has cost and whether it has converged."""
    return equilibrium(F, v0, rtol=rtol, throw=False)


def value_or_nan(found: Equilibrium) -> Features:
    """Return v, or NaN where it has not converged."""
    return jnp.where(is_solved(found.status), found.value, jnp.nan)
