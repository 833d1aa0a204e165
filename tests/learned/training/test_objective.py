"""The loss of a batch: its examples, its steps in time, its precision."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from krylax.learned.training import Settings
from krylax.learned.training._normalizer import Normalizer
from krylax.learned.training._objective import Objective

from .models import fields

KEY = jax.random.key(3)


class Linear(eqx.Module):
    """The last frame times a number, plus the first frame."""

    factor: Any

    def __call__(self, x: Any, grid: Any = None) -> Any:
        return self.factor.astype(x.dtype) * x[1:] + x[:1]


def objective(**settings: Any) -> Objective:
    ones = Normalizer(jnp.zeros(2), jnp.ones(2))
    one = Normalizer(jnp.zeros(1), jnp.ones(1))
    chosen = Settings(**{"num_epochs": 1, "batch_size": 3, **settings})
    sizes: Any = {"num_examples": 7, "num_dimensions": 1, "mesh": None}
    return Objective(ones, one, None, ones.std, settings=chosen, **sizes)


@eqx.filter_jit
def order_of(objective: Objective, steps: Any) -> Any:
    """The batches of some steps."""
    order = jnp.zeros(7, jnp.int32)

    def one(order: Any, step: Any) -> Any:
        order = objective._renewed(order, step, KEY)
        return order, order

    return jax.lax.scan(one, order, steps)[1]


def test_epochs_are_permutations_of_their_own():
    orders = np.asarray(order_of(objective(), np.arange(6, dtype=np.int32)))
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(7), (6, 1)))
    assert np.array_equal(orders[0], orders[1])
    assert len({tuple(order) for order in orders.tolist()}) == 3


@eqx.filter_jit
def slopes(objective: Objective, model: Any, x: Any, y: Any, steps: int) -> Any:
    return eqx.filter_value_and_grad(
        lambda model: objective.validation_loss(model, x, y, steps)
    )(model)


def mean_square(prediction: Any, target: Any, inputs: Any) -> Any:
    return jnp.mean((prediction - target) ** 2)


def test_steps_in_time_are_taken_from_the_predictions():
    x, y = fields(2, 5), fields(3, 1, 5, seed=1)
    model = Linear(jnp.asarray(0.5))
    frames, losses = list(x), []
    for i in range(3):
        prediction = 0.5 * frames[-1] + frames[-2]
        losses.append(np.mean((prediction - y[i, 0]) ** 2))
        frames.append(prediction)
    value, whole = slopes(objective(loss=mean_square), model, x, y, 3)
    assert np.isclose(value, np.mean(losses))
    cut = objective(loss=mean_square, num_unrolled=3, pushforward=True)
    same, partial = slopes(cut, model, x, y, 3)
    # Of (a u + v - y)², with u as it is.
    each = [2 * np.mean((frames[i + 2] - y[i, 0]) * frames[i + 1]) for i in range(3)]
    assert np.isclose(same, value)
    assert np.isclose(partial.factor, np.mean(each))
    assert not np.isclose(whole.factor, partial.factor)


class Precise(eqx.Module):
    """A number that keeps its precision."""

    factor: Any
    keeps_precision: bool = True

    def __call__(self, x: Any) -> Any:
        assert self.factor.dtype == jnp.float64
        return (self.factor * x.astype(self.factor.dtype)).astype(x.dtype)


class Mixed(eqx.Module):
    """A number of either kind."""

    precise: Precise
    factor: Any

    def __call__(self, x: Any, grid: Any = None) -> Any:
        assert x.dtype == self.factor.dtype == jnp.bfloat16
        return self.precise(self.factor * x[:1])


def test_models_are_computed_in_half_precision_and_trained_in_full():
    x, y = fields(2, 5), fields(1, 1, 5, seed=1)
    model = Mixed(Precise(jnp.asarray(0.5)), jnp.asarray(1.25))
    chosen = objective(loss=mean_square, precision="bfloat16")
    value, slope = slopes(chosen, model, x, y, 1)
    error = 0.625 * x[0] - y[0, 0]
    assert np.isclose(value, np.mean(error**2), rtol=0.02)
    assert slope.factor.dtype == slope.precise.factor.dtype == jnp.float64
    assert np.isclose(slope.factor, np.mean(2 * error * 0.5 * x[0]), rtol=0.05)


@eqx.filter_jit
def noisy(objective: Objective, keys: Any) -> Any:
    zero = jnp.zeros((2, 400))
    return jax.vmap(lambda key: objective._noisy(zero, key))(keys)


def test_noise_is_in_units_of_each_channel():
    chosen = eqx.tree_at(
        lambda o: o.noise_std, objective(noise=0.5), jnp.array([1.0, 4.0])
    )
    found = np.asarray(noisy(chosen, jax.random.split(KEY, 10)))
    # 4000 numbers: the deviation is known to 1.1 %.
    assert np.allclose(np.std(found, axis=(0, 2)), [0.5, 2.0], rtol=0.05)
