from math import erf
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import neural_operators as no

from .test_spectral import reference as spectral_reference

RNG = np.random.default_rng(0)
CASES = [((12,), (4,)), ((10, 13), (3, 5)), ((6, 9, 8), (3, 2, 4))]


def structure(*arguments: Any, **options: Any) -> Any:
    return eqx.filter_eval_shape(no.FNO, *arguments, key=jax.random.key(0), **options)


def made(*arguments: Any, **options: Any) -> Any:
    """A model with weights of order one over the root of their inputs."""
    model = structure(*arguments, dtype=jnp.float64, **options)
    return jax.tree.map(
        lambda leaf: RNG.standard_normal(leaf.shape) / leaf.shape[-1] ** 0.5, model
    )


@eqx.filter_jit
def compiled(model: Any, x: Any, grid: Any = None) -> Any:
    return model(x, grid)


def applied(model: Any, x: Any, grid: Any = None) -> np.ndarray:
    return np.asarray(compiled(model, x, grid))


def gelu(v: np.ndarray) -> np.ndarray:
    return v * (1 + np.vectorize(erf)(v / np.sqrt(2))) / 2


def dense(layer: Any, v: np.ndarray) -> np.ndarray:
    return v @ layer.weight + layer.bias


def block(layer: Any, v: np.ndarray) -> np.ndarray:
    return dense(layer.pointwise, v) + spectral_reference(layer.spectral.weight, v)


def entered(model: Any, x: np.ndarray, unit_coordinates: Any) -> np.ndarray:
    position = np.stack(np.meshgrid(*unit_coordinates, indexing="ij"), axis=-1)
    inputs = np.concatenate([np.moveaxis(x, 0, -1), position], axis=-1)
    return dense(model.ends.lift, inputs)


def left(model: Any, v: np.ndarray) -> np.ndarray:
    ends = model.ends
    return np.moveaxis(dense(ends.projection, gelu(dense(ends.hidden, v))), -1, 0)


def reference(model: Any, x: np.ndarray, unit_coordinates: Any) -> np.ndarray:
    v = entered(model, x, unit_coordinates)
    for layer in model.layers[:-1]:
        v = gelu(block(layer, v))
    return left(model, block(model.layers[-1], v))


def unit_box(shape: Any) -> Any:
    return [np.linspace(0, 1, n) for n in shape]


def test_reference_of_the_literature_has_4_million_parameters():
    model = structure(2, 1, 1, num_modes=(16, 16), width=32, num_layers=4)
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(model))
    ends = (3 * 32 + 32) + (32 * 128 + 128) + (128 + 1)
    assert count == 4 * (2 * 32 * 16 * 32 * 32 + 32 * 32 + 32) + ends == 4203009


@pytest.mark.parametrize(("shape", "num_modes"), CASES)
def test_model_is_that_of_complex_arithmetic(shape: Any, num_modes: Any):
    model = made(len(shape), 2, 3, num_modes, width=6, num_layers=3, hidden_channels=9)
    x = RNG.standard_normal((2, *shape))
    expected = reference(model, x, unit_box(shape))
    assert np.max(np.abs(applied(model, x) - expected)) < 1e-10


def test_coordinates_are_scaled_to_the_unit_box():
    model = made(2, 1, 1, (3, 5), width=6, num_layers=2)
    x = RNG.standard_normal((1, 10, 13))
    coordinates = (3 + 2.0 * np.arange(10), np.linspace(-1, 4, 13))
    grid = no.Grid(coordinates, periodic=(True, False))
    expected = reference(model, x, [np.arange(10) / 10, np.linspace(0, 1, 13)])
    assert np.max(np.abs(applied(model, x, grid) - expected)) < 1e-10


def test_axes_that_are_not_periodic_are_padded_inside_of_the_model():
    model = made(2, 1, 1, (3, 5), width=6, num_layers=2, padding=0.2)
    x = RNG.standard_normal((1, 10, 13))
    grid = no.Grid.uniform((10, 13), periodic=(True, False))
    v = entered(model, x, [np.arange(10) / 10, np.linspace(0, 1, 13)])
    v = np.pad(v, [(0, 0), (0, 3), (0, 0)])
    first, last = model.layers
    expected = left(model, block(last, gelu(block(first, v)))[:, :13])
    assert np.max(np.abs(applied(model, x, grid) - expected)) < 1e-10


def test_frames_are_channels_and_the_last_one_can_be_added():
    model = made(1, 2, 2, 4, width=6, num_layers=2, num_frames=3, increment=True)
    x = RNG.standard_normal((6, 12))
    expected = reference(model, x, unit_box((12,))) + x[4:]
    assert np.max(np.abs(applied(model, x) - expected)) < 1e-10


