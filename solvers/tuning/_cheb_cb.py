"""ChebCB: a regression per arm on Chebyshev features of the context.

The cost of arm i at context c is modelled as s_i(c) = Σ_j θ_ij T_j(c), fitted by least
squares to the rounds in which it was played, and arms are drawn by inverse gap
weighting (D. J. Foster, A. Rakhlin, Beyond UCB, ICML 2020),

    p_i = 1 / (d + γ (s_i - s*) / s*)  except for the best arm, which has the rest,

(Khodak et al., Algorithm 3).

Differs from the paper:
1. Ridge terms that grow with the degree, j², in place of the box |θ_j| ≤ const/j.
2. Gram matrices in place of the history, so that the cost of a round is constant.
3. Gaps are relative to the best prediction and γ = `exploration` t: the constants of
   the paper are far too cautious, as its authors say.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray
from typing_extensions import override

from ...operators._arguments import require_count, require_key
from ._chebyshev_features import chebyshev_features
from ._tuner import (
    AbstractTuner,
    Choice,
    as_arms,
    draw,
    finite_cost,
    require_context,
    require_fraction,
    require_interval,
    require_positive,
    update_if_cost_known,
)


class ChebState(eqx.Module):
    """The regressions of all arms.

    Attributes:
        key: of the next draw.
        grams: per arm, Σ φ φᵀ over the features φ of its rounds, discounted.
        sums: per arm, Σ φ cost.
        counts: per arm, the number of rounds it was played, discounted.
        weights: per arm, θ.
        num_rounds: t.
        largest: the largest cost so far.
    """

    key: PRNGKeyArray
    grams: Float[Array, "arms m m"]
    sums: Float[Array, "arms m"]
    counts: Float[Array, " arms"]
    weights: Float[Array, "arms m"]
    num_rounds: Float[Array, ""]
    largest: Float[Array, ""]


class ChebCB(AbstractTuner):
    """A contextual bandit for costs that vary smoothly with the context.

    It approaches the best arm for each context. Each arm has a regression of its own,
    so the first few hundred rounds are costly; in `JointSurrogate` all arms share one.

    Args:
        arms: the candidate values, ascending.
        low: the lower end of the range of contexts; contexts outside are clipped.
        high: the upper end.
        num_features: number of polynomials, m.
        exploration: γ / t; larger values explore less.
        ridge: weight of the ridge terms, in rounds.
        prediction_weight: weight of the predictions for arms that were not played.
        discount: fraction of the evidence that is kept from round to round.

    Raises:
        ValueError: a setting out of range, or `ask` without a context.

    Cost: O(arms m) per round and one solve with an m by m matrix.

    References:
        M. Khodak, E. Chow, M. F. Balcan, A. Talwalkar, Learning to Relax, ICLR 2024,
        arXiv:2310.02246, Algorithm 3.
    """

    arms: Float[Array, " arms"]
    low: float
    high: float
    num_features: int = eqx.field(static=True)
    exploration: float
    ridge: float
    prediction_weight: float
    memory: float

    def __init__(
        self,
        arms: ArrayLike,
        low: float,
        high: float,
        *,
        num_features: int = 6,
        exploration: float = 1.0,
        ridge: float = 0.01,
        prediction_weight: float = 0.1,
        discount: float = 1.0,
    ) -> None:
        self.arms = as_arms(arms)
        self.low, self.high = low, high
        self.num_features = num_features
        self.exploration, self.ridge = exploration, ridge
        self.prediction_weight = prediction_weight
        self.memory = discount
        require_interval(low, high)
        require_fraction(discount, "discount")
        require_fraction(prediction_weight, "prediction_weight")
        require_count(num_features, "num_features")
        require_positive(exploration=exploration, ridge=ridge)

    @override
    def init(self, key: PRNGKeyArray) -> ChebState:
        require_key(key)
        d, m = self.arms.size, self.num_features
        zeros = lambda *shape: jnp.zeros(shape, self.arms.dtype)  # noqa: E731
        return ChebState(
            key, zeros(d, m, m), zeros(d, m), zeros(d), zeros(d, m), zeros(), zeros()
        )

    @override
    def ask(
        self, state: ChebState, context: ArrayLike | None = None
    ) -> tuple[Choice, ChebState]:
        require_context(self, context)
        key, ours = jax.random.split(state.key)
        costs = state.weights @ self._features(context)
        # Arms that were never played are taken to cost nothing, to be tried first.
        costs = jnp.where(state.counts > 0, jnp.maximum(costs, 0), 0)
        scale = jnp.sum(state.sums[:, 0]) / jnp.maximum(jnp.sum(state.counts), 1)
        best = jnp.argmin(costs)
        floor = jnp.maximum(costs[best], 0.01 * scale)
        gaps = (costs - costs[best]) / jnp.where(floor > 0, floor, 1)
        probabilities = inverse_gap_weights(
            gaps, best, self.exploration * state.num_rounds
        )
        choice = draw(ours, probabilities, self.arms, context)
        return choice, eqx.tree_at(lambda s: s.key, state, key)

    @override
    def tell(
        self,
        state: ChebState,
        choice: Choice,
        cost: ArrayLike,
        *,
        predicted: ArrayLike | None = None,
    ) -> ChebState:
        reported, (cost, largest) = cost, finite_cost(cost, state.largest)
        kept = self.discount(state, self.memory)
        features = self._features(choice.context)
        weights = jax.nn.one_hot(choice.arm, self.arms.size, dtype=self.arms.dtype)
        costs = jnp.full_like(self.arms, 1) * cost
        if predicted is not None:
            predicted = jnp.asarray(predicted).astype(self.arms.dtype)
            is_known = jnp.isfinite(predicted)
            others = jnp.where(is_known, self.prediction_weight, 0) * (1 - weights)
            costs = jnp.where((weights > 0) | ~is_known, cost, predicted)
            weights = weights + others
        grams = (
            kept.grams + weights[:, None, None] * jnp.outer(features, features)[None]
        )
        sums = kept.sums + (weights * costs)[:, None] * features[None]
        counts = kept.counts + weights
        if predicted is None:
            arm = choice.arm
            fitted = self._fit(grams[arm], sums[arm])
            weights = state.weights.at[arm].set(fitted)
        else:
            weights = jax.vmap(self._fit)(grams, sums)
        num_rounds = kept.num_rounds + 1
        learnt = ChebState(state.key, grams, sums, counts, weights, num_rounds, largest)
        return update_if_cost_known(reported, state.largest, learnt, state)

    @override
    def discount(self, state: ChebState, factor: ArrayLike) -> ChebState:
        factor = jnp.asarray(factor, self.arms.dtype)
        return ChebState(
            state.key,
            factor * state.grams,
            factor * state.sums,
            factor * state.counts,
            state.weights,
            factor * state.num_rounds,
            state.largest,
        )

    def _features(self, context: ArrayLike | None) -> Float[Array, " m"]:
        context = jnp.asarray(context, self.arms.dtype)
        return chebyshev_features(context, self.low, self.high, self.num_features)

    def _fit(
        self, gram: Float[Array, "m m"], sums: Float[Array, " m"]
    ) -> Float[Array, " m"]:
        degrees = jnp.arange(self.num_features, dtype=self.arms.dtype)
        # The constant is hardly penalised.
        penalty = self.ridge * jnp.where(degrees > 0, degrees**2, 1e-3)
        return jnp.linalg.solve(gram + jnp.diag(penalty), sums)


def inverse_gap_weights(
    gaps: Float[Array, " arms"],
    best: int | Int[Array, ""],
    exploration: float | Float[Array, ""],
) -> Float[Array, " arms"]:
    """Return 1 / (d + γ gap) for all arms except the best one, which has the rest."""
    p = 1 / (gaps.size + exploration * jnp.maximum(gaps, 0))
    p = p.at[best].set(0)
    return p.at[best].set(1 - jnp.sum(p))
