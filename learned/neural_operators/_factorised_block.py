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

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._axial_kernel import AxialKernel, Axis
from ._factformer_layout import Layout, Norm
from ._gelu import gelu
from ._layers import Keys, LayerNorm, Linear, on_last_axis

EPSILONS: dict[str, float] = {"instance": 1e-5, "slab": 1e-5, "heads": 1e-8}
NUM_REFERENCE_POINTS = 32
"""Of an axis, whose sums those of quadrature mode have the size of."""

Features = Float[Array, "*shape width"]
Values = Float[Array, "*shape channels"]
Moment = Float[Array, "..."]
Kernels = Float[Array, "heads _ _"]


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
        parts = self._mixed(w, self.axial_kernels(w, axes))
        shifts, scales = moments(parts, self.layout.norm, axes)
        weights = self.outputs[0].weight.reshape(
            len(parts[0]), len(parts), -1, self.layout.width
        )
        z = jnp.zeros_like(v)
        for h, head in enumerate(parts):
            for a, part in enumerate(head):
                z = z + projected(part, shifts[h][a], scales[h][a], weights[a, h])
        z = self.outputs[1](gelu(z))
        for first, second in zip(self.outputs[2::2], self.outputs[3::2], strict=True):
            z = second(gelu(first(z)))
        return z

    def _mixed(self, w: Features, kernels: list[Kernels]) -> list[list[Values]]:
        """The mixed values of each head, for each axis or for all of them.

        Heads are arrays of their own: as axes of one, they would have to be moved to
        the front and back, copies that take longer than the products.
        """
        width = self.layout.head_width
        parts = []
        for h in range(self.layout.num_heads):
            values = w @ self.values.weight[:, h * width : (h + 1) * width]
            if self.layout.mixing == "parallel":
                parts.append([along(K[h], values, a) for a, K in enumerate(kernels)])
                continue
            for a, K in enumerate(kernels):
                values = along(K[h], values, a)
            parts.append([values])
        return parts

    def axial_kernels(self, w: Features, axes: tuple[Axis, ...]) -> list[Kernels]:
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


def along(K: Float[Array, "n n"], values: Values, axis: int) -> Values:
    """Return the values of a head multiplied by a kernel along an axis of the grid."""
    # The kernel is repeated for the points of the axes before: with the axis moved to
    # the front instead, copies of the values take longer than the product.
    before, n = math.prod(values.shape[:axis]), values.shape[axis]
    repeated = jnp.broadcast_to(K, (before, n, n))
    return (repeated @ values.reshape(before, n, -1)).reshape(values.shape)


def moments(
    parts: list[list[Values]], norm: Norm, axes: tuple[Axis, ...]
) -> tuple[list[list[Moment]], list[list[Moment]]]:
    """Return the means and the inverse deviations that belong to a norm.

    Each has the axes of the part it is for, of length 1 where all entries share it.
    """
    weights = [axis.weights for axis in axes]
    shifts = _means(parts, norm, weights)
    squares = [
        [(part - shift) ** 2 for part, shift in zip(*pair, strict=True)]
        for pair in zip(parts, shifts, strict=True)
    ]
    variances = _means(squares, norm, weights)
    factor = 1.0
    if norm == "heads" and weights[0] is None:
        # Integrals count no points.
        count = parts[0][0].size * len(parts[0])
        factor = count / (count - 1)
    epsilon = EPSILONS[norm]
    scales = [[jax.lax.rsqrt(v * factor + epsilon) for v in head] for head in variances]
    return shifts, scales


def projected(
    part: Values, shift: Moment, scale: Moment, weight: Float[Array, "channels width"]
) -> Features:
    """Return ((part - shift) scale) @ weight."""
    if shift.shape[0] > 1:
        return ((part - shift) * scale) @ weight
    # Shift and scale are those of all points and go into the weights: no normalised
    # values are stored, by which a training step takes a quarter less time.
    scaled = weight * scale.reshape(-1, 1)
    offset = jnp.broadcast_to(shift.reshape(-1), len(scaled)) @ scaled
    return part @ scaled - on_last_axis(offset, part.ndim)


def _means(
    parts: list[list[Values]], norm: Norm, weights: list[Float[Array, " _"] | None]
) -> list[list[Moment]]:
    """The mean for each part, of it alone or of all it is normalised with."""
    found = [[_mean_of(part, norm, weights) for part in head] for head in parts]
    if norm == "instance":
        return found
    heads = [sum(head[1:], start=head[0]) / len(head) for head in found]
    if norm == "slab":
        heads = [sum(heads[1:], start=heads[0]) / len(heads)] * len(heads)
    return [[mean] * len(parts[0]) for mean in heads]


def _mean_of(
    part: Values, norm: Norm, weights: list[Float[Array, " _"] | None]
) -> Moment:
    for a in range(1 if norm == "slab" else 0, len(weights)):
        part = jnp.expand_dims(_mean_over(part, a, weights[a]), a)
    if norm == "instance":
        return part
    return jnp.mean(part, axis=-1, keepdims=True)


def _mean_over(
    x: Float[Array, "..."], axis: int, weights: Float[Array, " _"] | None
) -> Float[Array, "..."]:
    if weights is None:
        return jnp.mean(x, axis=axis)
    return jnp.tensordot(weights, x, axes=(0, axis))
