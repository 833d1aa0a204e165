"""Predictions for every relaxation factor from the history of one SOR solve.

The residual norms decrease asymptotically by the spectral radius of the iteration per
step. Young's relation turns it into the Jacobi radius, and that into the radius and the
number of steps for any ω.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core._solution import Statistics
from ..relaxation._young import jacobi_radius_of, sor_steps_bound

BELOW_MARGIN = 0.1
"""ω counts as below the optimum if ρ - (ω - 1) exceeds this fraction of 2 - ω: near the
optimum the rate has not converged when the solve ends."""


class YoungFeedback(eqx.Module):
    """Predicts the steps of SOR at every ω from those at one, in `tune_sequence`.

    A solve at ω clearly below the optimum determines the Jacobi radius, and with it the
    steps at all ω. Above the optimum ρ = ω - 1 whatever the radius, which determines
    only the steps at larger ω; the others are NaN, which tuners take for unknown. The
    predictions are scaled to match the steps at the ω that was played.

    Args:
        rtol: tolerance of the solves.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, arms = kx.operators.Laplacian((15, 15)), jnp.array([1.0, 1.5, 1.67])
        >>> sol = kx.solve(A, jnp.ones((15, 15)), kx.solvers.SOR(rtol=1e-8, omega=1.5))
        >>> feedback = kx.solvers.tuning.YoungFeedback(rtol=1e-8)
        >>> feedback(sol.stats, arms[1], arms).round().tolist()
        [480.0, 147.0, 56.0]
    """

    rtol: float

    def __call__(
        self, stats: Statistics, omega: Float[Array, ""], arms: Float[Array, " arms"]
    ) -> Float[Array, " arms"]:
        """Return the predicted number of steps for each arm.

        Args:
            stats: the statistics of a solve.
            omega: its relaxation factor.
            arms: the relaxation factors to predict for.
        """
        rate = late_rate(stats).astype(omega.dtype)
        is_below = rate - (omega - 1) > BELOW_MARGIN * (2 - omega)
        # At μ = 1 no ω converges.
        mu = jacobi_radius_of(rate, omega)
        mu = jnp.minimum(mu, 1 - jnp.finfo(omega.dtype).eps)
        predicted = sor_steps_bound(arms, mu, self.rtol)
        played = sor_steps_bound(omega, mu, self.rtol)
        predicted = predicted * (stats.num_steps.astype(omega.dtype) / played)
        return jnp.where(is_below | (arms >= omega), predicted, jnp.nan)


def late_rate(stats: Statistics) -> Float[Array, ""]:
    """Return the mean reduction of the residual per step over the last half.

    With fewer than two recorded steps it is zero.
    """
    last = stats.num_steps // stats.history_stride
    middle = last // 2
    ratio = stats.history[last] / stats.history[middle]
    count = ((last - middle) * stats.history_stride).astype(ratio.dtype)
    rate = ratio ** (1 / jnp.maximum(count, 1))
    return jnp.where((last >= 2) & jnp.isfinite(rate), jnp.minimum(rate, 1), 0)
