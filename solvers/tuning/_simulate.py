"""Simulation of tuners on recorded costs: thousands of rounds within a second."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ...operators._arguments import shown
from ...operators._control_flow import scan
from ._tuner import AbstractTuner, require_tuner


class Trace(eqx.Module):
    """The rounds of a simulation.

    Attributes:
        arms: the arms that were played.
        values: their values.
        costs: their costs.
        probabilities: of all arms in each draw.
        state: that of the tuner after the last round.
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
    key: PRNGKeyArray | None,
    contexts: Float[Array, " rounds"] | None = None,
    predicted: Float[Array, "rounds arms arms"] | None = None,
    state: PyTree | None = None,
) -> Trace:
    """Return the rounds that a tuner plays on a table of costs.

    Works under `jax.vmap`, over keys for many runs at once. The cost of a value between
    arms is interpolated.

    Args:
        tuner: its arms are the columns of the table.
        costs: the cost of each arm in each round.
        key: of the tuner's draws; None with `state`.
        contexts: one per round.
        predicted: per round and played arm, the costs that a model predicts for all
            arms.
        state: that of the tuner before the first round; its initial state by default.

    Raises:
        ValueError: a table that does not fit the arms, or neither a key nor a state.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> tuner = kx.solvers.tuning.TsallisINF(jnp.array([1.0, 1.5]))
        >>> costs = jnp.tile(jnp.array([9.0, 5.0]), (500, 1))
        >>> trace = kx.solvers.tuning.simulate(tuner, costs, key=jax.random.key(0))
        >>> bool(trace.costs.mean() < 6)
        True
    """
    require_tuner(tuner)
    costs = _as_table(costs)
    if costs.shape[1] != tuner.arms.size:
        raise ValueError(
            f"costs must have a column for each of the {tuner.arms.size} arms, got "
            f"shape {costs.shape}"
        )

    def play(state: PyTree, row: Any) -> tuple[PyTree, Any]:
        costs, context, predicted = row
        choice, state = tuner.ask(state, context)
        cost = _cost_of(choice.value, tuner.arms, costs)
        expected = None if predicted is None else predicted[choice.arm]
        state = tuner.tell(state, choice, cost, predicted=expected)
        return state, (choice, cost)

    if state is None:
        if key is None:
            raise ValueError(
                "the tuner draws at random: give key=jax.random.key(0) or a state, got "
                "neither"
            )
        state = tuner.init(key)
    if contexts is not None and jnp.shape(contexts) != costs.shape[:1]:
        raise ValueError(
            f"contexts must hold one number for each of the {len(costs)} rounds, got "
            f"{shown(contexts)}"
        )
    state, (choice, paid) = scan(play, state, (costs, contexts, predicted))
    return Trace(choice.arm, choice.value, paid, choice.probabilities, state)


def best_fixed(costs: Float[Array, "rounds arms"]) -> Float[Array, ""]:
    """Return the mean cost of the arm that is cheapest over all rounds."""
    return jnp.min(jnp.mean(_as_table(costs), axis=0))


def instance_optimal(costs: Float[Array, "rounds arms"]) -> Float[Array, ""]:
    """Return the mean cost of the cheapest arm of each round."""
    return jnp.mean(jnp.min(_as_table(costs), axis=1))


def _cost_of(
    value: Float[Array, ""], arms: Float[Array, " arms"], costs: Float[Array, " arms"]
) -> Float[Array, ""]:
    if arms.size == 1:
        return costs[0]
    # Exact at the arms, even next to one whose cost is infinite.
    place = jnp.clip(jnp.searchsorted(arms, value, side="right") - 1, 0, arms.size - 2)
    part = (value - arms[place]) / (arms[place + 1] - arms[place])
    left, right = costs[place], costs[place + 1]
    between = left + part * (right - left)
    return jnp.where(part == 0, left, jnp.where(part == 1, right, between))


def _as_table(costs: Any) -> Any:
    """Check that costs have an axis of rounds and one of arms."""
    is_array = isinstance(costs, jax.Array | np.ndarray)
    if not is_array or costs.ndim != 2 or not jnp.issubdtype(costs.dtype, jnp.floating):
        raise ValueError(
            "costs must be real numbers with a row for each round and a column for each"
            f" of the arms, got {shown(costs)}"
        )
    return costs
