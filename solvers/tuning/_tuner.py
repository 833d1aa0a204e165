"""The interface of tuners: `ask` returns a value, `tell` takes what that value cost.

A tuner holds settings only. What it learns is a state, a pytree of fixed shapes that
includes its random key. All methods are pure: a tuner runs inside `lax.scan`, batched
under `jax.vmap`, and from a Python loop.
"""

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ...operators._arguments import (
    as_reals,
    is_unknown_number,
    number_of,
    require_number,
    shown,
)
from ...operators._arithmetic import select
from ...operators._field import is_traced


class Choice(eqx.Module):
    """The value that a tuner suggests.

    Attributes:
        arm: the index of the arm, or of the nearest one if values are continuous.
        value: the value to use.
        probabilities: those of all arms in this draw; 0 and 1 if the tuner is
            deterministic.
        context: the number that was passed to `ask`, 0 if there was none.
    """

    arm: Int[Array, ""]
    value: Float[Array, ""]
    probabilities: Float[Array, " arms"]
    context: Float[Array, ""]


class AbstractTuner(eqx.Module):
    """Learns the cheapest value of a parameter from the costs of the values tried.

    Attributes:
        arms: the candidate values, ascending.
    """

    arms: eqx.AbstractVar[Float[Array, " arms"]]

    @abstractmethod
    def init(self, key: PRNGKeyArray) -> PyTree:
        """Return the state before the first round.

        Args:
            key: of the random draws.

        Raises:
            ValueError: it is no key.
        """

    @abstractmethod
    def ask(
        self, state: PyTree, context: ArrayLike | None = None
    ) -> tuple[Choice, PyTree]:
        """Return the value to use next, and the state after the draw."""

    @abstractmethod
    def tell(
        self,
        state: PyTree,
        choice: Choice,
        cost: ArrayLike,
        *,
        predicted: ArrayLike | None = None,
    ) -> PyTree:
        """Return the state updated with the cost of a choice.

        Args:
            state: the one that `ask` returned, or a later one.
            choice: the one that `ask` returned.
            cost: zero or positive, or infinity or NaN for a failure. A failure counts
                as twice the largest cost so far; before the first cost it is ignored.
            predicted: the cost that a model predicts for each arm; NaN if unknown.
        """

    @abstractmethod
    def discount(self, state: PyTree, factor: ArrayLike) -> PyTree:
        """Return the state with its evidence multiplied by a factor.

        Used to begin another sequence with less confidence in what was learnt.
        """


def as_arms(arms: ArrayLike) -> Float[Array, " arms"]:
    """Return the candidate values as an array.

    Raises:
        ValueError: they are not ascending finite numbers.
    """
    if not is_traced(arms):
        known = as_reals(arms, "arms")
        arms = arms if isinstance(arms, jax.Array | np.ndarray) else known
    arms = jnp.asarray(arms)
    arms = arms.astype(jnp.result_type(float, arms))
    if is_traced(arms):
        return arms
    is_ascending = arms.ndim == 1 and arms.size > 0 and np.all(np.diff(arms) > 0)
    if not (is_ascending and np.all(np.isfinite(arms))):
        raise ValueError(
            f"arms must be ascending finite numbers, got {arms}; for example "
            "jnp.linspace(1.0, 1.95, 20)"
        )
    return arms


def require_tuner(tuner: Any) -> None:
    """Raise a `TypeError` where a tuner is something else."""
    if not isinstance(tuner, AbstractTuner):
        raise TypeError(
            f"tuner must be a tuner such as TsallisINF(arms), got {shown(tuner)}"
        )


def require_fraction(value: float, name: str) -> None:
    """Raise a `ValueError` unless 0 < value <= 1."""
    if not is_unknown_number(value) and not 0 < number_of(value) <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {shown(value)}")


def require_positive(**settings: float | int) -> None:
    """Raise a `ValueError` where a setting is not positive."""
    for name, value in settings.items():
        require_number(value, name, 0, math.inf, "positive and finite")


def require_interval(low: float, high: float) -> None:
    """Raise a `ValueError` unless low < high."""
    if is_unknown_number(low) or is_unknown_number(high):
        return
    if not -math.inf < number_of(low) < number_of(high) < math.inf:
        raise ValueError(
            "low must be below high, the ends of the range of contexts, got "
            f"{shown(low)} and {shown(high)}"
        )


def require_context(tuner: AbstractTuner, context: ArrayLike | None) -> None:
    """Raise a `ValueError` if there is no context."""
    if context is None:
        raise ValueError(
            f"{type(tuner).__name__} needs a context, got none; give a number per "
            "system, such as its shift, or use a tuner without context"
        )


def as_context(
    context: ArrayLike | None, arms: Float[Array, " arms"]
) -> Float[Array, ""]:
    """Return the context in the precision of the arms, 0 if there is none."""
    return jnp.asarray(0 if context is None else context, arms.dtype)


def draw(
    key: PRNGKeyArray,
    probabilities: Float[Array, " arms"],
    arms: Float[Array, " arms"],
    context: ArrayLike | None,
) -> Choice:
    """Return an arm drawn with these probabilities."""
    arm = jax.random.categorical(key, jnp.log(probabilities)).astype(jnp.int32)
    return Choice(arm, arms[arm], probabilities, as_context(context, arms))


def pick(
    arm: Int[Array, ""],
    arms: Float[Array, " arms"],
    context: ArrayLike | None,
    value: Float[Array, ""] | None = None,
) -> Choice:
    """Return an arm that is chosen with probability 1."""
    probabilities = jax.nn.one_hot(arm, arms.size, dtype=arms.dtype)
    value = arms[arm] if value is None else value
    return Choice(
        arm.astype(jnp.int32), value, probabilities, as_context(context, arms)
    )


def finite_cost(
    cost: ArrayLike, largest: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the cost and the largest so far; a failure costs twice the largest."""
    cost = jnp.asarray(cost).astype(largest.dtype)
    largest = jnp.where(jnp.isfinite(cost), jnp.maximum(largest, cost), largest)
    # More than any success, so that no failure is as good as the dearest success.
    return jnp.where(jnp.isfinite(cost), cost, 2 * largest), largest


def update_if_cost_known(
    cost: ArrayLike, largest: Float[Array, ""], updated: PyTree, previous: PyTree
) -> PyTree:
    """Return the updated state, except for a failure before the first cost.

    Args:
        cost: as it was passed to `tell`.
        largest: the largest cost before it.
        updated: the state with this cost.
        previous: the state without it.
    """
    is_known = jnp.isfinite(jnp.asarray(cost)) | (largest > 0)
    return select(is_known, updated, previous)
