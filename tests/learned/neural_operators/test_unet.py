from itertools import product
from math import erf
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import neural_operators as no
from krylax.learned.neural_operators._convolution import draw_convolutions

RNG = np.random.default_rng(0)


def structure(*arguments: Any, **options: Any) -> Any:
    return eqx.filter_eval_shape(no.UNet, *arguments, key=jax.random.key(0), **options)


def made(*arguments: Any, **options: Any) -> Any:
    """A model with weights of order one over the root of their inputs."""
    model = structure(*arguments, dtype=jnp.float64, **options)

    def drawn(leaf: Any) -> Any:
        scale = np.prod(leaf.shape[:-1]) ** -0.5
        return RNG.standard_normal(leaf.shape) * scale

    return jax.tree.map(drawn, model)


@eqx.filter_jit
def compiled(model: Any, x: Any, grid: Any = None) -> Any:
    return model(x, grid)


def applied(model: Any, x: Any, grid: Any = None) -> np.ndarray:
    return np.asarray(compiled(model, x, grid))


def gelu(v: np.ndarray) -> np.ndarray:
    return v * (1 + np.vectorize(erf)(v / np.sqrt(2))) / 2


def convolved(layer: Any, v: np.ndarray, periodic: Any) -> np.ndarray:
    """The sum over the window, by shifts of the field."""
    shape = v.shape[:-1]
    for axis, is_periodic in enumerate(periodic):
        width = [(int(i == axis),) * 2 for i in range(v.ndim)]
        v = np.pad(v, width, mode="wrap" if is_periodic else "constant")
    y = layer.bias
    for offset in product(range(3), repeat=len(shape)):
        part = v[tuple(slice(o, o + n) for o, n in zip(offset, shape, strict=True))]
        y = y + part @ layer.weight[offset]
    return gelu(y)


def pair(layers: Any, v: np.ndarray, periodic: Any) -> np.ndarray:
    inner = convolved(layers.inner, v, periodic)
    return convolved(layers.outer, inner, periodic)


def pooled(v: np.ndarray, periodic: Any) -> np.ndarray:
    for axis, is_periodic in enumerate(periodic):
        n = v.shape[axis]
        following = np.minimum(np.arange(n) + 1, n - 1)
        if is_periodic:
            following = (np.arange(n) + 1) % n
        even = np.arange(0, n, 2)
        v = (np.take(v, even, axis) + np.take(v, following[even], axis)) / 2
    return v


