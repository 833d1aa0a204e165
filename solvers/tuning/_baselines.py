"""Tuners that do not learn: the baselines for the others."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from typing_extensions import override

from ...operators._arguments import require_integer, require_key
from ..relaxation._young import optimal_omega
from ._tuner import AbstractTuner, Choice, as_arms, draw, pick, require_context


class KeyState(eqx.Module):
    """The key of the next draw."""

    key: PRNGKeyArray


class AbstractBaseline(AbstractTuner):
    """A tuner that learns nothing."""

    @override
    def init(self, key: PRNGKeyArray) -> KeyState:
        require_key(key)
        return KeyState(key)

    @override
    def tell(
        self,
        state: KeyState,
        choice: Choice,
        cost: ArrayLike,
        *,
        predicted: ArrayLike | None = None,
    ) -> KeyState:
        del choice, cost, predicted
        return state

    @override
    def discount(self, state: KeyState, factor: ArrayLike) -> KeyState:
        del factor
        return state


class Fixed(AbstractBaseline):
    """Chooses the same arm in every round.

    Args:
        arms: the candidate values, ascending.
        index: the position of that arm.

    Raises:
        ValueError: arms that are not ascending, or an index out of range.
    """

    arms: Float[Array, " arms"]
    index: int = eqx.field(static=True)

    def __init__(self, arms: ArrayLike, index: int) -> None:
        self.arms = as_arms(arms)
        self.index = index
        require_integer(index, "index")
        if not 0 <= index < self.arms.size:
            raise ValueError(
                f"index must be from 0 to {self.arms.size - 1}, got {index}"
            )

    @override
    def ask(
        self, state: KeyState, context: ArrayLike | None = None
    ) -> tuple[Choice, KeyState]:
        return pick(jnp.asarray(self.index, jnp.int32), self.arms, context), state


class Uniform(AbstractBaseline):
    """Chooses every arm with the same probability.

    Args:
        arms: the candidate values, ascending.

    Raises:
        ValueError: arms that are not ascending.
    """

    arms: Float[Array, " arms"]

    def __init__(self, arms: ArrayLike) -> None:
        self.arms = as_arms(arms)

    @override
    def ask(
        self, state: KeyState, context: ArrayLike | None = None
    ) -> tuple[Choice, KeyState]:
        key, ours = jax.random.split(state.key)
        even = jnp.full_like(self.arms, 1 / self.arms.size)
        return draw(ours, even, self.arms, context), KeyState(key)


class YoungOracle(AbstractBaseline):
    """Chooses Young's optimal ω for each system, given its Jacobi radius.

    Args:
        arms: relaxation factors; the nearest one is reported as the arm.
        radius: a function from the context to the spectral radius of the Jacobi
            iteration, below 1.

    Raises:
        ValueError: arms that are not ascending.
    """

    arms: Float[Array, " arms"]
    radius: Callable[[Any], float | Float[Array, ""]]

    def __init__(
        self, arms: ArrayLike, radius: Callable[[Any], float | Float[Array, ""]]
    ) -> None:
        self.arms = as_arms(arms)
        self.radius = radius

    @override
    def ask(
        self, state: KeyState, context: ArrayLike | None = None
    ) -> tuple[Choice, KeyState]:
        require_context(self, context)
        omega = optimal_omega(self.radius(context)).astype(self.arms.dtype)
        arm = jnp.argmin(jnp.abs(self.arms - omega))
        return pick(arm, self.arms, context, omega), state
