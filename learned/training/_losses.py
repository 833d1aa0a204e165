"""How far a predicted field is from the true one.

Of one sample y with the prediction p, both (channels, *shape) in physical units:

    relative_l2   ‖p - y‖ / ‖y‖, over all points and channels,
    h1            (‖e‖² + ‖∇e‖²)^½ / (‖y‖² + ‖∇y‖²)^½ for e = p - y, both means over
                  points, and ∇ the differences of neighbours over their distance,
    vrmse         (⟨e²⟩ / (⟨(y - ⟨y⟩)²⟩ + 1e-7))^½, the mean over channels, where ⟨⟩ is
                  the mean over points: 1 for a prediction of the mean.

R. Ohana et al., The Well, NeurIPS 2024, arXiv 2412.00568 (VRMSE).
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators._arithmetic import power_of_two

VRMSE_FLOOR = 1e-7
"""As in The Well."""


def relative_l2(
    prediction: Float[Array, "..."], target: Float[Array, "..."]
) -> Float[Array, ""]:
    """Return ‖p - y‖ / ‖y‖, or ‖p - y‖ where y is zero."""
    return _ratio(_square, prediction - target, target)


def h1(
    prediction: Float[Array, "..."], target: Float[Array, "..."], grid: Any = None
) -> Float[Array, ""]:
    """Return the relative error in H¹.

    Args:
        prediction: (channels, *shape).
        target: (channels, *shape).
        grid: a grid with `coordinates`, an array per axis. Without them the points are
            equally spaced in the unit box, both ends included.
    """
    return _ratio(lambda x: _sobolev_square(x, grid), prediction - target, target)


def vrmse(
    prediction: Float[Array, "..."], target: Float[Array, "..."]
) -> Float[Array, ""]:
    """Return the root mean square error over the deviation of the target."""
    axes = tuple(range(1, target.ndim))
    # Squares of large numbers are beyond the dtype; those of small ones do not count.
    largest = jnp.max(jnp.abs(target), axes, keepdims=True)
    unit = power_of_two(jnp.maximum(largest, 1))
    error, target = (prediction - target) / unit, target / unit
    mean = jnp.mean(target, axes, keepdims=True)
    variance = jnp.mean((target - mean) ** 2, axes)
    floor = VRMSE_FLOOR / unit.reshape(-1) ** 2
    return jnp.mean(_root(jnp.mean(error**2, axes) / (variance + floor)))


def named(loss: Any, grid: Any) -> Callable[..., Any]:
    """Return (prediction, target, inputs) → number of a setting."""
    if callable(loss):
        return loss
    if loss == "h1":
        return lambda prediction, target, inputs: h1(prediction, target, grid)
    functions: dict[str, Callable[..., Any]] = {
        "relative_l2": relative_l2,
        "vrmse": vrmse,
    }
    function = functions[loss]
    return lambda prediction, target, inputs: function(prediction, target)


def _square(x: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.mean(x**2)


def _sobolev_square(x: Float[Array, "..."], grid: Any) -> Float[Array, ""]:
    total = _square(x)
    coordinates = getattr(grid, "coordinates", None)
    for axis in range(1, x.ndim):
        n = x.shape[axis]
        if n == 1:
            continue
        if coordinates is None:
            steps: Any = jnp.full(n - 1, 1 / (n - 1), x.dtype)
        else:
            steps = jnp.diff(coordinates[axis - 1]).astype(x.dtype)
        shape = (n - 1,) + (1,) * (x.ndim - 1 - axis)
        steps = steps.reshape((1,) * axis + shape)
        total = total + _square(jnp.diff(x, axis=axis) / steps)
    return total


def _ratio(
    square: Callable[[Float[Array, "..."]], Float[Array, ""]],
    error: Float[Array, "..."],
    target: Float[Array, "..."],
) -> Float[Array, ""]:
    """The root of the quotient of two squares, or of the first for a zero target."""
    # In units of their own, as their squares may be beyond the dtype.
    units = [power_of_two(jnp.max(jnp.abs(x))) for x in (error, target)]
    above, below = (square(x / u) for x, u in zip((error, target), units, strict=True))
    below = jnp.where(below == 0, 1, below)
    return _root(above / below) * (units[0] / units[1])


def _root(square: Float[Array, "..."]) -> Float[Array, "..."]:
    # The derivative of a root is infinite at zero, and that of the error is zero. What
    # is not a number has to stay so.
    tiny = jnp.finfo(square.dtype).tiny
    return jnp.where(square <= tiny, 0, jnp.sqrt(jnp.maximum(square, tiny)))
