"""What is before and behind the blocks of a factorised transformer.

Of T frames x_t of c channels at the points p, with m the width and m/2 features each,

    v₀ = Σ_t GELU(x_t P₁ + p₁) P₂,t + [sin 2π(p B), cos 2π(p B)] S + s,
    u = GELU(v_L Q₁) Q₂ + q₂,

P₁ one per channel: each has (m/2) / c of the features to itself, where that is a whole
number, and else all features are of all channels. B is drawn once, normal with the
deviation `feature_scale`, and stays as it is: it is counted as a parameter, as
published, and its gradient is zero.

Yang et al., arXiv 2412.18840. The random features are those of M. Tancik et al.,
Fourier features let networks learn high frequency functions, NeurIPS 2020.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..training import Frozen
from ._axial_kernel import Axis, axes_of
from ._factformer_coarse import halved, interpolated, patches
from ._factformer_layout import Layout
from ._factorised_block import FactorisedBlock
from ._gelu import gelu
from ._grid import Grid, fitted, positions
from ._layers import Keys, Linear, key_stream, normal, on_last_axis, uniform

Features = Float[Array, "*grid width"]


class Ends(eqx.Module):
    """The lift, the positions and the projection."""

    lift: Float[Array, "groups inputs outputs"]
    lift_bias: Float[Array, " half"]
    frames: Linear
    frequencies: Frozen
    positions: Linear
    downward: Linear | None
    project: Linear
    project_out: Linear
    layout: Layout = eqx.field(static=True)

    def __init__(self, layout: Layout, keys: Keys) -> None:
        width, half, dtype = layout.width, layout.width // 2, layout.dtype
        groups = layout.num_lift_groups
        inputs = layout.in_channels // groups
        shape = (groups, inputs, half // groups)
        self.lift = uniform(next(keys), shape, inputs**-0.5, dtype)
        self.lift_bias = uniform(next(keys), (half,), inputs**-0.5, dtype)
        self.frames = Linear(layout.num_frames * half, width, keys, dtype)
        shape = (layout.num_dimensions, half)
        self.frequencies = Frozen(
            normal(next(keys), shape, layout.feature_scale, dtype)
        )
        self.positions = Linear(width, width, keys, dtype, use_bias=True)
        self.project = Linear(width, half, keys, dtype)
        self.project_out = Linear(half, layout.out_channels, keys, dtype, use_bias=True)
        cells = 2**layout.num_dimensions
        self.downward = (
            Linear(cells * width, width, keys, dtype, use_bias=True)
            if layout.downsample
            else None
        )
        self.layout = layout

    def __call__(
        self,
        x: Any,
        grid: Grid | None,
        advance: Callable[[Features, tuple[Axis, ...]], Features],
    ) -> Float[Array, "..."]:
        """Return the model's value, `advance` being what is between its ends."""
        layout = self.layout
        num_channels = layout.num_frames * layout.in_channels
        x, grid = fitted(x, grid, layout.num_dimensions, num_channels)
        # That of the weights as they are: who trains may have cast them.
        dtype = self.lift.dtype
        v = self._lifted(x.astype(dtype)) + self._located(grid)
        if self.downward is None:
            v = advance(v, axes_of(grid, layout, dtype))
        else:
            coarse = halved(grid)
            inner = advance(self.downward(patches(v)), axes_of(coarse, layout, dtype))
            v = v + interpolated(inner, coarse, grid)
        y = jnp.moveaxis(self.project_out(gelu(self.project(v))), -1, 0)
        y = y.astype(x.dtype)
        return y + x[-layout.in_channels :] if layout.increment else y

    def _lifted(self, x: Float[Array, "..."]) -> Features:
        groups, inputs, _ = self.lift.shape
        x = x.reshape(self.layout.num_frames, groups, inputs, *x.shape[1:])
        x = jnp.moveaxis(x, (0, 1, 2), (-3, -2, -1))
        lifted = jnp.einsum("...gi,gio->...go", x, self.lift)
        lifted = lifted.reshape(*x.shape[:-2], -1)
        features = gelu(lifted + on_last_axis(self.lift_bias, lifted.ndim))
        return self.frames(features.reshape(*x.shape[:-3], -1))

    def _located(self, grid: Grid) -> Features:
        """The features of positions.

        With a periodic encoding they are constant along periodic axes, which are then
        the same everywhere.
        """
        points = positions(grid)
        if self.layout.periodic_rotary:
            kept = jnp.asarray([not flag for flag in grid.periodic], points.dtype)
            points = points * on_last_axis(kept, points.ndim)
        frequencies = self.frequencies().astype(points.dtype)
        # A product of matrices would be one of lower precision on accelerators.
        phases = sum(
            points[..., a, None] * on_last_axis(row, points.ndim)
            for a, row in enumerate(frequencies)
        )
        angles = 2 * jnp.pi * jnp.asarray(phases)
        features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        return self.positions(features.astype(self.lift.dtype))


def drawn_parts(
    layout: Layout, num_blocks: int, key: Key[Array, ""]
) -> tuple[Ends, tuple[FactorisedBlock, ...]]:
    """Return the ends and the blocks of a new model."""
    first, *others = (jax.random.fold_in(key, i) for i in range(1 + num_blocks))
    blocks = tuple(FactorisedBlock(layout, key_stream(k)) for k in others)
    return Ends(layout, key_stream(first)), blocks
