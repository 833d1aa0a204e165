"""One block of a factorised transformer: values, mixed along the axes by kernels.

Of features v with w = LayerNorm(v), and kernels K_a that are made of w for each axis
(`_axial_kernel.py`), per head

    Z = (K_x ⊗ K_y ⊗ K_z) w W_v            *chained*, of FactFormer and IFactFormer-o,
    Z = (K_x w W_v, K_y w W_v, K_z w W_v)  *parallel*, side by side, IFactFormer-m,
    F(v) = GELU(norm(Z) W_1) W_2.

The norm, without learned numbers, is one of

    instance  per channel over space, ε = 1e-5,
    slab      per index of the first axis over the others and the channels, ε = 1e-5,
    heads     per head over space and its channels, ε = 1e-8, of the unbiased variance.

Pooling is a mean and the maps before it are linear, so that they are applied to what is
pooled: the same in exact arithmetic, with 4 N D² fewer multiplications for N points.

With *quadrature*, all means and sums over points are integrals by the weights of the
grid, in units of the box. The sum of a kernel is then multiplied by a fixed number of
points: what it makes has the size that it has on a grid of so many, which matters
because of ε.

Z. Li et al., NeurIPS 2023; H. Yang, Z. Li, X. Wang, J. Wang, An implicit factorized
transformer with applications to fast prediction of three-dimensional turbulence,
Theor. Appl. Mech. Lett. 2024; H. Yang et al., arXiv 2412.18840.
"""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._axial_kernel import AxialKernel, Axis
from ._factformer_layout import Layout, Norm
from ._layers import Keys, LayerNorm, Linear, gelu

EPSILONS: dict[str, float] = {"instance": 1e-5, "slab": 1e-5, "heads": 1e-8}
NUM_REFERENCE_POINTS = 32
"""Of an axis, whose sums those of quadrature mode have the size of."""

Features = Float[Array, "*shape width"]
Values = Float[Array, "*shape heads channels"]


class FactorisedBlock(eqx.Module):
    """F(v), to be added to the features v."""

    norm: LayerNorm
    values: Linear
    inner: Linear
    kernels: tuple[AxialKernel, ...]
    outputs: tuple[Linear, ...]
    layout: Layout = eqx.field(static=True)

    def __init__(self, layout: Layout, keys: Keys) -> None:
        width, dtype = layout.width, layout.dtype
        self.norm = LayerNorm(width, dtype)
        self.values = Linear(width, layout.value_width, keys, dtype)
        self.inner = Linear(width, width, keys, dtype)
        axes = range(layout.num_dimensions)
        self.kernels = tuple(AxialKernel(layout, keys) for _ in axes)
        num_parts = layout.num_dimensions if layout.mixing == "parallel" else 1
        widths = [num_parts * layout.value_width] + [width] * (
            2 * layout.num_output_mlps - 1
        )
        self.outputs = tuple(Linear(n, width, keys, dtype) for n in widths)
        self.layout = layout

    def __call__(self, v: Features, axes: tuple[Axis, ...]) -> Features:
        w = self.norm(v)
        kernels = self.axial_kernels(w, axes)
        values = self.values(w)
        values = values.reshape(*v.shape[:-1], self.layout.num_heads, -1)
        if self.layout.mixing == "parallel":
            parts = [along(K, values, a) for a, K in enumerate(kernels)]
        else:
            for a, K in enumerate(kernels):
                values = along(K, values, a)
            parts = [values]
        parts = normalised(parts, self.layout.norm, axes)
        z = jnp.concatenate([p.reshape(*v.shape[:-1], -1) for p in parts], axis=-1)
        for first, second in zip(self.outputs[::2], self.outputs[1::2], strict=True):
            z = second(gelu(first(z)))
        return z

    def axial_kernels(
        self, w: Features, axes: tuple[Axis, ...]
    ) -> list[Float[Array, "heads _ _"]]:
        """Return the kernels that the block makes of normalised features."""
        kernels = []
        for a, (kernel, axis) in enumerate(zip(self.kernels, axes, strict=True)):
            K = kernel(self.inner(pooled(w, a, axes)), axis)
            if axis.weights is not None:
                K = K * (NUM_REFERENCE_POINTS * axis.weights)[None, None]
            kernels.append(K)
        return kernels


def pooled(w: Features, kept: int, axes: tuple[Axis, ...]) -> Float[Array, "n width"]:
    """Return the means of features over all axes but one."""
    for a in reversed(range(len(axes))):
        if a != kept:
            w = _mean_over(w, a, axes[a].weights)
    return w


def along(K: Float[Array, "heads n n"], values: Values, axis: int) -> Values:
    """Return the values multiplied by a kernel along an axis of the grid, per head."""
    # One product of n × n with n × (all the rest) per head; einsum's own order of
    # axes takes 1.5 to 4 times as long on CPUs.
    moved = jnp.moveaxis(values, (-2, axis), (0, 1))
    product = K @ moved.reshape(*moved.shape[:2], -1)
    return jnp.moveaxis(product.reshape(moved.shape), (0, 1), (-2, axis))


def normalised(parts: list[Values], norm: Norm, axes: tuple[Axis, ...]) -> list[Values]:
    """Return values of mean zero and variance one, in the sense of a norm."""
    weights = [axis.weights for axis in axes]
    means = functools.partial(_means, norm=norm, weights=weights)
    shifts = means(parts)
    centred = [part - shift for part, shift in zip(parts, shifts, strict=True)]
    variances = means([part**2 for part in centred])
    if norm == "heads" and weights[0] is None:
        # Integrals count no points.
        count = math.prod(parts[0].shape) // parts[0].shape[-2] * len(parts)
        variances = [variance * (count / (count - 1)) for variance in variances]
    epsilon = EPSILONS[norm]
    return [
        part * jax.lax.rsqrt(variance + epsilon)
        for part, variance in zip(centred, variances, strict=True)
    ]


def _means(
    parts: list[Values], norm: Norm, weights: list[Float[Array, " _"] | None]
) -> list[Values]:
    """The means of each part, or of all together, with axes of length 1."""
    first = 1 if norm == "slab" else 0
    found = []
    for part in parts:
        for a in range(first, len(weights)):
            part = jnp.expand_dims(_mean_over(part, a, weights[a]), a)
        channels = {"instance": (), "slab": (-2, -1), "heads": (-1,)}[norm]
        found.append(jnp.mean(part, axis=channels, keepdims=True))
    if norm == "instance":
        return found
    return [sum(found[1:], start=found[0]) / len(found)] * len(found)


def _mean_over(
    x: Float[Array, "..."], axis: int, weights: Float[Array, " _"] | None
) -> Float[Array, "..."]:
    if weights is None:
        return jnp.mean(x, axis=axis)
    return jnp.tensordot(weights, x, axes=(0, axis))
