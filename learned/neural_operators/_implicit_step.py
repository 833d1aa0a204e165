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
from jaxtyping import Array, DTypeLike, Float

from ...operators._arguments import require_number
from ...solvers.core._status import is_solved
from ._equilibrium import FEWEST_EPS, Equilibrium, equilibrium

Features = Float[Array, "*points width"]


def as_tolerance(rtol: Any, dtype: DTypeLike) -> float | None:
    """Return the tolerance of an equilibrium, None where a model iterates.

    Args:
        rtol: what a model was given as `equilibrium`.
        dtype: that the model computes in.

    Raises:
        ValueError: it is no number below 1 that numbers of this dtype can meet.
    """
    if rtol is None:
        return None
    wanted = "a relative tolerance between 0 and 1, or None to iterate"
    require_number(rtol, "equilibrium", 0, 1, wanted)
    _require_attainable(float(rtol), dtype)
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
    """Return the implicit step, with what it has cost and whether it has converged.

    Raises:
        ValueError: the model computes in a dtype that cannot meet the tolerance.
    """
    if rtol is not None:
        # The dtype may be another one than at the start, by a conversion of weights.
        _require_attainable(rtol, v0.dtype)
    return equilibrium(F, v0, rtol=rtol, throw=False)


def _require_attainable(rtol: float, dtype: DTypeLike) -> None:
    info = jnp.finfo(dtype)
    if info.bits < 32:
        raise ValueError(
            f"equilibrium is for models that compute in 32 or 64 bits, got {info.dtype}"
            "; give another dtype, or None to iterate"
        )
    least = FEWEST_EPS * float(info.eps)
    if rtol < least:
        raise ValueError(
            f"equilibrium must be at least {least:.1e} in {info.dtype}, {FEWEST_EPS} "
            f"times its rounding unit, got {rtol:g}; for a smaller one give "
            "dtype=jnp.float64"
        )


def value_or_nan(found: Equilibrium) -> Features:
    """Return v, or NaN where it has not converged, and so for its derivatives."""
    one = jnp.ones((), found.value.dtype)
    # A factor, as the derivative of the NaN of a `where` would be zero.
    return found.value * jnp.where(is_solved(found.status), one, jnp.nan)
