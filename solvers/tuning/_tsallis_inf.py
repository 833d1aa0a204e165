"""The Tsallis-INF bandit, for adversarial costs without context.

With cumulative cost estimates k over arms, in units of a running scale K, the arms are
drawn from follow-the-regularised-leader with the ½-Tsallis entropy,

    p = argmin ⟨k, p⟩/K - (4/η) Σ √p_i,   that is   p_i = 4 / (η (k_i/K - x))²,

with the normaliser x that makes Σ p_i = 1 and η of order 1/√t (J. Zimmert, Y. Seldin,
Tsallis-INF, JMLR 22, 2021; Khodak et al., Algorithm 2).

Differs from the sources:
1. Newton's method for x starts at the right end of the interval that contains it, from
   where it is monotone: it never passes a pole, as the published code does after some
   hundred rounds.
2. The reduced-variance estimator subtracts the mean cost of an arm, or the prediction
   of a model, instead of ½. The estimate is unbiased whatever is subtracted.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from typing_extensions import override

from ...operators._arguments import require_flag, require_key
from ...operators._control_flow import fori_loop
from ._tuner import (
    AbstractTuner,
    Choice,
    as_arms,
    draw,
    finite_cost,
    require_fraction,
    require_positive,
    update_if_cost_known,
)

NEWTON_STEPS = 40
"""More than enough: x is within 2 √arms/η of the start and convergence is quadratic;
12 steps reach rounding for 20 arms, 16 for 1000."""


class Evidence(eqx.Module):
    """The statistics that Tsallis-INF draws from.

    Attributes:
        estimates: k, less its minimum.
        num_rounds: t, discounted.
        totals: per arm, the sum of its costs, discounted.
        counts: per arm, the number of rounds it was played, discounted.
        largest: the largest cost so far.
    """

    estimates: Float[Array, " arms"]
    num_rounds: Float[Array, ""]
    totals: Float[Array, " arms"]
    counts: Float[Array, " arms"]
    largest: Float[Array, ""]


class TsallisState(eqx.Module):
    """The evidence, and the key of the next draw."""

    key: PRNGKeyArray
    evidence: Evidence


class TsallisINF(AbstractTuner):
    """A bandit that assumes nothing about the costs and approaches the best fixed arm.

    Over T rounds its expected total cost exceeds that of the best fixed arm by at most
    O(√(arms T)) times the scale of the costs, even if an adversary chooses them. With
    many arms this takes long. If a context is known, `ChebCB` and `JointSurrogate`
    learn faster, and find the best arm for each context.

    Args:
        arms: the candidate values, ascending.
        reduces_variance: whether the estimates use control variates; if not, they are
            weighted by importance alone.
        rate: η √t; by default 4 with reduced variance, 2 without.
        discount: fraction of the evidence that is kept from round to round. With 1
            nothing is forgotten; with 0.998, for costs that drift, costs older than
            about 500 rounds are.

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
    # The fraction of the evidence that is kept after a round.
    memory: float

    def __init__(
        self,
        arms: ArrayLike,
        *,
        reduces_variance: bool = False,
        rate: float | None = None,
        discount: float = 1.0,
    ) -> None:
        require_flag(reduces_variance, "reduces_variance")
        self.arms = as_arms(arms)
        self.reduces_variance = reduces_variance
        self.rate = (4.0 if reduces_variance else 2.0) if rate is None else rate
        self.memory = discount
        require_fraction(discount, "discount")
        require_positive(rate=self.rate)

    @override
    def init(self, key: PRNGKeyArray) -> TsallisState:
        require_key(key)
        return TsallisState(key, self.no_evidence())

    def no_evidence(self) -> Evidence:
        """Return the evidence before the first round."""
        zeros, zero = jnp.zeros_like(self.arms), jnp.zeros((), self.arms.dtype)
        return Evidence(zeros, zero, zeros, zeros, zero)

    @override
    def ask(
        self, state: TsallisState, context: ArrayLike | None = None
    ) -> tuple[Choice, TsallisState]:
        key, ours = jax.random.split(state.key)
        choice = draw(ours, self.probabilities(state.evidence), self.arms, context)
        return choice, TsallisState(key, state.evidence)

    @override
    def tell(
        self,
        state: TsallisState,
        choice: Choice,
        cost: ArrayLike,
        *,
        predicted: ArrayLike | None = None,
    ) -> TsallisState:
        evidence = self.learn(state.evidence, choice, cost, predicted)
        return TsallisState(state.key, evidence)

    @override
    def discount(self, state: TsallisState, factor: ArrayLike) -> TsallisState:
        return TsallisState(state.key, discounted(state.evidence, factor))

    def probabilities(self, evidence: Evidence) -> Float[Array, " arms"]:
        """Return the distribution p over the arms."""
        return tsallis_probabilities(
            evidence.estimates / _scale(evidence), self._step_size(evidence)
        )

    def learn(
        self,
        evidence: Evidence,
        choice: Choice,
        cost: ArrayLike,
        predicted: ArrayLike | None,
    ) -> Evidence:
        """Return the evidence updated with one round."""
        reported, (cost, largest) = cost, finite_cost(cost, evidence.largest)
        kept = discounted(evidence, self.memory)
        is_arm = jax.nn.one_hot(choice.arm, self.arms.size, dtype=self.arms.dtype)
        baseline = self._baseline(evidence, choice, predicted)
        surprise = (cost - baseline) / choice.probabilities[choice.arm]
        estimates = kept.estimates + baseline + is_arm * surprise
        learnt = Evidence(
            # Only differences matter; near zero they stay exact in single precision.
            estimates=estimates - jnp.min(estimates),
            num_rounds=kept.num_rounds + 1,
            totals=kept.totals + is_arm * cost,
            counts=kept.counts + is_arm,
            largest=largest,
        )
        return update_if_cost_known(reported, evidence.largest, learnt, evidence)

    def _step_size(self, evidence: Evidence) -> Float[Array, ""]:
        return self.rate / jnp.sqrt(evidence.num_rounds + 1)

    def _baseline(
        self, evidence: Evidence, choice: Choice, predicted: ArrayLike | None
    ) -> Float[Array, " arms"]:
        """Return the control variate: what is subtracted before weighting."""
        if predicted is not None:
            predicted = jnp.asarray(predicted).astype(self.arms.dtype)
            return jnp.where(jnp.isfinite(predicted), predicted, _scale(evidence))
        if not self.reduces_variance:
            return jnp.zeros_like(self.arms)
        seen = evidence.totals / jnp.maximum(evidence.counts, 1)
        means = jnp.where(evidence.counts >= 1, seen, _scale(evidence))
        # For an arm that is hardly ever drawn the importance weight is too large.
        is_likely = choice.probabilities >= self._step_size(evidence) ** 2
        return jnp.where(is_likely, means, 0)


def discounted(evidence: Evidence, factor: ArrayLike) -> Evidence:
    """Return the evidence multiplied by a factor, except the largest cost."""
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

    def newton(_: ArrayLike, y: Float[Array, ""]) -> Float[Array, ""]:
        terms = 1 / (y + gaps)
        return y + (jnp.sum(terms**2) - 1) / (2 * jnp.sum(terms**3))

    y = fori_loop(0, NEWTON_STEPS, newton, jnp.ones((), gaps.dtype))
    p = 1 / (y + gaps) ** 2
    return p / jnp.sum(p)


def _scale(evidence: Evidence) -> Float[Array, ""]:
    """Return K, the mean cost, or 1 before the first cost."""
    total, count = jnp.sum(evidence.totals), jnp.sum(evidence.counts)
    return jnp.where(total > 0, total / jnp.maximum(count, 1), 1)
