"""Channels shifted and scaled to mean 0 and standard deviation 1."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float


class Normalizer(eqx.Module):
    """Mean and standard deviation of each channel of a field.

    Attributes:
        mean: of each channel, over samples and points.
        std: likewise; 1 for a channel that is constant, which becomes zero.
    """

    mean: Float[Array, " channels"]
    std: Float[Array, " channels"]

    @classmethod
    def fitted(cls, fields: Any, dtype: DTypeLike) -> "Normalizer":
        """Return that of fields (samples, channels, *shape), the training's alone."""
        fields = np.asarray(fields)
        axes = (0, *range(2, fields.ndim))
        mean = np.mean(fields, axes, dtype=np.float64)
        std = np.std(fields, axes, dtype=np.float64)
        # The mean of equal numbers is off by its rounding, and so is their deviation.
        rounding = 4 * np.finfo(fields.dtype).eps * np.abs(mean)
        std = np.where(std > rounding, std, 1)
        dtype = jnp.dtype(dtype)
        return cls(jnp.asarray(mean.astype(dtype)), jnp.asarray(std.astype(dtype)))

    def normalized(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return a field (channels, *shape) in units of its deviation."""
        return (x - _as_channels(self.mean, x)) / _as_channels(self.std, x)

    def denormalized(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return a field in its own units again."""
        return x * _as_channels(self.std, x) + _as_channels(self.mean, x)


def _as_channels(values: Float[Array, " c"], x: Float[Array, "..."]) -> Any:
    return values.reshape((-1,) + (1,) * (x.ndim - 1))
