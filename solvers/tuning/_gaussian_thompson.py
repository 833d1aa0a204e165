"""Thompson sampling on arms: each as likely as it is to be the cheapest.

The mean cost of an arm is believed to be normal around what was seen, with the variance
of the costs around their arm's mean over the number of times that it was played (W. R.
Thompson, On the likelihood that one unknown probability exceeds another in view of the
evidence of two samples, Biometrika 25, 1933).

Differs from the source: normal costs with a variance that all arms share, in units of
the mean, of which there is always a little.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._tuner import (
    AbstractTuner,
    Choice,
    as_arms,
    finite_cost,
    pick,
    require_part,
    told_unless_unknown,
)


class ThompsonState(eqx.Module):
    """What each arm has cost.

    Attributes:
        key: of the next draw.
        counts: how often each arm was played, discounted.
        means: of what each arm has cost.
        squares: sum of the squares of what costs differed from their arm's mean.
        largest: the largest cost.
    """

    key: Any
    counts: Float[Array, " arms"]
    means: Float[Array, " arms"]
    squares: Float[Array, ""]
    largest: Float[Array, ""]


class GaussianThompson(AbstractTuner):
    """Thompson sampling for costs that vary little: it settles quickly.

    Arms that were never played come first. No bound holds against costs that an
    adversary chooses; `TsallisINF` has one.

    Args:
        arms: the candidate values, ascending.
        least_deviation: standard deviation of the costs, in units of their mean, that
            is assumed at least.
        discount: part of the evidence that is kept from round to round.

    Raises:
        ValueError: arms that are not ascending, a discount out of range.

    Cost: O(arms) per round.

    References:
        W. R. Thompson, Biometrika 25 (1933), doi:10.1093/biomet/25.3-4.285.
    """

    arms: Float[Array, " arms"]
    least_deviation: float
    memory: float

    def __init__(
        self, arms: Any, *, least_deviation: float = 0.05, discount: float = 1.0
    ):
        self.arms = as_arms(arms)
        self.least_deviation = least_deviation
        self.memory = discount
        require_part(discount, "discount")
        require_part(least_deviation, "least_deviation")

    def init(self, key: Any) -> ThompsonState:
        """Return the state of knowing nothing."""
        zeros, zero = jnp.zeros_like(self.arms), jnp.zeros((), self.arms.dtype)
        return ThompsonState(key, zeros, zeros, zero, zero)

    def ask(
        self, state: ThompsonState, context: Any = None
    ) -> tuple[Choice, ThompsonState]:
        """Return the cheapest arm of a world drawn from what is believed."""
        key, ours = jax.random.split(state.key)
        noise = jax.random.normal(ours, self.arms.shape, self.arms.dtype)
        spread = self._deviation(state) / jnp.sqrt(jnp.maximum(state.counts, 1))
        drawn = state.means + spread * noise
        # All of those that were never played come before all others.
        unknown = noise - 2 * (jnp.max(jnp.abs(drawn)) + jnp.max(jnp.abs(noise)))
        arm = jnp.argmin(jnp.where(state.counts > 0, drawn, unknown))
        return pick(arm, self.arms, context), eqx.tree_at(lambda s: s.key, state, key)

    def tell(
        self, state: ThompsonState, choice: Choice, cost: Any, *, predicted: Any = None
    ) -> ThompsonState:
        """Update the mean of the arm; predictions are not used."""
        del predicted
        told, (cost, largest) = cost, finite_cost(cost, state.largest)
        kept = self.discount(state, self.memory)
        is_arm = jax.nn.one_hot(choice.arm, self.arms.size, dtype=self.arms.dtype)
        counts = kept.counts + is_arm
        surprise = cost - kept.means[choice.arm]
        means = kept.means + is_arm * surprise / jnp.maximum(counts, 1)
        # Welford's update: zero for the first cost of an arm.
        square = surprise * (cost - means[choice.arm])
        squares = kept.squares + square
        learnt = ThompsonState(state.key, counts, means, squares, largest)
        return told_unless_unknown(told, state.largest, learnt, state)

    def discount(self, state: ThompsonState, factor: Any) -> ThompsonState:
        """Return the state with a part of its evidence."""
        factor = jnp.asarray(factor, self.arms.dtype)
        return ThompsonState(
            state.key,
            factor * state.counts,
            state.means,
            factor * state.squares,
            state.largest,
        )

    def _deviation(self, state: ThompsonState) -> Float[Array, ""]:
        total = jnp.sum(state.counts)
        mean = jnp.sum(state.counts * state.means) / jnp.maximum(total, 1)
        # One degree of freedom goes into the mean of each arm that was played.
        freedom = total - jnp.sum(jnp.minimum(state.counts, 1))
        seen = jnp.sqrt(state.squares / jnp.maximum(freedom, 1))
        return jnp.maximum(seen, self.least_deviation * mean)
