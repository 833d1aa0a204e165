"""The Tsallis-INF bandit: adversarial costs, no context.

With cumulative cost estimates k over arms, in units of a running scale K, the arms are
drawn from follow-the-regularised-leader with the ½-Tsallis entropy,

    p = argmin ⟨k, p⟩/K - (4/η) Σ √p_i,   that is   p_i = 4 / (η (k_i/K - x))²,

with the normaliser x that makes Σ p_i = 1 and η of order 1/√t (J. Zimmert, Y. Seldin,
Tsallis-INF, JMLR 22, 2021; Khodak et al., Algorithm 2).

Differs from the sources:
1. Newton's method for x starts at the right end of the interval that contains it, from
   where it is monotone: it never passes a pole, as the published code does after some
   hundred rounds.
2. The reduced-variance estimator subtracts what an arm has cost in the mean, or what a
   model predicts, instead of ½; whatever is subtracted, the estimate is unbiased.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._tuner import (
    AbstractTuner,
    Choice,
    as_arms,
    draw,
    finite_cost,
    require_part,
    told_unless_unknown,
)

NEWTON_STEPS = 40
"""More than enough: x is within 2 √arms/η of the start and convergence is quadratic;
12 steps reach rounding for 20 arms, 16 for 1000."""


class Evidence(eqx.Module):
    """What Tsallis-INF has learnt.

    Attributes:
        estimates: k, less its minimum.
        num_rounds: t, discounted.
        totals: per arm, what it has cost together, discounted.
        counts: per arm, how often it was played, discounted.
        largest: the largest cost.
    """

    estimates: Float[Array, " arms"]
    num_rounds: Float[Array, ""]
    totals: Float[Array, " arms"]
    counts: Float[Array, " arms"]
    largest: Float[Array, ""]


class TsallisState(eqx.Module):
    """What has been learnt, and the key of the next draw."""

    key: Any
    evidence: Evidence


class TsallisINF(AbstractTuner):
    """The bandit for costs of which nothing is assumed, against the best fixed value.

    Its expected total cost exceeds that of the best fixed arm by O(√(arms T)) scales of
    the costs over T rounds, even if an adversary chooses them; that is a long time for
    many arms. Where a context is known, `ChebCB` and `JointSurrogate` learn faster, and
    more.

    Args:
        arms: the candidate values, ascending.
        reduces_variance: whether estimates are made with control variates; if not, they
            are weighted by importance alone.
        rate: η √t; 2 weighted by importance, 4 with reduced variance, if not given.
        discount: part of the evidence that is kept from round to round, 1 for all; with
            0.998 what is older than some 500 rounds is forgotten, for costs that drift.

    Raises:
        ValueError: arms that are not ascending, a rate or discount out of range.

    Cost: O(arms) per round.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> tuner = kx.solvers.tuning.TsallisINF(jnp.linspace(1.0, 1.9, 10))
        >>> @jax.jit
        ... def play(state):
        ...     choice, state = tuner.ask(state)
        ...     return tuner.tell(state, choice, 10 + 90 * abs(choice.value - 1.7))
        >>> state = tuner.init(jax.random.key(0))
        >>> for _ in range(200):
        ...     state = play(state)
        >>> float(tuner.ask(state)[0].probabilities[7:].sum()) > 0.5
        True

    References:
        J. Zimmert, Y. Seldin, Tsallis-INF: An Optimal Algorithm for Stochastic and
        Adversarial Bandits, JMLR 22 (2021).
        M. Khodak, E. Chow, M. F. Balcan, A. Talwalkar, Learning to Relax, ICLR 2024,
        arXiv:2310.02246, Algorithm 2.
    """

    arms: Float[Array, " arms"]
    reduces_variance: bool = eqx.field(static=True)
    rate: float
    # What is left of the evidence after a round.
    memory: float

    def __init__(
        self,
        arms: Any,
        *,
        reduces_variance: bool = False,
        rate: float | None = None,
        discount: float = 1.0,
    ):
        self.arms = as_arms(arms)
        self.reduces_variance = reduces_variance
        self.rate = (4.0 if reduces_variance else 2.0) if rate is None else rate
        self.memory = discount
        require_part(discount, "discount")
        if not self.rate > 0:
            raise ValueError(f"rate must be positive, got {rate}")

    def init(self, key: Any) -> TsallisState:
        """Return the state of knowing nothing."""
        return TsallisState(key, self.nothing())

    def nothing(self) -> Evidence:
        """Return no evidence."""
        zeros, zero = jnp.zeros_like(self.arms), jnp.zeros((), self.arms.dtype)
        return Evidence(zeros, zero, zeros, zeros, zero)

    def ask(
        self, state: TsallisState, context: Any = None
    ) -> tuple[Choice, TsallisState]:
        """Draw an arm."""
        key, ours = jax.random.split(state.key)
        choice = draw(ours, self.probabilities(state.evidence), self.arms, context)
        return choice, TsallisState(key, state.evidence)

    def tell(
        self, state: TsallisState, choice: Choice, cost: Any, *, predicted: Any = None
    ) -> TsallisState:
        """Add an estimate of the costs of all arms."""
        evidence = self.learn(state.evidence, choice, cost, predicted)
        return TsallisState(state.key, evidence)

    def discount(self, state: TsallisState, factor: Any) -> TsallisState:
        """Return the state with a part of its evidence."""
        return TsallisState(state.key, discounted(state.evidence, factor))

    def probabilities(self, evidence: Evidence) -> Float[Array, " arms"]:
        """Return p."""
        return tsallis_probabilities(
            evidence.estimates / _scale(evidence), self._step_size(evidence)
        )

    def learn(
        self, evidence: Evidence, choice: Choice, cost: Any, predicted: Any
    ) -> Evidence:
        """Return the evidence with that of a round."""
        told, (cost, largest) = cost, finite_cost(cost, evidence.largest)
        kept = discounted(evidence, self.memory)
        is_arm = jax.nn.one_hot(choice.arm, self.arms.size, dtype=self.arms.dtype)
        baseline = self._baseline(evidence, choice, predicted)
        surprise = (cost - baseline) / choice.probabilities[choice.arm]
        estimates = kept.estimates + baseline + is_arm * surprise
        learnt = Evidence(
            # Differences are all that counts, and stay exact in single precision.
            estimates=estimates - jnp.min(estimates),
            num_rounds=kept.num_rounds + 1,
            totals=kept.totals + is_arm * cost,
            counts=kept.counts + is_arm,
            largest=largest,
        )
        return told_unless_unknown(told, evidence.largest, learnt, evidence)

    def _step_size(self, evidence: Evidence) -> Float[Array, ""]:
        return self.rate / jnp.sqrt(evidence.num_rounds + 1)

    def _baseline(
        self, evidence: Evidence, choice: Choice, predicted: Any
    ) -> Float[Array, " arms"]:
        """What is subtracted from a cost before it is weighted by importance."""
        if predicted is not None:
            predicted = jnp.asarray(predicted).astype(self.arms.dtype)
            return jnp.where(jnp.isfinite(predicted), predicted, _scale(evidence))
        if not self.reduces_variance:
            return jnp.zeros_like(self.arms)
        seen = evidence.totals / jnp.maximum(evidence.counts, 1)
        means = jnp.where(evidence.counts >= 1, seen, _scale(evidence))
        # An arm that is hardly ever drawn would be credited with far too much.
        is_likely = choice.probabilities >= self._step_size(evidence) ** 2
        return jnp.where(is_likely, means, 0)


def discounted(evidence: Evidence, factor: Any) -> Evidence:
    """Return the evidence weighted by a factor, but for the largest cost."""
    factor = jnp.asarray(factor, evidence.estimates.dtype)
    return Evidence(
        estimates=factor * evidence.estimates,
        num_rounds=factor * evidence.num_rounds,
        totals=factor * evidence.totals,
        counts=factor * evidence.counts,
        largest=evidence.largest,
    )


def tsallis_probabilities(
    costs: Float[Array, " arms"], step_size: Float[Array, ""]
) -> Float[Array, " arms"]:
    """Return p_i = 4 / (η (k_i - x))² with the x that makes their sum 1.

    Args:
        costs: k, in units of its scale.
        step_size: η.
    """
    # In y = η (min k - x) / 2 the sum is Σ 1/(y + gap)² with its root in [1, √arms]:
    # at y = 1 the cheapest arm alone gives 1. From there Newton ascends to the root of
    # a convex decreasing function and cannot pass it.
    gaps = step_size / 2 * (costs - jnp.min(costs))

    def newton(_: Any, y: Float[Array, ""]) -> Float[Array, ""]:
        terms = 1 / (y + gaps)
        return y + (jnp.sum(terms**2) - 1) / (2 * jnp.sum(terms**3))

    y = lax.fori_loop(0, NEWTON_STEPS, newton, jnp.ones((), gaps.dtype))
    p = 1 / (y + gaps) ** 2
    return p / jnp.sum(p)


def _scale(evidence: Evidence) -> Float[Array, ""]:
    """K, the mean cost, 1 before there is one."""
    total, count = jnp.sum(evidence.totals), jnp.sum(evidence.counts)
    return jnp.where(total > 0, total / jnp.maximum(count, 1), 1)
