"""Symmetries of the channel: reflections at its middle planes, shifts along the walls.

If u is a flow, then so are its reflection at the middle plane between the walls, with
-v, its reflection in z, with -w, and its shifts in x and z. The differences have the
same symmetries, so that they hold for computed flows but for rounding, and may augment
data. All functions take a `State`, whose statistics end there, or the array of a
filtered field, of shape (3, n_x, n_y, n_z); others by `jax.vmap`.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ...operators._arguments import require_integer, shown
from ._operators import X, Y, Z
from ._state import State, new_state

Flow = TypeVar("Flow", State, Float[Array, "3 _ _ _"])


def reflect_y(flow: Flow) -> Flow:
    """Return the reflection of the flow that exchanges the two walls.

    Raises:
        ValueError: neither a state nor three components on a grid.
    """
    if isinstance(flow, State):
        u, v, w = (jnp.flip(q, Y) for q in flow.velocity)
        return new_state((u, -v, w), flow.time)
    u, v, w = (jnp.flip(q, Y) for q in _components(flow))
    return jnp.stack([u, -v, w])


def reflect_z(flow: Flow) -> Flow:
    """Return the spanwise reflection of the flow.

    Raises:
        ValueError: neither a state nor three components on a grid.
    """
    if isinstance(flow, State):
        u, v, w = (jnp.flip(q, Z) for q in flow.velocity)
        # w lies on the lower faces of its cells, of which the first is its own image.
        return new_state((u, v, -jnp.roll(w, 1, Z)), flow.time)
    u, v, w = (jnp.flip(q, Z) for q in _components(flow))
    return jnp.stack([u, v, -w])


def shift(flow: Flow, x: Any = 0, z: Any = 0) -> Flow:
    """Return the flow shifted along the walls, around the periods.

    Args:
        flow: a state or a filtered field.
        x: streamwise shift, a whole number of grid points.
        z: spanwise shift, likewise.

    Raises:
        ValueError: neither a state nor three components on a grid, or no integers.
    """
    for name, number in (("x", x), ("z", z)):
        if not isinstance(number, jax.Array):
            require_integer(number, name)
    if isinstance(flow, State):
        u, v, w = (jnp.roll(q, (x, z), (X, Z)) for q in flow.velocity)
        return new_state((u, v, w), flow.time)
    u, v, w = (jnp.roll(q, (x, z), (X, Z)) for q in _components(flow))
    return jnp.stack([u, v, w])


def random_symmetry(
    inputs: Float[Array, "..."], outputs: Float[Array, "..."], key: PRNGKeyArray
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return an example of filtered fields after one random symmetry of the channel.

    Each reflection has probability 1/2, and all shifts are equally likely. This is
    `augment` of `learned.training.Settings`.

    Args:
        inputs: velocities (frames * 3, n_x, n_y, n_z), frame after frame.
        outputs: velocities, with any axes before those of a field of three components.
        key: of the symmetry.

    Raises:
        ValueError: fields of another number of components or axes.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from krylax.datasets import channel_flow
        >>> from krylax.learned import training
        >>> settings = training.Settings(
        ...     num_steps=1, augment=channel_flow.random_symmetry
        ... )
        >>> u, after = jnp.ones((3, 4, 6, 4)), jnp.ones((1, 3, 4, 6, 4))
        >>> u, after = channel_flow.random_symmetry(u, after, jax.random.key(0))
        >>> after.shape
        (1, 3, 4, 6, 4)
    """
    if inputs.ndim != 4 or inputs.shape[0] % 3 or outputs.shape[-4:-3] != (3,):
        raise ValueError(
            "inputs must be of shape (frames * 3, n_x, n_y, n_z) and outputs of "
            f"(..., 3, n_x, n_y, n_z), got {inputs.shape} and {outputs.shape}"
        )
    keys = jax.random.split(key, 4)
    flips = [jax.random.bernoulli(k) for k in keys[:2]]
    n_x, _, n_z = inputs.shape[1:]
    x = jax.random.randint(keys[2], (), 0, n_x)
    z = jax.random.randint(keys[3], (), 0, n_z)

    def moved(field: Float[Array, "3 _ _ _"]) -> Float[Array, "3 _ _ _"]:
        for is_flipped, reflect in zip(flips, (reflect_y, reflect_z), strict=True):
            field = jnp.where(is_flipped, reflect(field), field)
        return shift(field, x=x, z=z)

    def all_moved(fields: Float[Array, "..."]) -> Float[Array, "..."]:
        single = fields.reshape(-1, 3, *fields.shape[-3:])
        return jax.vmap(moved)(single).reshape(fields.shape)

    return all_moved(inputs), all_moved(outputs)


def _components(field: Float[Array, "3 _ _ _"]) -> Float[Array, "3 _ _ _"]:
    field = jnp.asarray(field)
    if field.ndim != 4 or field.shape[0] != 3:
        raise ValueError(
            "a flow must be a State or an array of shape (3, n_x, n_y, n_z), got "
            f"{shown(field.shape)}; batches by jax.vmap"
        )
    return field
