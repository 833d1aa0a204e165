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

VRMSE_FLOOR = 1e-7
"""As in The Well."""


def relative_l2(
    prediction: Float[Array, "..."], target: Float[Array, "..."]
) -> Float[Array, ""]:
    """Return ‖p - y‖ / ‖y‖; ‖p - y‖ where y is zero."""
    return _ratio(_square(prediction - target), _square(target))


def h1(
    prediction: Float[Array, "..."], target: Float[Array, "..."], grid: Any = None
) -> Float[Array, ""]:
    """Return the relative error in H¹.

    Args:
        prediction: (channels, *shape).
        target: likewise.
        grid: with `coordinates`, an array per axis; None for the unit box with points
            from wall to wall.
    """
    error = prediction - target
    return _ratio(_sobolev_square(error, grid), _sobolev_square(target, grid))


def vrmse(
    prediction: Float[Array, "..."], target: Float[Array, "..."]
) -> Float[Array, ""]:
    """Return the root of the mean square over that of the target without its mean."""
    axes = tuple(range(1, target.ndim))
    mean = jnp.mean(target, axes, keepdims=True)
    variance = jnp.mean((target - mean) ** 2, axes)
    square = jnp.mean((prediction - target) ** 2, axes)
    return jnp.mean(_root(square / (variance + VRMSE_FLOOR)))


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
    for axis in range(1, x.ndim):
        n = x.shape[axis]
        if n == 1:
            continue
        if grid is None:
            steps: Any = jnp.full(n - 1, 1 / (n - 1), x.dtype)
        else:
            steps = jnp.diff(grid.coordinates[axis - 1]).astype(x.dtype)
        shape = (n - 1,) + (1,) * (x.ndim - 1 - axis)
        steps = steps.reshape((1,) * axis + shape)
        total = total + _square(jnp.diff(x, axis=axis) / steps)
    return total


def _ratio(square: Float[Array, ""], scale: Float[Array, ""]) -> Float[Array, ""]:
    scale = jnp.where(scale > 0, scale, 1)
    return _root(square / scale)


def _root(square: Float[Array, "..."]) -> Float[Array, "..."]:
    # The derivative of a root is infinite at zero, and that of the error is zero.
    tiny = jnp.finfo(square.dtype).tiny
    return jnp.where(square > tiny, jnp.sqrt(jnp.maximum(square, tiny)), 0)
