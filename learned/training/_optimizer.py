"""Adam and AdamW with their schedules, and the mean of the weights over the steps.

D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015;
I. Loshchilov, F. Hutter, Decoupled weight decay regularization, ICLR 2019;
L. N. Smith, N. Topin, Super-convergence, 2018, arXiv 1708.07120 ("one_cycle").
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PyTree

from ...operators._arithmetic import power_of_two
from ._frozen import is_frozen
from ._settings import Settings

LAST_RATE = 0.01
"""Of the learning rate at the start, where it falls as a cosine."""

FIFTHS = (1, 2, 3, 4)
"""Of the training, behind which the rate of "step" is halved."""


def rates(settings: Settings, num_steps: int) -> optax.Schedule:
    """Return the learning rate as a function of the steps that were made."""
    rate: Any = float(settings.learning_rate)
    if settings.schedule == "cosine":
        return optax.cosine_decay_schedule(rate, num_steps, LAST_RATE)
    if settings.schedule == "one_cycle":
        return optax.cosine_onecycle_schedule(num_steps, rate)
    if settings.schedule == "step":
        # Fifths of less than five steps may be the same one.
        drops: dict[int, float] = {}
        for fifth in FIFTHS:
            boundary = -(-fifth * num_steps // 5)
            drops[boundary] = drops.get(boundary, 1.0) / 2
        return optax.piecewise_constant_schedule(rate, drops)
    return optax.constant_schedule(rate)


def optimizer(settings: Settings, num_steps: int) -> optax.GradientTransformation:
    """Return what makes a step of a gradient."""
    rate = rates(settings, num_steps)
    clip = optax.stateless(lambda slope, _: within(slope, settings.max_norm))
    if settings.weight_decay == 0:
        return optax.chain(clip, optax.adam(rate))
    decay = settings.weight_decay
    return optax.chain(clip, optax.adamw(rate, weight_decay=decay, mask=_decayed))


def within(gradient: PyTree, max_norm: float) -> PyTree:
    """Return a gradient, scaled to a norm where its own is larger."""
    leaves = jax.tree.leaves(gradient)
    if not leaves:
        return gradient
    sizes = [jnp.max(jnp.abs(leaf), initial=0) for leaf in leaves]
    # The square of a large gradient is beyond the dtype, and the step would be zero.
    unit = power_of_two(jnp.max(jnp.stack(sizes)))

    def divided(leaf: Any, by: Any) -> Any:
        return leaf / by.astype(leaf.real.dtype)

    gradient_in_unit = jax.tree.map(lambda leaf: divided(leaf, unit), gradient)
    squares = [jnp.sum(jnp.abs(x) ** 2) for x in jax.tree.leaves(gradient_in_unit)]
    norm = jnp.sqrt(sum(squares[1:], start=squares[0]))
    is_within = norm * unit < max_norm
    return jax.tree.map(
        lambda leaf, small: jnp.where(is_within, leaf, divided(small, norm) * max_norm),
        gradient,
        gradient_in_unit,
    )


def _decayed(weights: PyTree) -> PyTree:
    """Which parts of a model are drawn to zero: all but what is frozen."""
    return jax.tree.map(lambda part: not is_frozen(part), weights, is_leaf=is_frozen)


def begin(settings: Settings, num_steps: int, model: Any) -> PyTree:
    """Return the moments before the first step, all of them zero."""
    weights = eqx.filter(model, eqx.is_inexact_array)
    found = jax.eval_shape(optimizer(settings, num_steps).init, weights)
    return jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), found)


def update(
    settings: Settings, num_steps: int, model: Any, moments: PyTree, gradient: Any
) -> tuple[Any, PyTree]:
    """Return the model and the moments after a step."""
    # Optax raises decays to powers of integers, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        weights = eqx.filter(model, eqx.is_inexact_array)
        # The derivative of JAX by a complex weight is the conjugate of what descends.
        gradient = jax.tree.map(jnp.conj, gradient)
        made = optimizer(settings, num_steps)
        updates, moments = made.update(gradient, moments, weights)
    return eqx.apply_updates(model, updates), moments


def averaged(average: Any, model: Any, step: Int[Array, ""], ema: float) -> Any:
    """Return the mean of the weights after a step, of which `step` were before."""
    i = step.astype(float)
    d = jnp.minimum(ema, (1 + i) / (10 + i))

    def mixed(mean: Any, weight: Any) -> Any:
        if not eqx.is_inexact_array(weight):
            return weight
        return mean + (1 - d).astype(mean.real.dtype) * (weight - mean)

    return jax.tree.map(mixed, average, model)
