"""Tuners on recorded costs: thousands of rounds in a fraction of a second."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from ._tuner import AbstractTuner


class Trace(eqx.Module):
    """What a tuner did.

    Attributes:
        arms: what was played.
        values: their values.
        costs: what they cost.
        probabilities: of all arms, when it was drawn.
        state: the tuner's, at the end.
    """

    arms: Int[Array, " rounds"]
    values: Float[Array, " rounds"]
    costs: Float[Array, " rounds"]
    probabilities: Float[Array, "rounds arms"]
    state: PyTree


def simulate(
    tuner: AbstractTuner,
    costs: Float[Array, "rounds arms"],
    *,
    key: Any,
    contexts: Float[Array, " rounds"] | None = None,
    predicted: Float[Array, "rounds arms arms"] | None = None,
    state: Any = None,
) -> Trace:
    """Return what a tuner does on a table of costs.

    Works under `jax.vmap`, over keys for many runs at once. Values between arms cost
    what interpolation gives.

    Args:
        tuner: any tuner; its arms are the columns.
        costs: what every arm would cost in every round.
        key: of the tuner's draws.
        contexts: one per round.
        predicted: what a model would predict of all arms, per round and played arm.
        state: that of the tuner before the first round.

    Raises:
        ValueError: a table that does not fit the arms.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> tuner = kx.solvers.tuning.TsallisINF(jnp.array([1.0, 1.5]))
        >>> costs = jnp.tile(jnp.array([9.0, 5.0]), (500, 1))
        >>> trace = kx.solvers.tuning.simulate(tuner, costs, key=jax.random.key(0))
        >>> bool(trace.costs.mean() < 6)
        True
    """
    if costs.ndim != 2 or costs.shape[1] != tuner.arms.size:
        raise ValueError(
            f"costs must have a column for each of the {tuner.arms.size} arms, got "
            f"shape {costs.shape}"
        )

    def play(state: Any, row: Any) -> tuple[Any, Any]:
        costs, context, predicted = row
        choice, state = tuner.ask(state, context)
        cost = _cost_of(choice.value, tuner.arms, costs)
        expected = None if predicted is None else predicted[choice.arm]
        state = tuner.tell(state, choice, cost, predicted=expected)
        return state, (choice, cost)

    first = tuner.init(key) if state is None else state
    state, (choice, paid) = lax.scan(play, first, (costs, contexts, predicted))
    return Trace(choice.arm, choice.value, paid, choice.probabilities, state)


def best_fixed(costs: Float[Array, "rounds arms"]) -> Float[Array, ""]:
    """Return the mean cost of the arm that is cheapest over all rounds."""
    return jnp.min(jnp.mean(costs, axis=0))


def instance_optimal(costs: Float[Array, "rounds arms"]) -> Float[Array, ""]:
    """Return the mean cost of the cheapest arm of each round."""
    return jnp.mean(jnp.min(costs, axis=1))


def _cost_of(
    value: Float[Array, ""], arms: Float[Array, " arms"], costs: Float[Array, " arms"]
) -> Float[Array, ""]:
    if arms.size == 1:
        return costs[0]
    # Exact at the arms, also beside one whose cost is infinite.
    place = jnp.clip(jnp.searchsorted(arms, value, side="right") - 1, 0, arms.size - 2)
    part = (value - arms[place]) / (arms[place + 1] - arms[place])
    left, right = costs[place], costs[place + 1]
    between = left + part * (right - left)
    return jnp.where(part == 0, left, jnp.where(part == 1, right, between))
