"""Whether tuners learn, on costs by Young's formula.

A run is decided by its key: means are over the four keys of `runs`, which are fixed, on
a fixed table of costs. How likely other keys are to fail was measured with 48 of them:
the limits on means over rounds of that table are more than five standard deviations of
a mean of four keys away, a probability below 1e-6 where the means are normal.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.tuning._cheb_cb import inverse_gap_weights

from .tables import (
    HIGH,
    LEARNING,
    LOW,
    NUM_ROUNDS,
    TUNERS,
    T,
    arms,
    radius,
    runs,
    table,
)


def mean(name: str, rounds: slice = slice(None)) -> float:
    return float(np.mean(np.asarray(runs(name).costs)[:, rounds]))


def best_fixed() -> float:
    return float(T.best_fixed(table()[1]))


def instance_optimal() -> float:
    return float(T.instance_optimal(table()[1]))


@pytest.mark.parametrize("name", LEARNING)
def test_learning_beats_chance(name: str):
    assert mean(name, slice(NUM_ROUNDS // 2, None)) < 0.8 * mean("uniform")


@pytest.mark.parametrize("name", ["cheb", "joint", "joint_between_arms"])
def test_contexts_beat_every_fixed_arm(name: str):
    assert np.all(np.mean(np.asarray(runs(name).costs), axis=1) < best_fixed())


def test_cheb_comes_near_the_best_of_each_instance():
    assert mean("cheb", slice(-500, None)) <= 1.15 * instance_optimal()


def test_joint_comes_near_the_best_of_each_instance():
    assert mean("joint") <= 1.15 * instance_optimal()


def test_joint_learns_faster_than_a_regression_per_arm():
    assert mean("joint", slice(300)) <= 0.95 * mean("cheb", slice(300))


def test_tsallis_comes_near_the_best_fixed_arm():
    assert mean("tsallis", slice(-300, None)) <= 1.3 * best_fixed()


def test_thompson_comes_near_the_best_fixed_arm():
    assert mean("thompson", slice(-300, None)) <= 1.15 * best_fixed()


def test_young_is_as_good_as_the_best_of_each_instance():
    # Between arms costs are interpolated, and noise favours the best of each.
    assert mean("young") <= 1.3 * instance_optimal()


def test_youngs_oracle_returns_the_optimum():
    tuner = T.YoungOracle(arms(), radius)
    choice, _ = tuner.ask(tuner.init(jax.random.key(0)), 0.1)
    assert float(choice.value) == pytest.approx(
        float(kx.solvers.optimal_omega(radius(0.1)))
    )


@pytest.mark.parametrize("name", ["cheb", "joint", "tsallis"])
def test_predictions_for_all_arms_speed_up_learning(name: str):
    contexts, costs = (a[:150] for a in table())
    # Whatever was played, the costs of all arms up to a factor.
    predicted = 1.1 * jnp.broadcast_to(costs[:, None], (150, *costs.shape[1:] * 2))
    keys = jax.random.split(jax.random.key(2), 4)

    def play(key: jax.Array, predicted: jax.Array | None) -> jax.Array:
        tuner = TUNERS[name](arms())
        return T.simulate(
            tuner, costs, key=key, contexts=contexts, predicted=predicted
        ).costs

    told = jax.jit(jax.vmap(lambda k: play(k, predicted)))(keys)
    untold = jax.jit(jax.vmap(lambda k: play(k, None)))(keys)
    optimal = float(T.instance_optimal(costs))
    assert float(told.mean()) - optimal < 0.8 * (float(untold.mean()) - optimal)


def test_tuner_that_forgets_follows_a_change():
    costs = 50 + 200 * jnp.abs(arms() - 1.1)
    after = 50 + 200 * jnp.abs(arms() - 1.8)
    table = jnp.concatenate([jnp.tile(costs, (1500, 1)), jnp.tile(after, (700, 1))])

    def late(tuner: Any) -> float:
        trace = jax.jit(lambda k: T.simulate(tuner, table, key=k))(jax.random.key(0))
        return float(trace.costs[-200:].mean())

    assert late(T.TsallisINF(arms(), discount=0.99)) < 0.9 * late(T.TsallisINF(arms()))


def test_warm_start_is_at_once_as_good():
    contexts, costs = table()
    tuner = T.JointSurrogate(arms(), LOW, HIGH)
    state = jax.tree.map(lambda leaf: leaf[0], runs("joint").state)
    warm = T.simulate(
        tuner,
        costs[:100],
        key=None,
        contexts=contexts[:100],
        state=tuner.discount(state, 0.2),
    )
    optimal = float(T.instance_optimal(costs[:100]))
    cold = mean("joint", slice(100))
    assert float(warm.costs.mean()) - optimal < 0.5 * (cold - optimal)


@pytest.mark.parametrize("exploration", [0.0, 3.0, 1e9])
def test_inverse_gap_weights_are_probabilities(exploration: float):
    gaps = jnp.asarray([0.3, 0.0, 1.0, 0.2])
    p = np.asarray(inverse_gap_weights(gaps, 1, exploration))
    assert p.sum() == pytest.approx(1)
    assert np.all(p[[0, 2, 3]] <= 1 / 4)
    assert p[1] == p.max()


def test_gram_matrices_hold_what_the_history_does():
    tuner = T.ChebCB(arms(), LOW, HIGH, ridge=1e-12, exploration=1e-3)
    contexts, costs = (a[:300] for a in table())
    trace = T.simulate(tuner, costs, key=jax.random.key(0), contexts=contexts)
    arm = int(np.bincount(trace.arms).argmax())
    is_arm = np.asarray(trace.arms) == arm
    x = 2 * (np.asarray(contexts)[is_arm] - LOW) / (HIGH - LOW) - 1
    features = np.polynomial.chebyshev.chebvander(x, 5)
    expected, *_ = np.linalg.lstsq(
        features, np.asarray(trace.costs)[is_arm], rcond=None
    )
    assert np.allclose(trace.state.weights[arm], expected, rtol=1e-6, atol=1e-6)
