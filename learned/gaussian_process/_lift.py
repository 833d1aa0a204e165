"""A function that meets all conditions of a box, which the process is added to.

With P_d u = Σ_j E_j(x_d) L_j u, the blending of the conditions L_j of axis d, it is

    m = u - (I - P_1)(I - P_2) ... u,

of which only the data are needed: W. J. Gordon, Blending-function methods of bivariate
and multivariate interpolation, SIAM J. Numer. Anal. 8 (1971), doi:10.1137/0708019. The
E_j are polynomials, linear for two values.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ._basis import Axis
from ._conditions import FaceCondition, derivative


def lift(axes: Sequence[Axis], conditions: Sequence[FaceCondition]) -> Any:
    """Return m as a function (coordinates, parameters) -> values."""

    def m(x: tuple[Any, ...], parameters: Any) -> Any:
        del parameters
        return jnp.zeros(jnp.broadcast_shapes(*(jnp.shape(c) for c in x)))

    for index, axis in enumerate(axes):
        own = [c for c in conditions if c.axis == index]
        if own:
            m = _blended(m, axis, index, own)
    return m


def _blended(m: Any, axis: Axis, index: int, conditions: list[FaceCondition]) -> Any:
    polynomials = blending(axis, [c.functional for c in conditions])

    def more(x: tuple[Any, ...], parameters: Any) -> Any:
        total = m(x, parameters)
        for condition, coefficients in zip(conditions, polynomials, strict=True):
            side, order = condition.functional
            end = jnp.asarray((axis.low, axis.high)[side])
            at_end = (*x[:index], end, *x[index + 1 :])
            missing = condition.value(at_end, parameters)
            missing = missing - derivative(m, index, order)(at_end, parameters)
            position = (x[index] - axis.low) / axis.length
            total = total + _horner(coefficients, position) * missing
        return total

    return more


def blending(axis: Axis, functionals: Sequence[Any]) -> np.ndarray:
    """Return the coefficients of polynomials E_j with L_i E_j = δ_ij.

    They are in the position from 0 to 1 along the axis, of the lowest degree that can.
    """
    count = len(functionals)
    for degree in range(count - 1, 2 * count + 1):
        rows = np.array([_monomials(degree, f, axis.length) for f in functionals])
        if np.linalg.matrix_rank(rows) == count:
            return np.linalg.pinv(rows).T
    raise ValueError(
        f"the conditions of an axis contradict each other: {list(functionals)}"
    )


def _monomials(degree: int, functional: Any, length: float) -> list[float]:
    """The functional of each power of the position."""
    side, order = functional
    values = []
    for power in range(degree + 1):
        factor = float(np.prod(np.arange(power, power - order, -1))) if order else 1.0
        is_left = power == order if side == 0 else power >= order
        values.append(factor / length**order if is_left else 0.0)
    return values


def _horner(coefficients: np.ndarray, position: Any) -> Any:
    value = jnp.zeros_like(position) + coefficients[-1]
    for c in coefficients[-2::-1]:
        value = value * position + c
    return value
