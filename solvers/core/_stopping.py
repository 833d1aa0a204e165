"""The one stopping test: ‖b − A x‖ ≤ max(rtol·‖b‖, atol), and who may ask for what."""

import math
from functools import cache
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from ...operators._arguments import require_count, require_number
from ...operators._arithmetic import ratio
from ...operators._field import is_traced
from ._arguments import require_inner_product
from ._least_squares import AbstractLeastSquares
from ._solver import AbstractSolver

MARGIN = 0.99
"""Solvers aim 1 % below the tolerance, so that a residual that someone else computes,
with other rounding, is below it too; it costs less than a tenth of a step."""


class Tolerance(eqx.Module):
    """‖b − A x‖ ≤ max(relative·‖b‖, absolute); numbers, traced or not."""

    relative: Any
    absolute: Any

    def threshold(
        self, b_norm: Float[Array, ""], unit: Float[Array, ""]
    ) -> Float[Array, ""]:
        """Return the residual norm that counts as converged, b measured in `unit`."""
        relative = jnp.asarray(self.relative, b_norm.dtype)
        absolute = jnp.asarray(self.absolute, b_norm.dtype)
        return jnp.maximum(relative * b_norm, absolute / unit)


LOOSEST = 1e-2
"""Relative tolerance of a derivative where atol says nothing of it, as for b = 0."""


def derivative_tolerance(tolerance: Tolerance, b_norm: Float[Array, ""]) -> Tolerance:
    """Return that of the solves for derivatives of the solution for b.

    Their right-hand sides have other units than b, so that only the relative accuracy
    of the solution carries over: rtol, or atol/‖b‖ for rtol = 0, at most `LOOSEST`.
    """
    smallest = 10 * jnp.finfo(b_norm.dtype).eps
    of_absolute = jnp.clip(
        ratio(jnp.asarray(tolerance.absolute, b_norm.dtype), b_norm), smallest, LOOSEST
    )
    of_absolute = jnp.where(b_norm > 0, of_absolute, LOOSEST)
    rtol = jnp.asarray(tolerance.relative, b_norm.dtype)
    return Tolerance(jnp.where(rtol > 0, rtol, of_absolute), 0.0)


def as_max_steps(value: Any) -> Any:
    """Convert a bound on the number of steps: one beyond 32 bits is no limit."""
    return min(value, np.iinfo(np.int32).max) if isinstance(value, int) else value


def require_damping(solver: AbstractLeastSquares) -> None:
    """Raise a `ValueError` where the damping is negative or not finite."""
    wanted = "one number, zero or positive and finite"
    require_number(solver.damping, "damping", 0, math.inf, wanted, closed=True)


def require_settings(solver: Any) -> None:
    """Check the settings that every solver has; called from `__check_init__`.

    Raises:
        ValueError: negative or non-finite tolerances, both zero, or max_steps below 1.
        TypeError: an inner product that is none.
    """
    wanted = "one number, zero or positive and finite"
    for name in ("rtol", "atol"):
        value = getattr(solver, name)
        require_number(value, name, 0, math.inf, wanted, closed=True)
    is_known = not is_traced((solver.rtol, solver.atol))
    if is_known and solver.rtol == 0 and solver.atol == 0:
        raise ValueError("rtol and atol are both zero; give one of them, say rtol=1e-6")
    if is_known and solver.rtol >= 1:
        raise ValueError(
            f"rtol must be below 1, got {solver.rtol}: the zero field would pass"
        )
    require_count(solver.max_steps, "max_steps")
    require_inner_product(solver.inner_product)


def suited_rtol(dtype: DTypeLike) -> float:
    """Return the relative tolerance of a data set of that dtype, unless one is given.

    In 32 bits it is the default of every solver, 84 eps: what small and mild systems
    reach, and others end `attained` above it, whatever is asked for.
    """
    precision = jnp.finfo(dtype)
    return 1e-8 if precision.bits == 64 else max(1e-5, 10 * float(precision.eps))


def require_reachable(
    solver: AbstractSolver | AbstractLeastSquares, dtype: DTypeLike
) -> None:
    """Refuse a relative tolerance below ten units of rounding.

    Raises:
        ValueError: 0 < rtol < 10 eps.
    """
    eps = _eps_of(dtype)
    if is_traced(solver.rtol) or not 0 < solver.rtol < 10 * eps:
        return
    precision = jnp.finfo(dtype)
    raise ValueError(
        f"rtol={solver.rtol:.1e} is below 10 eps = {10 * eps:.1e} of {precision.dtype}"
        + _reachable(precision.bits, suited_rtol(dtype))
    )


def _reachable(bits: int, suited: float) -> str:
    if bits == 64:
        return ", which rounding does not allow; ask for more than that"
    return (
        f", which rounding does not allow; {suited:.0e} suits it, and a solve that "
        "rounding ends above the tolerance is `attained`; for smaller residuals solve "
        "in float64, where Refinement(CG(rtol=1e-4), rtol=1e-8) iterates in float32"
    )


@cache
def _eps_of(dtype: DTypeLike) -> float:
    """Unit of rounding; kept, since to ask NumPy takes 5 of the 150 µs of a solve."""
    return float(jnp.finfo(dtype).eps)
