"""Small models to train, and fields to train them on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from krylax.learned import training


class Pointwise(eqx.Module):
    """A perceptron of one hidden layer at each point, with a mean over all of them."""

    lift: Any
    bias: Any
    project: Any
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    width: int = eqx.field(static=True)

    def __init__(
        self, in_channels: int, out_channels: int, *, width: int = 4, key: Any
    ) -> None:
        self.in_channels, self.out_channels, self.width = (
            in_channels,
            out_channels,
            width,
        )
        draws = jax.random.normal(key, (width, in_channels + out_channels), jnp.float32)
        self.lift, self.project = draws[:, :in_channels], draws[:, in_channels:].T
        self.bias = jnp.zeros((width,), jnp.float32)

    def __call__(self, x: Any, grid: Any = None) -> Any:
        del grid
        flat = x.reshape(self.in_channels, -1)
        bias = self.bias.astype(x.dtype)[:, None]
        hidden = jax.nn.gelu(self.lift.astype(x.dtype) @ flat + bias)
        return (self.project.astype(x.dtype) @ hidden).reshape(-1, *x.shape[1:])


training.register(Pointwise)


def pointwise(in_channels: int = 1, out_channels: int = 1) -> Pointwise:
    """The same weights each time, without computing."""
    shapes = eqx.filter_eval_shape(
        lambda key: Pointwise(in_channels, out_channels, key=key), jax.random.key(0)
    )
    rng = np.random.default_rng(7)
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(rng.standard_normal(leaf.shape).astype(np.float32))
            if isinstance(leaf, jax.ShapeDtypeStruct)
            else leaf
        ),
        shapes,
    )


def fields(num_samples: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Independent normal numbers."""
    return np.random.default_rng(seed).standard_normal((num_samples, *shape))


def examples(num_samples: int = 24) -> training.Data:
    """y = 3 max(x, 0) + 1 on 4 x 5 points."""
    x = 2 * fields(num_samples, 1, 4, 5) + 5
    return training.Data(x, 3 * np.maximum(x, 5) + 1)
