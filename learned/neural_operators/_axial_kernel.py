"""The kernel of one axis in a factorised transformer.

Z. Li, D. Shu, A. Barati Farimani, Scalable Transformer for PDE Surrogate Modeling
(FactFormer), NeurIPS 2023. Of features u on a grid, the axis a sees the means over all
other axes, s̄ with n_a rows, and with a gated perceptron φ, the queries and keys of a
head are

    U = φ(LayerNorm(s̄ W)),   φ(s) = (GELU(s G + g) ⊙ (s H + h)) P + p,
    q = R U W_q,  k = R U W_k,   K = q kᵀ,  n_a × n_a,

without softmax and without a factor, where R turns the pair (i, i + m/2) of the m
entries by the angle (64 x) 10000^(-2i/m) at the coordinate x of a point: a rotary
encoding, by which K depends on differences of coordinates alone.

On periodic axes with a *periodic* encoding the frequencies are the nearest harmonics of
the period, 2π j / L, so that K is the same for points a period apart.

Differs from the source: published kernels with `kernel_multiplier` above 4 have a
factor, these have none.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from ._factformer_layout import Layout
from ._gelu import gelu
from ._grid import Grid
from ._layers import Keys, LayerNorm, Linear, uniform

GAIN = 0.02
"""Of the weights of queries and keys at the start, relative to Glorot and Bengio's."""
LARGEST_FREQUENCY = 64.0
FREQUENCY_RATIO = 10000.0


class Axis(eqx.Module):
    """What a kernel has to know of the points on its axis.

    Attributes:
        cosines, sines: of the angles of the rotary encoding.
        weights: of the mean over this axis, of sum 1; None for equal ones.
    """

    cosines: Float[Array, "n half"]
    sines: Float[Array, "n half"]
    weights: Float[Array, " n"] | None


class AxialKernel(eqx.Module):
    """The kernels of all heads along one axis, n × n each."""

    reduce: Linear
    norm: LayerNorm
    gate: Linear
    mlp_out: Linear
    query: Float[Array, "width inner"]
    key: Float[Array, "width inner"]
    num_heads: int = eqx.field(static=True)

    def __init__(self, layout: Layout, keys: Keys) -> None:
        width, dtype = layout.width, layout.dtype
        self.reduce = Linear(width, width, keys, dtype)
        self.norm = LayerNorm(width, dtype)
        self.gate = Linear(width, 2 * width, keys, dtype, use_bias=True)
        self.mlp_out = Linear(width, width, keys, dtype, use_bias=True)
        inner = layout.num_heads * layout.kernel_width
        limit = GAIN * (6 / (width + inner)) ** 0.5
        self.query, self.key = (
            uniform(next(keys), (width, inner), limit, dtype) for _ in range(2)
        )
        self.num_heads = layout.num_heads

    def __call__(
        self, pooled: Float[Array, "n width"], axis: Axis
    ) -> Float[Array, "heads n n"]:
        g, h = jnp.split(self.gate(self.norm(self.reduce(pooled))), 2, axis=-1)
        u = self.mlp_out(gelu(g) * h)
        q, k = (self._turned(u @ weight, axis) for weight in (self.query, self.key))
        return jnp.einsum("ihc,jhc->hij", q, k)

    def _turned(
        self, x: Float[Array, "n inner"], axis: Axis
    ) -> Float[Array, "n heads channels"]:
        first, second = jnp.split(x.reshape(len(x), self.num_heads, -1), 2, axis=-1)
        c, s = axis.cosines[:, None], axis.sines[:, None]
        return jnp.concatenate([first * c - second * s, second * c + first * s], -1)


def axes_of(grid: Grid, layout: Layout, dtype: DTypeLike) -> tuple[Axis, ...]:
    """Return what the kernels need of each axis of a grid, in a dtype."""
    axes = []
    for x, weights, length, is_periodic in zip(
        grid.coordinates, grid.weights, grid.lengths, grid.periodic, strict=True
    ):
        period = length if is_periodic and layout.periodic_rotary else None
        angles = _angles(x, layout.kernel_width // 2, period)
        cosines, sines = (f(angles).astype(dtype) for f in (jnp.cos, jnp.sin))
        mean = None
        if layout.quadrature:
            # Their sum and not the length: rules without end points reach further
            # than their points do.
            mean = (weights / jnp.sum(weights)).astype(dtype)
        axes.append(Axis(cosines, sines, mean))
    return tuple(axes)


def _angles(
    x: Float[Array, " n"], num: int, period: Float[Array, ""] | None
) -> Float[Array, "n num"]:
    exponents = jnp.arange(num, dtype=x.dtype) / num
    frequencies = LARGEST_FREQUENCY * FREQUENCY_RATIO**-exponents
    if period is None:
        return x[:, None] * frequencies[None]
    harmonics = jnp.round(frequencies * period.astype(x.dtype) / (2 * jnp.pi))
    # Whole turns are taken off, as rounding grows with the angle.
    turns = (x / period.astype(x.dtype))[:, None] * harmonics[None]
    return 2 * jnp.pi * (turns - jnp.round(turns))
