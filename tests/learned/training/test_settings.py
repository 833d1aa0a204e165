"""Settings: which are refused, and what the schedules are."""

from typing import Any

import jax
import numpy as np
import pytest

from krylax.learned.training import Settings, fit
from krylax.learned.training._loop import Task
from krylax.learned.training._optimizer import averaged, rates

from .models import pointwise


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "exactly one of num_steps and num_epochs, got neither"),
        ({"num_steps": 1, "num_epochs": 1}, "exactly one .* got both"),
        ({"num_epochs": 0}, "num_epochs must be at least 1"),
        ({"num_steps": 1, "batch_size": 6, "accumulate": 4}, "must be a multiple of"),
        ({"num_steps": 1, "ema": 1.0}, "ema must be between 0 and 1, or None"),
        ({"num_steps": 1, "weight_decay": -1}, "weight_decay must be at least 0"),
        ({"num_steps": 1, "loss": "l1"}, "loss must be one of relative_l2, h1, vrmse"),
        ({"num_steps": 1, "augment": "cube"}, "augment must be one of square"),
        ({"num_steps": 1, "precision": "half"}, "precision must be one of full, bf"),
        ({"num_steps": 1, "pushforward": True}, "give a num_unrolled of 2 or more"),
        ({"num_steps": 1, "pushforward": 1}, "pushforward must be True or False"),
    ],
)
def test_settings_out_of_range_are_refused(
    as_users_run_it: None, given: Any, message: str
):
    with pytest.raises(ValueError, match=message):
        Settings(**given)


def test_loss_that_is_no_function_is_refused(as_users_run_it: None):
    loss: Any = 3
    with pytest.raises(TypeError, match=r"loss must be one of .* or a function; got 3"):
        Settings(num_steps=1, loss=loss)


def unused(model: Any, data: Any, key: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize(
    ("name", "value"), [("num_epochs", 2), ("noise", 0.1), ("augment", "square")]
)
def test_training_that_draws_its_own_examples_refuses_settings_of_examples(
    name: str, value: Any
):
    steps = {} if name == "num_epochs" else {"num_steps": 2}
    settings = Settings(**{name: value, **steps})
    with pytest.raises(
        ValueError, match=f"{name} is a setting of training.train alone"
    ):
        fit(pointwise(), unused, settings)


@jax.jit
def all_rates(steps: Any) -> Any:
    names: Any = ("constant", "cosine", "step", "one_cycle")
    with jax.numpy_dtype_promotion("standard"):
        return {
            name: jax.vmap(
                rates(Settings(num_steps=20, learning_rate=0.5, schedule=name), 20)
            )(steps)
            for name in names
        }


def test_rates_are_those_of_their_schedules():
    i = np.arange(20)
    found = all_rates(i)
    assert np.allclose(found["constant"], 0.5)
    cosine = 0.01 + 0.99 * (1 + np.cos(np.pi * i / 20)) / 2
    assert np.allclose(found["cosine"], 0.5 * cosine, rtol=1e-5)
    assert np.allclose(found["step"], 0.5 * 0.5 ** (i // 4))
    assert np.isclose(found["one_cycle"][0], 0.5 / 25)
    assert np.argmax(found["one_cycle"]) == 6
    assert np.isclose(np.max(found["one_cycle"]), 0.5)


def test_mean_of_the_weights_follows_its_recurrence():
    weights = np.random.default_rng(0).standard_normal(30).astype(np.float32)

    @jax.jit
    def found(weights: Any) -> Any:
        def one(mean: Any, each: Any) -> Any:
            i, weight = each
            mean = averaged(mean, weight, i, 0.9)
            return mean, mean

        return jax.lax.scan(one, weights[0], (np.arange(30, dtype=np.int32), weights))[
            1
        ]

    mean, expected = weights[0], []
    for i, weight in enumerate(weights):
        d = min(0.9, (1 + i) / (10 + i))
        mean = d * mean + (1 - d) * weight
        expected.append(mean)
    assert np.allclose(found(weights), expected, rtol=1e-5)


def test_chunks_end_where_something_happens():
    task = Task(gradient=print, num_steps=10, validate_every=4, num_stages=3)
    ends, step = [], 0
    while step < 10:
        step = task.end_of_chunk(step)
        ends.append(step)
    assert ends == [4, 7, 8, 10]
    assert [task.stage(i) for i in range(10)] == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]
