"""Convolutions of three points per axis, and linear maps of the channels of a point.

Fields have their channels last. Beyond the ends of an axis a field is periodic or zero.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Key


class Pointwise(eqx.Module):
    """v W + b at each point.

    Args:
        in_channels: of the field.
        out_channels: of the result.
        key: from which W and b are drawn, uniformly within ± in_channels^(-1/2).
        dtype: of W and b.
    """

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        limit, dtype = in_channels**-0.5, jnp.dtype(dtype)
        keys = jax.random.split(key)
        self.weight = jax.random.uniform(
            keys[0], (in_channels, out_channels), dtype, -limit, limit
        )
        self.bias = jax.random.uniform(keys[1], (out_channels,), dtype, -limit, limit)

    def __call__(
        self, v: Float[Array, "*grid inputs"]
    ) -> Float[Array, "*grid outputs"]:
        """Return v W + b."""
        return v @ self.weight + _for_each_point(self.bias, v)


class Convolution(eqx.Module):
    """A convolution with 3^d matrices of the channels."""

    weight: Float[Array, "*window inputs outputs"]
    bias: Float[Array, " outputs"]

    def __call__(
        self, v: Float[Array, "*grid inputs"], periodic: Sequence[bool]
    ) -> Float[Array, "*grid outputs"]:
        """Return the convolution of a field whose axes are periodic or not."""
        for axis, is_periodic in enumerate(periodic):
            v = _extended(v, axis, is_periodic)
        planes, weight = v[None], self.weight
        if len(periodic) == 3:
            # A plane and its neighbours are the channels of one in 2-D: XLA's
            # convolutions of 3 axes take several times as long on CPUs.
            n, (inputs, outputs) = len(v) - 2, weight.shape[-2:]
            planes = jnp.concatenate([v[i : i + n] for i in range(3)], axis=-1)
            weight = jnp.moveaxis(weight, 0, 2).reshape(3, 3, 3 * inputs, outputs)
        axes = "XY"[: planes.ndim - 2]
        spec = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
        y = lax.conv_general_dilated(
            planes, weight, (1,) * len(axes), "VALID", dimension_numbers=spec
        )
        y = y if len(periodic) == 3 else y[0]
        return y + _for_each_point(self.bias, y)


def draw_convolutions(
    num_dimensions: int,
    channels: Sequence[tuple[int, int]],
    *,
    key: Key[Array, ""],
    dtype: DTypeLike,
) -> list[Convolution]:
    """Return convolutions of so many input and output channels.

    Weights are uniform with the variance 2 / (3^d inputs) of He et al. (2015), biases
    zero. All weights are one draw: to compile one per shape takes longer than a second
    each.
    """
    window, dtype = (3,) * num_dimensions, jnp.dtype(dtype)
    sizes = [3**num_dimensions * inputs * outputs for inputs, outputs in channels]
    drawn = jax.random.uniform(key, (sum(sizes),), dtype, -1, 1)
    parts = jnp.split(drawn, np.cumsum(sizes)[:-1].tolist())
    return [
        Convolution(
            part.reshape(*window, inputs, outputs)
            * (6 / (3**num_dimensions * inputs)) ** 0.5,
            jnp.zeros(outputs, dtype),
        )
        for part, (inputs, outputs) in zip(parts, channels, strict=True)
    ]


def _extended(v: Any, axis: int, is_periodic: bool) -> Any:
    """The field with one more point at both ends of an axis."""
    width = [(1, 1) if i == axis else (0, 0) for i in range(v.ndim)]
    return jnp.pad(v, width, mode="wrap" if is_periodic else "constant")


def _for_each_point(bias: Any, v: Any) -> Any:
    return bias.reshape((1,) * (v.ndim - 1) + bias.shape)