def reference(model: Any, x: np.ndarray, periodic: Any) -> np.ndarray:
    v, skipped = np.moveaxis(x, 0, -1), []
    for layers in model.down:
        v = pair(layers, v, periodic)
        skipped.append(v)
        v = pooled(v, periodic)
    v = pair(model.base, v, periodic)
    for layers in model.up:
        fine = skipped.pop()
        cells = np.ix_(*(np.arange(n) // 2 for n in fine.shape[:-1]))
        v = pair(layers, np.concatenate([v[cells], fine], axis=-1), periodic)
    return np.moveaxis(v @ model.projection.weight + model.projection.bias, -1, 0)


@pytest.mark.parametrize(
    ("shape", "periodic"),
    [
        ((13,), (False,)),
        ((10, 7), (True, False)),
        ((9, 12), (True, True)),
        ((4, 6, 5), (False, True, False)),
        ((5, 3, 4), (True, False, True)),
    ],
)
def test_model_is_that_of_shifts_and_sums(shape: Any, periodic: Any):
    model = made(len(shape), 2, 3, width=3, num_levels=2)
    x, grid = RNG.standard_normal((2, *shape)), no.Grid.uniform(shape, 1.0, periodic)
    expected = reference(model, x, periodic)
    assert np.max(np.abs(applied(model, x, grid) - expected)) < 1e-10


def test_grids_without_periods_are_the_default():
    model = made(2, 1, 1, width=3, num_levels=1)
    x = RNG.standard_normal((1, 5, 6))
    expected = reference(model, x, (False, False))
    assert np.max(np.abs(applied(model, x) - expected)) < 1e-10


@pytest.mark.parametrize("num_dimensions", [1, 2, 3])
def test_parameters_are_counted_by_formula(num_dimensions: int):
    model, window = structure(num_dimensions, 2, 5, width=4), 3**num_dimensions
    layers = [(2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16), (16, 32), (32, 32)]
    layers += [(48, 16), (16, 16), (24, 8), (8, 8), (12, 4), (4, 4)]
    expected = sum(window * i * o + o for i, o in layers) + 4 * 5 + 5
    assert sum(np.prod(w.shape) for w in jax.tree.leaves(model)) == expected


def test_shifts_by_the_coarsest_spacing_shift_the_result():
    model = made(2, 1, 1, width=3, num_levels=2)
    x, grid = RNG.standard_normal((1, 16, 12)), no.Grid.uniform((16, 12), 1.0, True)
    shifted = applied(model, np.roll(x, (4, 8), (1, 2)), grid)
    expected = np.roll(applied(model, x, grid), (4, 8), (1, 2))
    assert np.max(np.abs(shifted - expected)) < 1e-11


def test_last_frame_can_be_added():
    model = made(1, 2, 2, width=3, num_levels=1, num_frames=2, increment=True)
    x = RNG.standard_normal((4, 6))
    expected = reference(model, x, (False,)) + x[2:]
    assert np.max(np.abs(applied(model, x) - expected)) < 1e-10


def test_batch_is_the_loop_also_in_float32():
    model = made(3, 1, 1, width=3, num_levels=1)
    single = jax.tree.map(lambda w: w.astype(np.float32), model)
    x = RNG.standard_normal((3, 1, 4, 3, 5))
    batch = np.asarray(jax.jit(jax.vmap(single))(x))
    loop = np.stack([applied(model, u) for u in x])
    assert batch.dtype == np.float64
    assert np.max(np.abs(batch - loop)) < 1e-5 * np.max(np.abs(loop))


@eqx.filter_jit
def slopes(model: Any, x: Any, direction: Any) -> Any:
    def value(model: Any) -> Any:
        return jnp.sum(model(x) ** 2)

    grads = jax.tree.leaves(jax.grad(value)(model))
    directions = jax.tree.leaves(direction)
    slope = sum(jnp.sum(g * d) for g, d in zip(grads, directions, strict=True))

    def moved(step: Any) -> Any:
        return value(jax.tree.map(lambda a, d: a + step * d, model, direction))

    high, low = jax.lax.map(moved, jnp.array([1e-5, -1e-5]))
    return slope, (high - low) / 2e-5


def test_gradient_is_the_slope():
    model = made(2, 1, 1, width=3, num_levels=1)
    direction = jax.tree.map(lambda w: RNG.standard_normal(w.shape), model)
    x = RNG.standard_normal((1, 4, 5))
    slope, difference = map(float, slopes(model, x, direction))
    assert slope == pytest.approx(difference, rel=1e-6)


def test_weights_have_the_variance_of_he():
    channels, key = [(64, 16), (16, 32)], jax.random.key(0)
    make = eqx.filter_jit(draw_convolutions)
    first, second = make(2, channels, key=key, dtype=jnp.float32)
    assert np.var(first.weight) == pytest.approx(2 / (9 * 64), rel=0.05)
    assert np.var(second.weight) == pytest.approx(2 / (9 * 16), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "num_dimensions must be 1, 2 or 3"),
        ((), {"width": 0}, "width must be at least 1"),
        ((), {"num_levels": 0}, "num_levels must be at least 1"),
        ((2, 1, 3), {"increment": True}, "as many out_channels as in_channels"),
        ((), {"num_frames": 0}, "num_frames must be at least 1"),
    ],
)
def test_bad_settings_are_refused(arguments: Any, options: Any, message: str):
    with pytest.raises(ValueError, match=message):
        no.UNet(*arguments, key=jax.random.key(0), **options)
