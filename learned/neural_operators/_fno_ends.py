"""What is before and behind the layers of a neural operator.

A layer P maps frames and coordinates to a wide field at each point, two layers Q map
the result back:

    v = P [u, x],        u⁺ = Q₂ σ(Q₁ v),        σ(v) = v Φ(v),

with Φ the normal distribution function and x scaled to the unit box. Models of all
kinds share what else they have in common here: the last frame added to the result, and
computing in the dtype of the weights.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from ...operators._arguments import (
    require_count,
    require_flag,
    require_integer,
    require_key,
    shown,
)
from ._convolution import Pointwise
from ._gelu import gelu
from ._grid import Grid, fitted, positions


class Frames(eqx.Module):
    """How many channels and frames a model takes and returns.

    Raises:
        ValueError: counts that are not positive; another number of axes than 1 to 3; an
            increment of another number of channels.
    """

    num_dimensions: int = eqx.field(static=True)
    in_channels: int = eqx.field(static=True)
    out_channels: int = eqx.field(static=True)
    num_frames: int = eqx.field(static=True, default=1)
    increment: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        require_integer(self.num_dimensions, "num_dimensions")
        if self.num_dimensions not in (1, 2, 3):
            raise ValueError(
                f"num_dimensions must be 1, 2 or 3, got {self.num_dimensions}"
            )
        for name in ("in_channels", "out_channels", "num_frames"):
            require_count(getattr(self, name), name)
        require_flag(self.increment, "increment")
        if self.increment and self.in_channels != self.out_channels:
            raise ValueError(
                "increment adds the last frame to the result, which needs as many "
                f"out_channels as in_channels, got {self.out_channels} and "
                f"{self.in_channels}"
            )

    @property
    def num_channels(self) -> int:
        """The channels of all frames."""
        return self.num_frames * self.in_channels

    def enter(
        self, u: Any, grid: Grid | None, dtype: DTypeLike
    ) -> tuple[Float[Array, "*shape channels"], Grid]:
        """Return the frames with their channels last, and the grid.

        Raises:
            TypeError: grid is something else.
            ValueError: the frames have another shape, or the grid has.
        """
        u, grid = fitted(u, grid, self.num_dimensions, self.num_channels)
        return jnp.moveaxis(u, 0, -1).astype(dtype), grid

    def leave(self, y: Float[Array, "*shape outputs"], u: Any) -> Float[Array, "..."]:
        """Return the result with its channels first, in the dtype of the frames."""
        u = jnp.asarray(u)
        result = jnp.moveaxis(y, -1, 0).astype(u.dtype)
        return result + u[-self.in_channels :] if self.increment else result


class Ends(eqx.Module):
    """P and Q.

    Args:
        frames: what enters and leaves.
        width: channels of v.
        hidden_channels: channels between Q₁ and Q₂.
        key: from which the weights are drawn.
        dtype: of the weights.
    """

    lift: Pointwise
    hidden: Pointwise
    projection: Pointwise
    frames: Frames

    def __init__(
        self,
        frames: Frames,
        width: int,
        hidden_channels: int,
        *,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        require_count(width, "width")
        require_count(hidden_channels, "hidden_channels")
        keys = jax.random.split(key, 3)
        inputs = frames.num_channels + frames.num_dimensions
        self.lift = Pointwise(inputs, width, key=keys[0], dtype=dtype)
        self.hidden = Pointwise(width, hidden_channels, key=keys[1], dtype=dtype)
        self.projection = Pointwise(
            hidden_channels, frames.out_channels, key=keys[2], dtype=dtype
        )
        self.frames = frames

    def enter(
        self, u: Any, grid: Grid | None
    ) -> tuple[Float[Array, "*shape width"], Grid]:
        """Return v and the grid."""
        dtype = self.lift.weight.dtype
        v, grid = self.frames.enter(u, grid, dtype)
        start = jnp.stack([x[0] for x in grid.coordinates])
        scale = jnp.stack(grid.lengths)
        corner = (1,) * self.frames.num_dimensions
        x = positions(grid) - start.reshape(*corner, -1)
        x = (x / scale.reshape(*corner, -1)).astype(dtype)
        return self.lift(jnp.concatenate([v, x], axis=-1)), grid

    def leave(self, v: Float[Array, "*shape width"], u: Any) -> Float[Array, "..."]:
        """Return u⁺."""
        return self.frames.leave(self.projection(gelu(self.hidden(v))), u)


def as_dtype(dtype: Any) -> Any:
    """Return the dtype of the weights of a model.

    Raises:
        ValueError: no real one.
    """
    if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
        raise ValueError(f"dtype must be a real one, got {shown(dtype)}")
    return jnp.dtype(dtype)


def split_key(key: Any, num: int) -> Any:
    """Return as many keys, from one that is checked."""
    require_key(key)
    return jax.random.split(key, num)
