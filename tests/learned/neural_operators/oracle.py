"""The factorised transformers in NumPy, from their formulas and in their order.

Nothing is shared with the library but the weights: linear maps come before means,
kernels are applied by einsum, pairs are turned as complex numbers, and values are
normalised before they are projected.
"""

from typing import Any

import jax
import numpy as np
from scipy.special import erf


def as_numpy(model: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, np.float64), model)


def model_value(model: Any, x: np.ndarray, coordinates: Any) -> np.ndarray:
    """The value of an `IFactFormer` or `FactFormer` without options."""
    model = as_numpy(model)
    shape, coordinates = x.shape[1:], [np.asarray(c) for c in coordinates]
    v = lifted(model.ends, x) + located(model.ends, coordinates)
    if hasattr(model, "block"):
        for _ in range(model.num_iterations):
            v = v + change(model.block, v, coordinates) / model.num_iterations
    else:
        for block in model.blocks:
            v = v + change(block, v, coordinates)
    u = linear(model.ends.project_out, gelu(linear(model.ends.project, v)))
    assert u.shape[:-1] == shape
    return np.moveaxis(u, -1, 0)


def lifted(ends: Any, x: np.ndarray) -> np.ndarray:
    """Frame after frame, channel group after channel group."""
    groups, inputs, outputs = ends.lift.shape
    frames = np.split(x, ends.layout.num_frames)
    half = groups * outputs
    weights = ends.frames.weight.reshape(len(frames), half, -1)
    total = 0
    for frame, weight in zip(frames, weights, strict=True):
        features = []
        for g in range(groups):
            own = frame[g * inputs : (g + 1) * inputs]
            made = np.tensordot(ends.lift[g].T, own, axes=1)
            bias = ends.lift_bias[g * outputs : (g + 1) * outputs]
            features += [made[i] + bias[i] for i in range(outputs)]
        total = total + gelu(np.stack(features, -1)) @ weight
    return np.asarray(total)


def located(ends: Any, coordinates: list[np.ndarray]) -> np.ndarray:
    points = np.stack(np.meshgrid(*coordinates, indexing="ij"), -1)
    angles = 2 * np.pi * points @ ends.frequencies.value
    return linear(ends.positions, np.concatenate([np.sin(angles), np.cos(angles)], -1))


def change(block: Any, v: np.ndarray, coordinates: list[np.ndarray]) -> np.ndarray:
    """F(v)."""
    heads, num_axes = block.layout.num_heads, len(coordinates)
    w = layer_norm(block.norm, v)
    values = linear(block.values, w).reshape(*w.shape[:-1], heads, -1)
    kernels = [
        kernel(block, axial, linear(block.inner, w), a, coordinates[a])
        for a, axial in enumerate(block.kernels)
    ]
    letters = "xyz"[:num_axes]
    if block.layout.mixing == "chained":
        names = ",".join(f"h{a.upper()}{a}" for a in letters)
        subscripts = f"{names},{letters}hd->{letters.upper()}hd"
        parts = [np.einsum(subscripts, *kernels, values)]
    else:
        parts = [
            np.einsum(
                f"h{a.upper()}{a},{letters}hd->{letters.replace(a, a.upper())}hd",
                K,
                values,
            )
            for a, K in zip(letters, kernels, strict=True)
        ]
    z = normalised(np.stack(parts), block.layout.norm)
    z = np.moveaxis(z, 0, -3).reshape(*v.shape[:-1], -1)
    for first, second in zip(block.outputs[::2], block.outputs[1::2], strict=True):
        z = linear(second, gelu(linear(first, z)))
    return z


def kernel(
    block: Any, axial: Any, s: np.ndarray, axis: int, x: np.ndarray
) -> np.ndarray:
    """K of all heads along an axis."""
    others = tuple(a for a in range(s.ndim - 1) if a != axis)
    pooled = layer_norm(axial.norm, linear(axial.reduce, s).mean(others))
    gate, value = np.split(linear(axial.gate, pooled), 2, axis=-1)
    u = linear(axial.mlp_out, gelu(gate) * value)
    q, k = (
        turned((u @ weight).reshape(len(x), block.layout.num_heads, -1), x)
        for weight in (axial.query, axial.key)
    )
    return np.einsum("ihc,jhc->hij", q, k.conj()).real


def turned(pairs: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Pairs (i, i + m/2) as complex numbers, turned by the rotary angles."""
    m = pairs.shape[-1]
    i = np.arange(m // 2)
    angles = np.multiply.outer(x * 64, 10000.0 ** (-2 * i / m))
    numbers = pairs[..., : m // 2] + 1j * pairs[..., m // 2 :]
    return numbers * np.exp(1j * angles)[:, None]


def normalised(z: np.ndarray, norm: str) -> np.ndarray:
    """Of values of shape (parts, *shape, heads, channels)."""
    space = tuple(range(1, z.ndim - 2))
    axes, epsilon, ddof = {
        "instance": (space, 1e-5, 0),
        "slab": ((0, *space[1:], -2, -1), 1e-5, 0),
        "heads": ((0, *space, -1), 1e-8, 1),
    }[norm]
    mean = z.mean(axes, keepdims=True)
    return (z - mean) / np.sqrt(z.var(axes, keepdims=True, ddof=ddof) + epsilon)


def layer_norm(norm: Any, x: np.ndarray) -> np.ndarray:
    unit = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return unit * norm.scale + norm.shift


def linear(layer: Any, x: np.ndarray) -> np.ndarray:
    y = x @ layer.weight
    return y if layer.bias is None else y + layer.bias


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2
