"""The normaliser of Tsallis-INF, and its estimates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from krylax.solvers.tuning._tsallis_inf import tsallis_probabilities

from .tables import T, arms


def published_weights(costs: np.ndarray, eta: float) -> np.ndarray:
    """Weights 4/(η (k - x))² where Newton's method for x starts at -1, 20 steps."""
    x = -1.0
    for _ in range(20):
        weights = 4 / (eta * (costs - x)) ** 2
        x -= (weights.sum() - 1) / (eta * (weights**1.5).sum())
    return 4 / (eta * (costs - x)) ** 2


def published_sampler(costs: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Play arms as published; the sums of the weights, and its last estimates.

    The weights are normalised to draw, and not where they divide the cost.
    """
    rng, mean = np.random.default_rng(seed), 0.0
    estimates, sums = np.zeros(costs.shape[1]), np.zeros(len(costs))
    for t, row in enumerate(costs):
        with np.errstate(all="ignore"):
            weights = published_weights(
                estimates / max(mean - 1, 1), 2 / np.sqrt(t + 1)
            )
        sums[t] = weights.sum()
        arm = rng.choice(weights.size, p=weights / sums[t])
        estimates[arm] += (row[arm] - 1) / weights[arm]
        mean += (row[arm] - mean) / (t + 1)
    return sums, estimates / (mean - 1)


@pytest.mark.parametrize("seed", range(3))
def test_published_normaliser_stops_converging_and_ours_does_not(seed: int):
    spread = 1 + 0.2 * np.random.default_rng(seed).standard_normal((1000, 1))
    costs = (60 + 300 * np.abs(np.linspace(1, 1.95, 20) - 1.65)) * spread
    sums, estimates = published_sampler(costs, seed)
    is_off = np.abs(sums - 1) > 1e-3
    assert not np.any(is_off[:50])
    assert np.mean(is_off[100:]) > 0.9
    # A weight is kept as the probability, and the evidence of a draw then vanishes.
    assert np.max(sums) > 1e6
    ours = tsallis_probabilities(jnp.asarray(estimates), jnp.asarray(2 / np.sqrt(1000)))
    assert float(ours.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("size", [2, 20, 1000])
@pytest.mark.parametrize("spread", [0.0, 1.0, 1e4, 1e12])
def test_probabilities_satisfy_their_equation(spread: float, size: int):
    costs = spread * np.random.default_rng(0).random(size)
    p = np.asarray(tsallis_probabilities(jnp.asarray(costs), jnp.asarray(0.3)))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    # 2 / (η √p) = k - x: differences are those of the costs.
    roots = 2 / (0.3 * np.sqrt(p))
    assert np.allclose(roots - roots.min(), costs - costs.min(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_probabilities_sum_to_one_for_many_rounds(dtype: Any):
    tuner = T.TsallisINF(arms(dtype))
    costs = jnp.asarray(60 + 300 * np.abs(np.asarray(arms()) - 1.65), dtype)

    def play(state: Any, _: None) -> Any:
        choice, state = tuner.ask(state)
        # Costs that no instance has: heavy tails.
        tail = jnp.where(choice.arm == 3, jnp.asarray(1e6, dtype), 0)
        state = tuner.tell(state, choice, costs[choice.arm] + tail)
        return state, jnp.sum(choice.probabilities)

    run = jax.jit(lambda state: lax.scan(play, state, length=100_000))
    state, sums = run(tuner.init(jax.random.key(0)))
    assert np.max(np.abs(np.asarray(sums, float) - 1)) <= 1e-6
    assert np.all(np.isfinite(state.evidence.estimates))


@pytest.mark.parametrize("reduces_variance", [False, True])
@pytest.mark.parametrize("predicts", [False, True])
def test_estimates_are_unbiased(reduces_variance: bool, predicts: bool):
    tuner = T.TsallisINF(arms(), reduces_variance=reduces_variance)
    costs = jax.device_put(50 + 100 * np.abs(np.asarray(arms()) - 1.6))
    predicted = 0.7 * costs + 10 if predicts else None

    def play(state: Any, _: Any = None) -> Any:
        choice, state = tuner.ask(state)
        return tuner.tell(state, choice, costs[choice.arm]), None

    start = jax.jit(lambda: lax.scan(play, tuner.init(jax.random.key(0)), length=50))
    state, _ = start()

    @jax.jit
    @jax.vmap
    def gain(key: Any) -> Any:
        choice, asked = tuner.ask(type(state)(key, state.evidence))
        told = tuner.tell(asked, choice, costs[choice.arm], predicted=predicted)
        return told.evidence.estimates - state.evidence.estimates

    gains = np.asarray(gain(jax.random.split(jax.random.key(5), 40_000)))
    # Only differences count, as the minimum is taken off.
    found = gains - gains[:, :1]
    expected = np.asarray(costs) - np.asarray(costs)[0]
    deviation = found.std(axis=0) / np.sqrt(len(found))
    # 4.5 standard errors: one of 48 comparisons fails once in 3000 runs.
    assert np.all(np.abs(found.mean(axis=0) - expected) <= 4.5 * deviation + 1e-9)
