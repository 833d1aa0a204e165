"""Channels shifted and scaled to mean 0 and standard deviation 1."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from ...operators._arguments import counted


class Normalizer(eqx.Module):
    """Mean and standard deviation of each channel of a field.

    Attributes:
        mean: of each channel, over samples and points.
        std: likewise; 1 for a channel that is constant, which becomes zero.
    """

    mean: Float[Array, " channels"]
    std: Float[Array, " channels"]

    @classmethod
    def fitted(
        cls, fields: Any, dtype: DTypeLike, name: str = "fields"
    ) -> "Normalizer":
        """Return that of fields (samples, channels, *shape), the training's alone.

        Raises:
            ValueError: numbers beyond the dtype, or a channel whose deviation is lost
                in the rounding of its mean; the message says of which `name`.
        """
        fields, dtype = np.asarray(fields), jnp.dtype(dtype)
        mean, std = moments(fields)
        constant = is_constant(fields, mean, std)
        for i in np.flatnonzero(~constant).tolist():
            largest = float(np.max(np.abs(fields[:, i])))
            _require_resolved(float(mean[i]), float(std[i]), largest, dtype, name, i)
        std = np.where(constant, 1, std)
        return cls(jnp.asarray(mean.astype(dtype)), jnp.asarray(std.astype(dtype)))

    def normalized(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return a field (channels, *shape) in units of its deviation."""
        return (x - _as_channels(self.mean, x)) / _as_channels(self.std, x)

    def denormalized(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return a field in its own units again."""
        return x * _as_channels(self.std, x) + _as_channels(self.mean, x)


def moments(fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel, in double precision."""
    axes = (0, *range(2, fields.ndim))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.asarray(np.mean(fields, axes, dtype=np.float64))
        return mean, np.asarray(np.std(fields, axes, dtype=np.float64))


def is_constant(fields: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return which channels do not vary, given their moments."""
    # The mean of equal numbers is off by its rounding, and so is their deviation.
    return std <= 4 * float(np.finfo(fields.dtype).eps) * np.abs(mean)


def _as_channels(values: Float[Array, " c"], x: Float[Array, "..."]) -> Any:
    if x.ndim < 1 or len(x) != len(values):
        raise ValueError(
            f"expected {counted(len(values), 'channel')}, (channels, *shape), of what "
            f"the model is given or returns, got shape {x.shape}"
        )
    return values.reshape((-1,) + (1,) * (x.ndim - 1))


def _require_resolved(
    mean: float, std: float, largest: float, dtype: Any, name: str, channel: int
) -> None:
    """Check that a channel is what it was, in the dtype of the weights."""
    info = jnp.finfo(dtype)
    if not (np.isfinite(std) and largest <= float(info.max) and std >= info.tiny):
        raise ValueError(
            f"channel {channel} of {name} holds numbers to {largest:g}, beyond what "
            f"{dtype.name}, the dtype of the weights, computes with; give it in "
            "another unit"
        )
    if std <= 4 * float(info.eps) * abs(mean):
        raise ValueError(
            f"channel {channel} of {name} varies by {std:g} around {mean:g}, less than "
            f"{dtype.name}, the dtype of the weights, resolves; subtract its mean, or "
            "give a model with weights in float64"
        )