def test_float32_works_in_a_program_of_float64():
    model = made(2, 1, 1, (3, 5), width=6, num_layers=2)
    single = jax.tree.map(lambda w: w.astype(np.float32), model)
    x = RNG.standard_normal((1, 10, 13))
    expected = reference(model, x, unit_box((10, 13)))
    in_double, in_single = applied(single, x), applied(single, x.astype(np.float32))
    assert (in_double.dtype, in_single.dtype) == (np.float64, np.float32)
    scale = np.max(np.abs(expected))
    assert np.max(np.abs(in_double - expected)) < 1e-5 * scale
    assert np.max(np.abs(in_single - expected)) < 1e-5 * scale


@eqx.filter_jit
def derivatives(model: Any, x: Any, direction: Any) -> Any:
    def value(model: Any) -> Any:
        return jnp.sum(model(x) ** 2)

    grads = jax.grad(value)(model)
    slope = sum(
        jnp.sum(g * d)
        for g, d in zip(jax.tree.leaves(grads), jax.tree.leaves(direction), strict=True)
    )
    tangent = jax.jvp(value, (model,), (direction,))[1]

    def moved(step: Any) -> Any:
        return value(jax.tree.map(lambda a, d: a + step * d, model, direction))

    high, low = jax.lax.map(moved, jnp.array([1e-5, -1e-5]))
    return slope, tangent, (high - low) / 2e-5


def test_derivatives_in_both_modes_are_the_slope():
    model = made(2, 1, 1, (3, 5), width=6, num_layers=2)
    direction = jax.tree.map(lambda w: RNG.standard_normal(w.shape), model)
    x = RNG.standard_normal((1, 10, 13))
    slope, tangent, difference = map(float, derivatives(model, x, direction))
    assert slope == pytest.approx(tangent, rel=1e-11)
    assert slope == pytest.approx(difference, rel=1e-6)


def test_batch_is_the_loop():
    model = made(2, 1, 1, (3, 5), width=6, num_layers=2)
    x = RNG.standard_normal((3, 1, 10, 13))
    batch = np.asarray(jax.jit(jax.vmap(model))(x))
    assert np.max(np.abs(batch - np.stack([applied(model, u) for u in x]))) < 1e-11


def test_model_is_an_operator_of_any_resolution():
    model = made(1, 1, 1, 4, width=4, num_layers=1)
    assert model.in_structure is None
    x = RNG.standard_normal((1, 12))
    found = np.asarray(jax.jit(lambda u: model @ u)(x))
    assert np.max(np.abs(found - applied(model, x))) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((4,), {}, "num_dimensions must be 1, 2 or 3, got 4"),
        ((2.0,), {}, "num_dimensions must be an integer"),
        ((2, 0), {}, "in_channels must be at least 1"),
        (
            (2, 1, 1, (3, 3, 3)),
            {},
            "num_modes must be one value, or 2, one for each axis",
        ),
        ((2, 1, 1, (3, 0)), {}, "num_modes must be at least 1"),
        ((), {"width": 0}, "width must be at least 1"),
        ((), {"num_layers": 0}, "num_layers must be at least 1"),
        ((), {"hidden_channels": 0}, "hidden_channels must be at least 1"),
        ((2, 1, 2), {"increment": True}, "as many out_channels as in_channels"),
        ((), {"increment": 1}, "increment must be True or False"),
        ((), {"padding": -0.1}, "padding must be a part of an axis"),
        ((), {"dtype": int}, "dtype must be a real one"),
    ],
)
def test_bad_settings_are_refused(arguments: Any, options: Any, message: str):
    with pytest.raises(ValueError, match=message):
        no.FNO(*arguments, key=jax.random.key(0), **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 10, 13), r"\(1, \*grid\), its channels first and 2 axes"),
        ((3, 1, 10, 13), "batches by jax.vmap"),
        ((1, 5, 13), "more modes than points"),
    ],
)
def test_fields_that_do_not_fit_are_refused(shape: Any, message: str):
    model = made(2, 1, 1, (3, 5), width=4, num_layers=1)
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(model, np.zeros(shape))


def test_grids_that_do_not_fit_are_refused():
    model = made(2, 1, 1, (3, 5), width=4, num_layers=1)
    grid = no.Grid.uniform((10, 12))
    with pytest.raises(ValueError, match="the grid has shape"):
        eqx.filter_eval_shape(model, np.zeros((1, 10, 13)), grid)
