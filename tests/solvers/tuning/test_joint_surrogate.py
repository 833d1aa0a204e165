"""The joint surrogate where costs have no logarithm."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from .tables import HIGH, LOW, T, arms, table

NUM_ROUNDS = 200


@jax.jit
def late_costs(first: jax.Array) -> jax.Array:
    """What is paid from the second round on, where the first one costs as given."""
    contexts, costs = (a[:NUM_ROUNDS] for a in table())
    told = costs.at[0].set(first)
    keys = jax.random.split(jax.random.key(4), 4)
    tuner = T.JointSurrogate(arms(), LOW, HIGH)
    play = lambda key: T.simulate(tuner, told, key=key, contexts=contexts)  # noqa: E731
    return jnp.mean(jax.vmap(play)(keys).costs[:, 1:])


@pytest.mark.parametrize("first", [0.0, jnp.nan, jnp.inf])
def test_first_cost_without_logarithm_is_not_learnt_from(first: float):
    usual = table()[1][0]
    # One exploring round is lost at most.
    assert late_costs(jnp.full_like(usual, first)) < 1.1 * late_costs(usual)


@pytest.mark.parametrize("value", [0.0, jnp.nan])
def test_predictions_without_logarithm_are_not_learnt_from(value: float):
    tuner = T.JointSurrogate(arms(), LOW, HIGH)

    @jax.jit
    def tell(predicted: Any) -> Any:
        choice, state = tuner.ask(tuner.init(jax.random.key(0)), 0.1)
        told = tuner.tell(state, choice, 50.0)
        return told, tuner.tell(state, choice, 50.0, predicted=predicted)

    told, also = tell(np.full(arms().shape, value))
    assert np.array_equal(told.gram, also.gram)
    assert np.array_equal(told.sums, also.sums)
