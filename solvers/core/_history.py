"""A bounded record of residual norms inside a compiled loop.

The record has a fixed length; when it is full, every second entry is dropped and from
then on half as many are kept, so that it always covers the whole solve. Fixed and short
also because XLA's CPU backend may rewrite the whole array at each small update (jax
issue 40101).
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ...operators._control_flow import cond

LENGTH = 512


class History(eqx.Module):
    """Residual norms after 0, stride, 2·stride, ... steps; infinity beyond."""

    values: Float[Array, " length"]
    stride: Int[Array, ""]

    def record(self, step: Int[Array, ""], value: Float[Array, ""]) -> "History":
        """Return the history with the norm after `step` steps, which come in order."""
        is_full = step >= self.values.shape[0] * self.stride
        values, stride = cond(is_full, _halve, _keep, self.values, self.stride)
        # Neither is negative; `//` and `%` would look.
        place, rest = lax.div(step, stride), lax.rem(step, stride)
        before = lax.dynamic_index_in_dim(values, place, keepdims=False)
        entry = lax.select(rest == 0, value, before)
        return History(lax.dynamic_update_index_in_dim(values, entry, place, 0), stride)


def history_from(start: Float[Array, ""], max_steps: int) -> History:
    """Return a history of the norm before the first of at most `max_steps` steps."""
    length = min(LENGTH, max_steps + 1)
    # At least two entries, so that halving makes room.
    values = jnp.full((max(length, 2),), jnp.inf, start.dtype)
    return History(values.at[0].set(start), jnp.ones((), jnp.int32))


def _halve(values: Float[Array, " length"], stride: Int[Array, ""]):
    kept = values[::2]
    unused = jnp.full((values.shape[0] - kept.shape[0],), jnp.inf, values.dtype)
    return jnp.concatenate([kept, unused]), 2 * stride


def _keep(values: Float[Array, " length"], stride: Int[Array, ""]):
    return values, stride
