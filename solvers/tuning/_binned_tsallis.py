"""Tsallis-INF with a context: one bandit per bin of its range."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray
from typing_extensions import override

from ...operators._arguments import require_count, require_key, shown
from ._tsallis_inf import Evidence, TsallisINF, discounted
from ._tuner import (
    AbstractTuner,
    Choice,
    draw,
    require_context,
    require_interval,
)


class BinnedState(eqx.Module):
    """The evidence of all bins, and the key of the next draw."""

    key: PRNGKeyArray
    evidence: Evidence


class BinnedTsallis(AbstractTuner):
    """One `TsallisINF` for each interval of a partition of the context's range.

    It approaches the best value for each bin, more slowly the more bins there are. With
    O(T^{1/4}) bins its regret against the best value for each context is O(T^{3/4}).
    `ChebCB` and `JointSurrogate` learn faster if costs vary smoothly with the context.

    Args:
        bandit: the bandit of each bin.
        low: the lower end of the range of contexts; contexts outside the range belong
            to the nearest bin.
        high: the upper end.
        num_bins: number of bins.

    Raises:
        ValueError: low not below high, or no bins.

    Cost: that of `TsallisINF`.

    References:
        M. Khodak, E. Chow, M. F. Balcan, A. Talwalkar, Learning to Relax, ICLR 2024,
        arXiv:2310.02246, Algorithm 5.
    """

    bandit: TsallisINF
    low: float
    high: float
    num_bins: int = eqx.field(static=True)

    def __init__(
        self, bandit: TsallisINF, low: float, high: float, num_bins: int = 5
    ) -> None:
        if not isinstance(bandit, TsallisINF):
            raise TypeError(
                "bandit must be a TsallisINF, which learns in every bin, got "
                f"{shown(bandit)}"
            )
        self.bandit = bandit
        self.low, self.high = low, high
        self.num_bins = num_bins
        require_interval(self.low, self.high)
        require_count(num_bins, "num_bins")

    @property
    def arms(self) -> Float[Array, " arms"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The arms of the bandit."""
        return self.bandit.arms

    @override
    def init(self, key: PRNGKeyArray) -> BinnedState:
        require_key(key)
        evidence = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (self.num_bins, *leaf.shape)),
            self.bandit.no_evidence(),
        )
        return BinnedState(key, evidence)

    @override
    def ask(
        self, state: BinnedState, context: ArrayLike | None = None
    ) -> tuple[Choice, BinnedState]:
        require_context(self, context)
        key, ours = jax.random.split(state.key)
        evidence = self._evidence_of(state, self._bin(context))
        probabilities = self.bandit.probabilities(evidence)
        return draw(ours, probabilities, self.arms, context), BinnedState(
            key, state.evidence
        )

    @override
    def tell(
        self,
        state: BinnedState,
        choice: Choice,
        cost: ArrayLike,
        *,
        predicted: ArrayLike | None = None,
    ) -> BinnedState:
        index = self._bin(choice.context)
        learnt = self.bandit.learn(
            self._evidence_of(state, index), choice, cost, predicted
        )
        evidence = jax.tree.map(
            lambda all_bins, one: all_bins.at[index].set(one), state.evidence, learnt
        )
        return BinnedState(state.key, evidence)

    @override
    def discount(self, state: BinnedState, factor: ArrayLike) -> BinnedState:
        of_bins = jax.vmap(discounted, in_axes=(0, None))
        return BinnedState(state.key, of_bins(state.evidence, factor))

    def _bin(self, context: ArrayLike | None) -> Int[Array, ""]:
        part = (jnp.asarray(context) - self.low) / (self.high - self.low)
        index = jnp.floor(part * self.num_bins).astype(jnp.int32)
        return jnp.clip(index, 0, self.num_bins - 1)

    def _evidence_of(self, state: BinnedState, index: Int[Array, ""]) -> Evidence:
        return jax.tree.map(lambda leaf: leaf[index], state.evidence)
