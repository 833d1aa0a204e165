"""Examples turned into others that are as true.

The symmetries of a box are reflections of its axes, and exchanges of those of equal
length: eight of a square, forty-eight of a cube. They are symmetries of an equation
that has no direction of its own, on the whole box and with equal walls, such as Darcy
flow, and of scalar fields: the channels of a vector would have to turn with it.
"""

from itertools import permutations
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def square(
    inputs: Float[Array, "..."], outputs: Float[Array, "..."], key: Key[Array, ""]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return a random symmetry of one example.

    Args:
        inputs: (channels, *shape).
        outputs: (..., channels, *shape).
        key: from which it is drawn.
    """
    shape = inputs.shape[1:]
    num_axes = len(shape)
    for_flips, for_order = jax.random.split(key)
    flips = jax.random.bernoulli(for_flips, shape=(num_axes,))
    orders = [
        order
        for order in permutations(range(num_axes))
        if tuple(shape[axis] for axis in order) == shape
    ]
    chosen = jax.random.randint(for_order, (), 0, len(orders))

    def turned(x: Float[Array, "..."]) -> Float[Array, "..."]:
        first = x.ndim - num_axes
        for axis in range(num_axes):
            x = jnp.where(flips[axis], jnp.flip(x, first + axis), x)
        leading = tuple(range(first))
        exchanged = x
        for i, order in enumerate(orders):
            axes = leading + tuple(first + axis for axis in order)
            exchanged = jnp.where(chosen == i, jnp.transpose(x, axes), exchanged)
        return exchanged

    return turned(inputs), turned(outputs)


def named(augment: Any) -> Any:
    """Return the function (inputs, outputs, key) of a setting."""
    return square if augment == "square" else augment
