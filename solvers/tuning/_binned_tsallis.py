"""Tsallis-INF with a context: one bandit per bin of its range."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._tsallis_inf import Evidence, TsallisINF, discounted
from ._tuner import (
    AbstractTuner,
    Choice,
    draw,
    require_context,
    require_interval,
)


class BinnedState(eqx.Module):
    """What each bin has learnt, and the key of the next draw."""

    key: Any
    evidence: Evidence


class BinnedTsallis(AbstractTuner):
    """One `TsallisINF` for each of a few ranges of the context.

    It approaches the best value for each bin, and the more bins the more slowly:
    O(T^{3/4}) against the best for each context if they grow like T^{1/4}. `ChebCB` and
    `JointSurrogate` are faster wherever costs vary smoothly with the context.

    Args:
        bandit: the bandit of each bin.
        low: the lower end of the contexts; those outside count to the bins at the ends.
        high: the upper end.
        num_bins: how many.

    Raises:
        ValueError: low not below high, or no bins.

    Cost: as `TsallisINF`.

    References:
        M. Khodak, E. Chow, M. F. Balcan, A. Talwalkar, Learning to Relax, ICLR 2024,
        arXiv:2310.02246, Algorithm 5.
    """

    bandit: TsallisINF
    low: float
    high: float
    num_bins: int = eqx.field(static=True)

    def __init__(self, bandit: TsallisINF, low: float, high: float, num_bins: int = 5):
        self.bandit = bandit
        self.low, self.high = low, high
        self.num_bins = num_bins
        require_interval(self.low, self.high)
        if self.num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, got {self.num_bins}")

    @property
    def arms(self) -> Float[Array, " arms"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the bandits."""
        return self.bandit.arms

    def init(self, key: Any) -> BinnedState:
        """Return the state of knowing nothing."""
        nothing = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (self.num_bins, *leaf.shape)),
            self.bandit.nothing(),
        )
        return BinnedState(key, nothing)

    def ask(
        self, state: BinnedState, context: Any = None
    ) -> tuple[Choice, BinnedState]:
        """Ask the bandit of the bin."""
        require_context(self, context)
        key, ours = jax.random.split(state.key)
        evidence = self._of(state, self._bin(context))
        probabilities = self.bandit.probabilities(evidence)
        return draw(ours, probabilities, self.arms, context), BinnedState(
            key, state.evidence
        )

    def tell(
        self, state: BinnedState, choice: Choice, cost: Any, *, predicted: Any = None
    ) -> BinnedState:
        """Tell the bandit of the bin."""
        place = self._bin(choice.context)
        learnt = self.bandit.learn(self._of(state, place), choice, cost, predicted)
        evidence = jax.tree.map(
            lambda all_bins, one: all_bins.at[place].set(one), state.evidence, learnt
        )
        return BinnedState(state.key, evidence)

    def discount(self, state: BinnedState, factor: Any) -> BinnedState:
        """Return the state with a part of its evidence."""
        of_bins = jax.vmap(discounted, in_axes=(0, None))
        return BinnedState(state.key, of_bins(state.evidence, factor))

    def _bin(self, context: Any) -> Int[Array, ""]:
        part = (jnp.asarray(context) - self.low) / (self.high - self.low)
        place = jnp.floor(part * self.num_bins).astype(jnp.int32)
        return jnp.clip(place, 0, self.num_bins - 1)

    def _of(self, state: BinnedState, place: Int[Array, ""]) -> Evidence:
        return jax.tree.map(lambda leaf: leaf[place], state.evidence)
