"""Half the resolution for the blocks of a factorised transformer.

Pairs of points on every axis become one point at their mean, whose features a
convolution of window and stride 2 makes of theirs; a last point without a partner is
its own pair. Behind the blocks the features are interpolated linearly, on non-periodic
axes beyond the outer means as well, and those of the fine grid are added, so that what
has no room on the coarse one is not lost.

FactFormer (Z. Li et al., NeurIPS 2023) computes so for Darcy's equation. Differs from
the source: the published blocks of convolutions are not described there; these are the
smallest that work on any grid.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._grid import Grid


def halved(grid: Grid) -> Grid:
    """Return the grid of the pairs of points.

    Raises:
        ValueError: an axis has fewer than three points.
    """
    if min(grid.shape) < 3:
        raise ValueError(
            "downsample=True needs three points on each axis or more, the grid has "
            f"shape {grid.shape}"
        )
    coordinates, weights, lengths = [], [], []
    for x, w, length, is_periodic in zip(
        grid.coordinates, grid.weights, grid.lengths, grid.periodic, strict=True
    ):
        is_odd = len(x) % 2
        coordinates.append(jnp.mean(_pairs(x, "edge", is_odd), axis=-1))
        weights.append(jnp.sum(_pairs(w, "constant", is_odd), axis=-1))
        lengths.append(length if is_periodic else None)
    return Grid(coordinates, grid.periodic, lengths, weights)


def patches(v: Float[Array, "*fine width"]) -> Float[Array, "*coarse inputs"]:
    """Return the features of the 2^d points of each pair of pairs, side by side."""
    num_axes, width = v.ndim - 1, v.shape[-1]
    fill = [(0, n % 2) for n in v.shape[:-1]]
    v = jnp.pad(v, [*fill, (0, 0)], mode="edge")
    split = itertools.chain.from_iterable((n // 2, 2) for n in v.shape[:-1])
    v = v.reshape(*split, width)
    pairs = range(0, 2 * num_axes, 2)
    v = v.transpose(*pairs, *(a + 1 for a in pairs), 2 * num_axes)
    return v.reshape(*v.shape[:num_axes], -1)


def interpolated(
    v: Float[Array, "*coarse width"], coarse: Grid, fine: Grid
) -> Float[Array, "*fine width"]:
    """Return features on a grid from those on the grid of its pairs."""
    for a in range(len(fine.shape)):
        matrix = _interpolation(coarse, fine, a).astype(v.dtype)
        v = jnp.moveaxis(jnp.tensordot(matrix, v, axes=(1, a)), 0, a)
    return v


def _interpolation(coarse: Grid, fine: Grid, axis: int) -> Float[Array, "fine coarse"]:
    x, c = fine.coordinates[axis], coarse.coordinates[axis]
    rows, last = np.arange(len(x)), len(c) - 1
    left = (rows - 1) // 2
    if not fine.periodic[axis]:
        left = np.clip(left, 0, last - 1)
    right = left + 1
    length = coarse.lengths[axis]
    # The period of points before the first and behind the last one.
    before, after = (jnp.asarray(i // len(c), x.dtype) for i in (left, right))
    left, right = left % len(c), right % len(c)
    start, end = c[left] + before * length, c[right] + after * length
    t = (x - start) / (end - start)
    matrix = jnp.zeros((len(x), len(c)), x.dtype)
    return matrix.at[rows, left].add(1 - t).at[rows, right].add(t)


def _pairs(x: Float[Array, " n"], mode: str, is_odd: int) -> Float[Array, "half 2"]:
    return jnp.pad(x, (0, is_odd), mode=mode).reshape(-1, 2)
