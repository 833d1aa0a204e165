from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import neural_operators as no

from .test_fno import block, entered, gelu, left, unit_box

RNG = np.random.default_rng(0)


def structure(*arguments: Any, **options: Any) -> Any:
    return eqx.filter_eval_shape(no.IFNO, *arguments, key=jax.random.key(0), **options)


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


@pytest.mark.parametrize(
    ("shape", "num_modes"), [((12,), (4,)), ((10, 13), (3, 5)), ((6, 9, 8), (3, 2, 4))]
)
def test_model_is_one_layer_in_euler_steps(shape: Any, num_modes: Any):
    model = made(len(shape), 2, 3, num_modes, width=6, num_iterations=5)
    x = RNG.standard_normal((2, *shape))
    v = entered(model, x, unit_box(shape))
    for _ in range(5):
        v = v + gelu(block(model.layer, v)) / 5
    assert np.max(np.abs(applied(model, x) - left(model, v))) < 1e-10


def test_number_of_iterations_adds_no_parameters():
    counts = {
        sum(
            np.prod(leaf.shape) for leaf in jax.tree.leaves(structure(num_iterations=L))
        )
        for L in (1, 7)
    }
    ends = (3 * 32 + 32) + (32 * 128 + 128) + (128 + 1)
    assert counts == {2 * 32 * 16 * 32 * 32 + 32 * 32 + 32 + ends}


def test_padding_is_inside_of_the_model():
    model = made(1, 1, 1, 4, width=6, num_iterations=2, padding=0.2)
    x = RNG.standard_normal((1, 12))
    v = np.pad(entered(model, x, unit_box((12,))), [(0, 3), (0, 0)])
    for _ in range(2):
        v = v + gelu(block(model.layer, v)) / 2
    assert np.max(np.abs(applied(model, x) - left(model, v[:12]))) < 1e-10


@eqx.filter_jit
def gradients(model: Any, x: Any) -> Any:
    return jax.grad(lambda model: jnp.sum(model(x) ** 2))(model)


def with_and_without_remat(num_iterations: int) -> Any:
    arguments = (2, 1, 1, (3, 5), 6, num_iterations)
    model = made(*arguments, hidden_channels=2)
    kept = structure(*arguments, hidden_channels=2, remat=False)
    return model, jax.tree.unflatten(jax.tree.structure(kept), jax.tree.leaves(model))


def test_gradient_is_the_same_without_remat():
    x = RNG.standard_normal((1, 10, 13))
    found, expected = (
        jax.tree.leaves(gradients(model, x)) for model in with_and_without_remat(3)
    )
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, rtol=1e-11, atol=1e-11 * np.max(np.abs(other)))


def test_training_keeps_less_with_remat():
    x, jitted = np.zeros((1, 40, 40)), cast(Any, gradients)
    sizes = []
    for model in with_and_without_remat(8):
        program = jitted.lower(model, x).compile().compiled
        sizes.append(program.memory_analysis().temp_size_in_bytes)
    assert sizes[0] < 0.7 * sizes[1]


def test_batch_is_the_loop_also_in_float32():
    model = made(1, 1, 1, 4, width=6, num_iterations=3, increment=True)
    single = jax.tree.map(lambda w: w.astype(np.float32), model)
    x = RNG.standard_normal((3, 1, 12))
    batch = np.asarray(jax.jit(jax.vmap(single))(x))
    loop = np.stack([applied(model, u) for u in x])
    assert batch.dtype == np.float64
    assert np.max(np.abs(batch - loop)) < 1e-5 * np.max(np.abs(loop))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_iterations": 0}, "num_iterations must be at least 1"),
        ({"num_modes": 1.5}, "num_modes must be an integer"),
        ({"remat": None}, "remat must be True or False"),
        ({"padding": float("nan")}, "padding must be a part of an axis"),
    ],
)
def test_bad_settings_are_refused(options: Any, message: str):
    with pytest.raises(ValueError, match=message):
        no.IFNO(key=jax.random.key(0), **options)
