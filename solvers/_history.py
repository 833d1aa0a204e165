"""A bounded record of residual norms inside a compiled loop.

The record has a fixed length; when it is full, every second entry is dropped and from
then on half as many are kept, so that it always covers the whole solve. Fixed and short
also because XLA's CPU backend may rewrite the whole array at each small update (jax
issue 40101).
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

LENGTH = 512


class History(eqx.Module):
    """Residual norms after 0, stride, 2·stride, ... steps; NaN where not reached."""

    values: Float[Array, " length"]
    stride: Int[Array, ""]

    def record(self, step: Int[Array, ""], value: Float[Array, ""]) -> "History":
        """Return the history with the norm after `step` steps, which come in order."""
        length = self.values.shape[0]
        is_full = step >= length * self.stride
        halved = jnp.concatenate(
            [self.values[::2], jnp.full_like(self.values, jnp.nan)]
        )[:length]
        values = jnp.where(is_full, halved, self.values)
        stride = jnp.where(is_full, 2 * self.stride, self.stride)
        place = jnp.where(step % stride == 0, step // stride, length)
        return History(values.at[place].set(value, mode="drop"), stride)


def empty_history(max_steps: int, dtype: DTypeLike) -> History:
    """A history for at most `max_steps` steps and the start."""
    length = min(LENGTH, max_steps + 1)
    # At least two entries, so that halving makes room.
    values = jnp.full((max(length, 2),), jnp.nan, dtype)
    return History(values, jnp.ones((), jnp.int32))
