"""Thompson sampling: an arm is drawn with the probability that it is the cheapest.

The posterior of the mean cost of an arm is normal. Its mean is the sample mean, and its
variance the pooled variance of the costs over the number of rounds that the arm was
played (W. R. Thompson, On the likelihood that one unknown probability exceeds another
in view of the evidence of two samples, Biometrika 25, 1933).

Differs from the source: costs are normal with one variance for all arms, which is
bounded below relative to the mean cost.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from typing_extensions import override

from ...operators._arguments import require_key
from ._tuner import (
    AbstractTuner,
    Choice,
    as_arms,
    finite_cost,
    pick,
    require_fraction,
    update_if_cost_known,
)


class ThompsonState(eqx.Module):
    """The statistics of the costs of all arms.

    Attributes:
        key: of the next draw.
        counts: the number of rounds each arm was played, discounted.
        means: the mean cost of each arm.
        squares: sum of the squared deviations of costs from the mean of their arm.
        largest: the largest cost so far.
    """

    key: PRNGKeyArray
    counts: Float[Array, " arms"]
    means: Float[Array, " arms"]
    squares: Float[Array, ""]
    largest: Float[Array, ""]


class GaussianThompson(AbstractTuner):
    """Thompson sampling for costs that vary little; it converges quickly.

    Arms that were never played come first. For costs that an adversary chooses it has
    no regret bound; `TsallisINF` has one.

    Args:
        arms: the candidate values, ascending.
        least_deviation: lower bound on the standard deviation of the costs, in units
            of their mean.
        discount: fraction of the evidence that is kept from round to round.

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
        self, arms: ArrayLike, *, least_deviation: float = 0.05, discount: float = 1.0
    ) -> None:
        self.arms = as_arms(arms)
        self.least_deviation = least_deviation
        self.memory = discount
        require_fraction(discount, "discount")
        require_fraction(least_deviation, "least_deviation")

    @override
    def init(self, key: PRNGKeyArray) -> ThompsonState:
        require_key(key)
        zeros, zero = jnp.zeros_like(self.arms), jnp.zeros((), self.arms.dtype)
        return ThompsonState(key, zeros, zeros, zero, zero)

    @override
    def ask(
        self, state: ThompsonState, context: ArrayLike | None = None
    ) -> tuple[Choice, ThompsonState]:
        """Return the cheapest arm of a sample from the posterior."""
        key, ours = jax.random.split(state.key)
        noise = jax.random.normal(ours, self.arms.shape, self.arms.dtype)
        spread = self._deviation(state) / jnp.sqrt(jnp.maximum(state.counts, 1))
        drawn = state.means + spread * noise
        # Arms that were never played come before all others.
        unknown = noise - 2 * (jnp.max(jnp.abs(drawn)) + jnp.max(jnp.abs(noise)))
        arm = jnp.argmin(jnp.where(state.counts > 0, drawn, unknown))
        return pick(arm, self.arms, context), eqx.tree_at(lambda s: s.key, state, key)

    @override
    def tell(
        self,
        state: ThompsonState,
        choice: Choice,
        cost: ArrayLike,
        *,
        predicted: ArrayLike | None = None,
    ) -> ThompsonState:
        """Update the mean of the arm; predictions are ignored."""
        del predicted
        reported, (cost, largest) = cost, finite_cost(cost, state.largest)
        kept = self.discount(state, self.memory)
        is_arm = jax.nn.one_hot(choice.arm, self.arms.size, dtype=self.arms.dtype)
        counts = kept.counts + is_arm
        surprise = cost - kept.means[choice.arm]
        means = kept.means + is_arm * surprise / jnp.maximum(counts, 1)
        # Welford's update: zero for the first cost of an arm.
        square = surprise * (cost - means[choice.arm])
        squares = kept.squares + square
        learnt = ThompsonState(state.key, counts, means, squares, largest)
        return update_if_cost_known(reported, state.largest, learnt, state)

    @override
    def discount(self, state: ThompsonState, factor: ArrayLike) -> ThompsonState:
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
        # The mean of each arm that was played takes one degree of freedom.
        freedom = total - jnp.sum(jnp.minimum(state.counts, 1))
        seen = jnp.sqrt(state.squares / jnp.maximum(freedom, 1))
        return jnp.maximum(seen, self.least_deviation * mean)
