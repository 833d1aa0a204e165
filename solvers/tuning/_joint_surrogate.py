"""One regression for all values of the parameter and all contexts.

log cost is modelled as Σ_ab θ_ab T_a(c) T_b(v), with Chebyshev polynomials of the
context c and of the value v and a normal prior on θ. The chosen value is the cheapest
one of a model drawn from the posterior (Thompson sampling for linear models:
S. Agrawal, N. Goyal, Thompson sampling for contextual bandits with linear payoffs,
ICML 2013).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray
from typing_extensions import override

from ...operators._arguments import require_count, require_flag, require_key
from ._chebyshev_features import chebyshev_features
from ._tuner import (
    AbstractTuner,
    Choice,
    as_arms,
    finite_cost,
    pick,
    require_context,
    require_fraction,
    require_interval,
    require_positive,
)


class JointState(eqx.Module):
    """The normal equations of the regression.

    Attributes:
        key: of the next draw.
        gram: Σ φ φᵀ over the features φ of all rounds, discounted.
        sums: Σ φ log cost.
        largest: the largest cost so far.
    """

    key: PRNGKeyArray
    gram: Float[Array, "m m"]
    sums: Float[Array, " m"]
    largest: Float[Array, ""]


class JointSurrogate(AbstractTuner):
    """Thompson sampling with one surrogate of the cost in context and value.

    Each solve informs the model at all values and contexts: about ten solves are enough
    to avoid bad values, however many values there are. It is for costs that are smooth
    in both; it has no regret bound.

    Args:
        arms: the candidate values, ascending; a round hardly costs more with many.
        low: the lower end of the range of contexts; contexts outside are clipped.
            Without a range no context is used.
        high: the upper end.
        num_context_features: number of polynomials of the context.
        num_value_features: number of polynomials of the value.
        deviation: assumed standard deviation of log cost around the model; larger
            values explore more.
        prior_deviation: prior standard deviation of the coefficients of degree one; it
            falls with the degree.
        prior_curvature: prior mean of the coefficient of T_2(v): costs are expected to
            be convex in the value.
        is_continuous: whether values between arms may be chosen, by the parabola
            through the cheapest arm and its neighbours.
        prediction_weight: weight of the predictions for arms that were not played.
        discount: fraction of the evidence that is kept from round to round.

    Raises:
        ValueError: a setting out of range, or `ask` without a context.

    Cost: per round, one Cholesky factorisation of an m by m matrix for m features.

    References:
        S. Agrawal, N. Goyal, Thompson Sampling for Contextual Bandits with Linear
        Payoffs, ICML 2013.
    """

    arms: Float[Array, " arms"]
    low: float | None
    high: float | None
    num_context_features: int = eqx.field(static=True)
    num_value_features: int = eqx.field(static=True)
    deviation: float
    prior_deviation: float
    prior_curvature: float
    is_continuous: bool = eqx.field(static=True)
    prediction_weight: float
    memory: float

    def __init__(
        self,
        arms: ArrayLike,
        low: float | None = None,
        high: float | None = None,
        *,
        num_context_features: int = 6,
        num_value_features: int = 6,
        deviation: float = 0.05,
        prior_deviation: float = 0.3,
        prior_curvature: float = 1.0,
        is_continuous: bool = False,
        prediction_weight: float = 0.1,
        discount: float = 1.0,
    ) -> None:
        self.arms = as_arms(arms)
        self.low, self.high = low, high
        has_context = low is not None and high is not None
        self.num_context_features = num_context_features if has_context else 1
        self.num_value_features = num_value_features
        self.deviation, self.prior_deviation = deviation, prior_deviation
        self.prior_curvature = prior_curvature
        self.is_continuous = is_continuous
        self.prediction_weight = prediction_weight
        self.memory = discount
        if self.arms.size < 2:
            raise ValueError("JointSurrogate needs at least two arms, got one")
        if low is not None and high is not None:
            require_interval(low, high)
        require_fraction(discount, "discount")
        require_fraction(prediction_weight, "prediction_weight")
        require_flag(is_continuous, "is_continuous")
        require_count(num_context_features, "num_context_features")
        require_count(num_value_features, "num_value_features")
        require_positive(
            deviation=deviation,
            prior_deviation=prior_deviation,
            prior_curvature=prior_curvature,
        )

    @override
    def init(self, key: PRNGKeyArray) -> JointState:
        require_key(key)
        m = self.num_context_features * self.num_value_features
        dtype = self.arms.dtype
        zero = jnp.zeros((), dtype)
        return JointState(key, jnp.zeros((m, m), dtype), jnp.zeros(m, dtype), zero)

    @override
    def ask(
        self, state: JointState, context: ArrayLike | None = None
    ) -> tuple[Choice, JointState]:
        """Return the cheapest value of a model drawn from the posterior."""
        if self.low is not None:
            require_context(self, context)
        key, ours = jax.random.split(state.key)
        variance = jnp.asarray(self.deviation**2, self.arms.dtype)
        mean, precision = self._prior()
        factor = jnp.linalg.cholesky(state.gram / variance + jnp.diag(precision))
        mean = cho_solve((factor, True), state.sums / variance + precision * mean)
        noise = jax.random.normal(ours, mean.shape, mean.dtype)
        drawn = mean + solve_triangular(factor.T, noise, lower=False)
        costs = self._features(context, self.arms) @ drawn
        arm = jnp.argmin(costs)
        value = self._vertex(costs, arm) if self.is_continuous else self.arms[arm]
        choice = pick(arm, self.arms, context, value)
        return choice, eqx.tree_at(lambda s: s.key, state, key)

    @override
    def tell(
        self,
        state: JointState,
        choice: Choice,
        cost: ArrayLike,
        *,
        predicted: ArrayLike | None = None,
    ) -> JointState:
        """Add the cost to the regression, and the predictions with less weight."""
        cost, largest = finite_cost(cost, state.largest)
        kept = self.discount(state, self.memory)
        # A cost of zero, or a failure before the first cost, has no logarithm and is
        # left out.
        has_logarithm = (cost > 0).astype(self.arms.dtype)
        features = has_logarithm * self._features(choice.context, choice.value)
        gram = kept.gram + jnp.outer(features, features)
        sums = kept.sums + features * _log(cost)
        if predicted is not None:
            predicted = jnp.asarray(predicted).astype(self.arms.dtype)
            is_known = jnp.isfinite(predicted) & (predicted > 0)
            weights = self.prediction_weight * is_known.astype(self.arms.dtype)
            costs = _log(jnp.where(is_known, predicted, 1))
            others = self._features(choice.context, self.arms)
            gram = gram + (others * weights[:, None]).T @ others
            sums = sums + others.T @ (weights * costs)
        return JointState(state.key, gram, sums, largest)

    @override
    def discount(self, state: JointState, factor: ArrayLike) -> JointState:
        factor = jnp.asarray(factor, self.arms.dtype)
        gram, sums = factor * state.gram, factor * state.sums
        return JointState(state.key, gram, sums, state.largest)

    def _features(
        self, context: ArrayLike | None, values: Float[Array, "*values"]
    ) -> Float[Array, "*values m"]:
        """Return T_a(c) T_b(v) for one context and one or several values."""
        ends = self.arms[0], self.arms[-1]
        of_values = chebyshev_features(values, *ends, self.num_value_features)
        if self.low is None or self.high is None:
            return of_values
        context = jnp.asarray(context, self.arms.dtype)
        of_context = chebyshev_features(
            context, self.low, self.high, self.num_context_features
        )
        pairs = jnp.einsum("a,...b->...ab", of_context, of_values)
        return pairs.reshape(*of_values.shape[:-1], -1)

    def _prior(self) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Return mean and precision of the coefficients, precise for high degrees."""
        a = jnp.arange(self.num_context_features, dtype=self.arms.dtype)
        b = jnp.arange(self.num_value_features, dtype=self.arms.dtype)
        degrees = (a[:, None] + b[None]).reshape(-1)
        spread = self.prior_deviation / jnp.maximum(degrees, 1)
        # The constant is the scale of the costs, whose unit is arbitrary.
        precision = jnp.where(degrees > 0, spread**-2, 1e-4)
        is_parabola = (a[:, None] == 0) & (b[None] == 2)
        mean = jnp.where(is_parabola.reshape(-1), self.prior_curvature, 0)
        return mean, precision

    def _vertex(
        self, costs: Float[Array, " arms"], arm: Int[Array, ""]
    ) -> Float[Array, ""]:
        """Return the vertex of the parabola through an arm and its neighbours."""
        middle = jnp.clip(arm, 1, self.arms.size - 2)
        x, y = ([a[middle + i] for i in (-1, 0, 1)] for a in (self.arms, costs))
        before, after = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
        curvature = (after - before) / (x[2] - x[0])
        is_convex = curvature > 0
        step = before / jnp.where(is_convex, 2 * curvature, 1)
        vertex = jnp.clip((x[0] + x[1]) / 2 - step, x[0], x[2])
        return jnp.where(is_convex, vertex, self.arms[arm])


def _log(cost: Float[Array, "*costs"]) -> Float[Array, "*costs"]:
    return jnp.log(jnp.where(cost > 0, cost, 1))
