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
from jaxtyping import Array, Float

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


def _components(field: Float[Array, "3 _ _ _"]) -> Float[Array, "3 _ _ _"]:
    field = jnp.asarray(field)
    if field.ndim != 4 or field.shape[0] != 3:
        raise ValueError(
            "a flow must be a State or an array of shape (3, n_x, n_y, n_z), got "
            f"{shown(field.shape)}; batches by jax.vmap"
        )
    return field
