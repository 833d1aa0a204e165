"""Shifts of a grid field by one cell: the piece that every stencil is made of.

The two forms below were the fastest of seven on the CPU (XLA of jaxlib 0.10.2, float64,
7-point stencil at 128³ in a loop: 1.1 ms; `jnp.roll` and wrapped concatenations 5.6 to
9 ms, see benchmarks/stencils.py). No array is updated from its own slice, which XLA's
CPU backend has been seen to get wrong (openxla/xla issue 49176).
"""

from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Shaped

Side = Literal["low", "high"]


def shift_in_zero(
    x: Shaped[Array, "..."], axis: int, side: Side, steps: int = 1
) -> Shaped[Array, "..."]:
    """Return each cell's neighbour `steps` cells towards `side`, zero outside."""
    size = x.shape[axis]
    outside = jnp.zeros_like(lax.slice_in_dim(x, 0, steps, axis=axis))
    if side == "high":
        pieces = [lax.slice_in_dim(x, steps, size, axis=axis), outside]
    else:
        pieces = [outside, lax.slice_in_dim(x, 0, size - steps, axis=axis)]
    return jnp.concatenate(pieces, axis)


def without_last(x: Shaped[Array, "..."], axis: int) -> Shaped[Array, "..."]:
    """Return x with zeros on its high edge."""
    return shift_in_zero(shift_in_zero(x, axis, "low"), axis, "high")


def edge_in_zeros(
    x: Shaped[Array, "..."], axis: int, source: Side, target: Side
) -> Shaped[Array, "..."]:
    """Return zeros that hold, on the `target` edge, the cells of x's `source` edge."""
    size = x.shape[axis]
    start = 0 if source == "low" else size - 1
    edge = lax.slice_in_dim(x, start, start + 1, axis=axis)
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (0, size - 1, 0) if target == "low" else (size - 1, 0, 0)
    return lax.pad(edge, jnp.zeros((), x.dtype), widths)


def opposite(side: Side) -> Side:
    """The other side."""
    return "low" if side == "high" else "high"
