"""Tuners that learn nothing, or know already: what the others are measured against."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..relaxation._young import optimal_omega
from ._tuner import AbstractTuner, Choice, as_arms, draw, pick, require_context


class KeyState(eqx.Module):
    """The key of the next draw."""

    key: Any


class AbstractBaseline(AbstractTuner):
    """A tuner that learns nothing."""

    def init(self, key: Any) -> KeyState:
        """Return a state that holds a key."""
        return KeyState(key)

    def tell(
        self, state: KeyState, choice: Choice, cost: Any, *, predicted: Any = None
    ) -> KeyState:
        """Return the state as it is."""
        del choice, cost, predicted
        return state

    def discount(self, state: KeyState, factor: Any) -> KeyState:
        """Return the state as it is."""
        del factor
        return state


class Fixed(AbstractBaseline):
    """Always the same arm.

    Args:
        arms: the candidate values, ascending.
        index: which of them.

    Raises:
        ValueError: arms that are not ascending, or an index that is none of theirs.
    """

    arms: Float[Array, " arms"]
    index: int = eqx.field(static=True)

    def __init__(self, arms: Any, index: int):
        self.arms = as_arms(arms)
        self.index = index
        if not 0 <= index < self.arms.size:
            raise ValueError(
                f"index must be from 0 to {self.arms.size - 1}, got {index}"
            )

    def ask(self, state: KeyState, context: Any = None) -> tuple[Choice, KeyState]:
        """Return the arm."""
        return pick(jnp.asarray(self.index, jnp.int32), self.arms, context), state


class Uniform(AbstractBaseline):
    """Every arm with the same probability.

    Args:
        arms: the candidate values, ascending.

    Raises:
        ValueError: arms that are not ascending.
    """

    arms: Float[Array, " arms"]

    def __init__(self, arms: Any):
        self.arms = as_arms(arms)

    def ask(self, state: KeyState, context: Any = None) -> tuple[Choice, KeyState]:
        """Draw an arm."""
        key, ours = jax.random.split(state.key)
        even = jnp.full_like(self.arms, 1 / self.arms.size)
        return draw(ours, even, self.arms, context), KeyState(key)


class YoungOracle(AbstractBaseline):
    """Young's optimal ω of each system, whose Jacobi radius is known.

    Args:
        arms: relaxation factors, to name the nearest one.
        radius: context -> the spectral radius of the Jacobi iteration, below 1.

    Raises:
        ValueError: arms that are not ascending.
    """

    arms: Float[Array, " arms"]
    radius: Callable[[Any], Any]

    def __init__(self, arms: Any, radius: Callable[[Any], Any]):
        self.arms = as_arms(arms)
        self.radius = radius

    def ask(self, state: KeyState, context: Any = None) -> tuple[Choice, KeyState]:
        """Return the optimum."""
        require_context(self, context)
        omega = optimal_omega(self.radius(context)).astype(self.arms.dtype)
        arm = jnp.argmin(jnp.abs(self.arms - omega))
        return pick(arm, self.arms, context, omega), state
