"""What a tuner is: it is asked for a value, and told what that cost.

A tuner holds settings only; what it learns is a state, a pytree of fixed shapes that
holds its random key as well. All methods are pure, so that a tuner works inside
`lax.scan`, many of them side by side under `jax.vmap`, and from a Python loop.
"""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ...operators._arithmetic import select
from ...operators._field import is_traced


class Choice(eqx.Module):
    """What a tuner answers.

    Attributes:
        arm: the index of the arm, of the nearest one where values are continuous.
        value: the value to use.
        probabilities: of all arms, given what was known; those of a deterministic tuner
            are 0 and 1.
        context: the number that it was asked with, 0 without.
    """

    arm: Int[Array, ""]
    value: Float[Array, ""]
    probabilities: Float[Array, " arms"]
    context: Float[Array, ""]


class AbstractTuner(eqx.Module):
    """Learns which value of a parameter costs least, from what the values tried cost.

    Attributes:
        arms: the candidate values, ascending.
    """

    arms: eqx.AbstractVar[Float[Array, " arms"]]

    @abstractmethod
    def init(self, key: Any) -> PyTree:
        """Return the state of knowing nothing."""

    @abstractmethod
    def ask(self, state: PyTree, context: Any = None) -> tuple[Choice, PyTree]:
        """Return a value to use next, and the state after drawing it."""

    @abstractmethod
    def tell(
        self, state: PyTree, choice: Choice, cost: Any, *, predicted: Any = None
    ) -> PyTree:
        """Return the state after learning what a choice cost.

        Args:
            state: that which `ask` returned, or a later one.
            choice: what `ask` returned.
            cost: zero or positive; infinity or NaN for a failure, which counts as
                twice the largest cost so far, and for nothing before there is one.
            predicted: what a model expects that every arm would have cost.
        """

    @abstractmethod
    def discount(self, state: PyTree, factor: Any) -> PyTree:
        """Return the state with a part of its evidence, to begin another sequence."""


def as_arms(arms: Any) -> Float[Array, " arms"]:
    """Return the candidate values as an array.

    Raises:
        ValueError: no ascending finite numbers.
    """
    arms = jnp.asarray(arms, jnp.result_type(float, arms))
    if is_traced(arms):
        return arms
    is_ascending = arms.ndim == 1 and arms.size > 0 and np.all(np.diff(arms) > 0)
    if not (is_ascending and np.all(np.isfinite(arms))):
        raise ValueError(
            f"arms must be ascending finite numbers, got {arms}; for example "
            "jnp.linspace(1.0, 1.95, 20)"
        )
    return arms


def require_part(value: float, name: str) -> None:
    """Raise a `ValueError` unless 0 < value <= 1."""
    if not is_traced(value) and not 0 < float(value) <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {value}")


def require_positive(**settings: float | int) -> None:
    """Raise a `ValueError` where a setting is not positive."""
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")


def require_interval(low: float, high: float) -> None:
    """Raise a `ValueError` unless low < high."""
    if not is_traced((low, high)) and not float(low) < float(high):
        raise ValueError(
            f"low must be below high, the ends of the range of contexts, got {low} and "
            f"{high}"
        )


def require_context(tuner: AbstractTuner, context: Any) -> None:
    """Raise a `ValueError` where there is no context."""
    if context is None:
        raise ValueError(
            f"{type(tuner).__name__} looks at a context, got none; give a number per "
            "system, such as its shift, or use a tuner without context"
        )


def as_context(context: Any, arms: Float[Array, " arms"]) -> Float[Array, ""]:
    """Return the context in the precision of the arms, 0 where there is none."""
    return jnp.asarray(0 if context is None else context, arms.dtype)


def draw(
    key: Any,
    probabilities: Float[Array, " arms"],
    arms: Float[Array, " arms"],
    context: Any,
) -> Choice:
    """Return an arm drawn with these probabilities."""
    arm = jax.random.categorical(key, jnp.log(probabilities)).astype(jnp.int32)
    return Choice(arm, arms[arm], probabilities, as_context(context, arms))


def pick(
    arm: Int[Array, ""], arms: Float[Array, " arms"], context: Any, value: Any = None
) -> Choice:
    """Return an arm that is chosen for certain."""
    probabilities = jax.nn.one_hot(arm, arms.size, dtype=arms.dtype)
    value = arms[arm] if value is None else value
    return Choice(
        arm.astype(jnp.int32), value, probabilities, as_context(context, arms)
    )


def finite_cost(
    cost: Any, largest: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the cost, twice the largest so far of a failure, and the largest."""
    cost = jnp.asarray(cost).astype(largest.dtype)
    largest = jnp.where(jnp.isfinite(cost), jnp.maximum(largest, cost), largest)
    # More than any success: else a failure and the dearest success were as good.
    return jnp.where(jnp.isfinite(cost), cost, 2 * largest), largest


def told_unless_unknown(
    cost: Any, largest: Float[Array, ""], told: PyTree, before: PyTree
) -> PyTree:
    """Return what was learnt, but of a failure before any cost what was known before.

    Args:
        cost: as it was told.
        largest: the largest cost before it.
        told: what was learnt from it.
        before: what was known without it.
    """
    return select(jnp.isfinite(jnp.asarray(cost)) | (largest > 0), told, before)
