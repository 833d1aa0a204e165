"""Linear maps and normalisation of the factorised transformers.

All act on the last axis. Weights and biases start uniform in ±1/√fan_in, fan_in the
number of inputs of a neuron, which is the default of the published code.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, DTypeLike, Float, Key

Keys = Iterator[Key[Array, ""]]

LAYER_EPSILON = 1e-5
"""Added to the variance by `LayerNorm`, as published."""
_CHUNK = 2**14
"""Random numbers that are drawn at once."""


def key_stream(key: Key[Array, ""]) -> Keys:
    """Return as many independent keys as are asked for."""
    return (jax.random.fold_in(key, i) for i in itertools.count())


class Linear(eqx.Module):
    """x W + b on the last axis, without b where there is no bias."""

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"] | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        keys: Keys,
        dtype: DTypeLike,
        *,
        use_bias: bool = False,
    ) -> None:
        limit = inputs**-0.5
        self.weight = uniform(next(keys), (inputs, outputs), limit, dtype)
        bias = uniform(next(keys), (outputs,), limit, dtype) if use_bias else None
        self.bias = bias

    def __call__(self, x: Float[Array, "*_ inputs"]) -> Float[Array, "*_ outputs"]:
        y = x @ self.weight
        return y if self.bias is None else y + on_last_axis(self.bias, y.ndim)


class LayerNorm(eqx.Module):
    """Normalisation over the last axis, with a learned scale and shift."""

    scale: Float[Array, " width"]
    shift: Float[Array, " width"]

    def __init__(self, width: int, dtype: DTypeLike) -> None:
        self.scale = jax.device_put(np.ones(width, dtype))
        self.shift = jax.device_put(np.zeros(width, dtype))

    def __call__(self, x: Float[Array, "*_ width"]) -> Float[Array, "*_ width"]:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred**2, axis=-1, keepdims=True)
        unit = centred * jax.lax.rsqrt(variance + LAYER_EPSILON)
        return unit * on_last_axis(self.scale, x.ndim) + on_last_axis(
            self.shift, x.ndim
        )


def on_last_axis(vector: Float[Array, " n"], num_axes: int) -> Float[Array, "..."]:
    """Return a vector that broadcasts against arrays of so many axes."""
    return vector.reshape((1,) * (num_axes - 1) + (-1,))


def uniform(
    key: Key[Array, ""], shape: tuple[int, ...], limit: float, dtype: DTypeLike
) -> Float[Array, "..."]:
    """Draw from the interval between -limit and limit."""
    return _drawn(
        lambda k: jax.random.uniform(k, (_CHUNK,), dtype, -1, 1), key, shape, limit
    )


def normal(
    key: Key[Array, ""], shape: tuple[int, ...], deviation: float, dtype: DTypeLike
) -> Float[Array, "..."]:
    """Draw from the normal distribution of mean zero."""
    return _drawn(
        lambda k: jax.random.normal(k, (_CHUNK,), dtype), key, shape, deviation
    )


def _drawn(
    draw: Callable[[Key[Array, ""]], Float[Array, " chunk"]],
    key: Key[Array, ""],
    shape: tuple[int, ...],
    scale: float,
) -> Float[Array, "..."]:
    """Random numbers, in chunks: a program per shape would be slow to compile."""
    size = math.prod(shape)
    chunks = [draw(jax.random.fold_in(key, i)) for i in range(-(-size // _CHUNK))]
    if isinstance(key, Tracer):
        return jnp.concatenate(chunks)[:size].reshape(shape) * scale
    return jax.device_put(np.concatenate(chunks)[:size].reshape(shape) * scale)
