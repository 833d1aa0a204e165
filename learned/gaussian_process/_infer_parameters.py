"""Parameters of an equation from observations of its solution, with error bars.

The unknowns z and the parameters θ are found together, by Gauss-Newton steps for

    |F(z, θ)|² / σ_e² + |D z + D m(θ) - y|² / σ_d² + |z|² / a²,

the equations with an error so small that they hold, the observations with theirs, and
the prior. The posterior of θ is Laplace's approximation at the minimum: with the QR
factorisation of the Jacobian, columns of θ last, its covariance is (R_θᵀ R_θ)⁻¹, where
R_θ is the last block. A prior on θ is not assumed.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ...operators._control_flow import while_loop
from ._gauss_newton import (
    SHORTEST,
    System,
    stacked,
    weighted_jacobian,
    weights_of,
)
from ._pde import PDE
from ._posterior import observed_amplitude
from ._solution import PDESolution, Spectrum
from ._solve_pde import solve_pde

MAX_STEPS = 50
SETTLED = 1e-3
"""Change of the parameters, in their standard deviations, that ends the steps."""
ROUNDS = 2
"""The second one with a spectrum of the solution that the first one finds."""


class ParameterPosterior(eqx.Module):
    """Parameters of an equation, approximately normal.

    Attributes:
        mean: the most probable parameters, of the structure of the start.
        std: their standard deviations, of the same structure.
        covariance: of all parameters in the order of `jax.tree.leaves`.
        solution: the equation's solution at the mean.
        is_settled: whether the steps came to an end.
    """

    mean: Any
    std: Any
    covariance: Float[Array, "parameters parameters"]
    solution: PDESolution
    is_settled: bool


def infer_parameters(
    pde: PDE,
    num_points: int | Sequence[int] | None = None,
    *,
    parameters: Any = None,
    spectrum: Spectrum | None = None,
    **options: Any,
) -> ParameterPosterior:
    """Return the posterior of an equation's parameters, given `pde.data`.

    Conditions may be missing: the observations then determine them too.

    Args:
        pde: with `parameters`, floating-point arrays, and `data`.
        num_points: as in `solve_pde`.
        parameters: a start, by default `pde.parameters`.
        spectrum: that of an earlier solution; by default found at the start, and again
            at what is found with it.
        options: of `solve_pde`, such as `kernel` and `max_frequency`.

    Raises:
        ValueError: no parameters, or no data.

    Cost: each of about 5 to 10 steps is one of dense least squares for all functions.

    Examples:
        >>> import jax.numpy as jnp, numpy as np
        >>> from krylax.learned.gaussian_process import (
        ...     PDE, Initial, Observations, infer_parameters
        ... )
        >>> t = np.linspace(0.1, 1.0, 10)
        >>> pde = PDE(
        ...     domain=[(0.0, 1.0)],
        ...     residual=lambda x, u, rate: u(1) + rate * u(),
        ...     conditions=[Initial(1.0)],
        ...     parameters=1.0,
        ...     data=Observations(t[:, None], np.exp(-2 * t), noise=0.01),
        ... )
        >>> posterior = infer_parameters(pde, 32)
        >>> bool(abs(posterior.mean - 2.0) < 0.01), bool(posterior.std < 0.1)
        (True, True)

    References:
        D. J. C. MacKay, Neural Computation 4 (1992), doi:10.1162/neco.1992.4.3.415.
    """
    if not pde.observations:
        raise ValueError("infer_parameters needs observations: give PDE(..., data=)")
    theta = pde.parameters if parameters is None else parameters
    if not jax.tree.leaves(theta):
        raise ValueError("infer_parameters needs parameters: give PDE(..., parameters=)")
    theta = jax.tree.map(lambda a: jnp.asarray(a, float), theta)
    settings = {"throw": False, **options}
    found: Any = None
    for _ in range(1 if spectrum is not None else ROUNDS):
        start = solve_pde(
            pde, num_points, parameters=theta, spectrum=spectrum, **settings
        )
        found = _joint_steps(start.system, start.z, theta)
        theta = found[0]
    theta, covariance, is_settled = found
    solution = solve_pde(pde, parameters=theta, spectrum=start.spectrum, **settings)
    _, unravel = ravel_pytree(theta)
    return ParameterPosterior(
        mean=theta,
        std=unravel(jnp.sqrt(jnp.diagonal(covariance))),
        covariance=covariance,
        solution=solution,
        is_settled=bool(is_settled),
    )


@eqx.filter_jit
def _joint_steps(system: System, z: Any, theta: Any) -> tuple[Any, Any, Any]:
    """Gauss-Newton steps for z and θ together."""
    collocation = system.collocation
    flat_z, unravel_z = ravel_pytree(z)
    flat_theta, unravel_theta = ravel_pytree(theta)
    count = len(flat_theta)
    amplitude = observed_amplitude(system, z, theta)
    lifted = collocation.lifted(theta)
    weights = weights_of(system, z, lifted, theta, amplitude)

    def errors(both: Any) -> Any:
        z, theta = unravel_z(both[:-count]), unravel_theta(both[-count:])
        return stacked(system, weights, z, collocation.lifted(theta), theta)

    def factors(both: Any) -> Any:
        z, theta = unravel_z(both[:-count]), unravel_theta(both[-count:])
        c = collocation.coefficients(z, collocation.lifted(theta), theta)
        J = weighted_jacobian(system, weights, c)

        def of_theta(t: Any) -> Any:
            return errors(jnp.concatenate([both[:-count], t]))

        return jnp.concatenate([J, jax.jacfwd(of_theta)(both[-count:])], axis=1)

    def advance(state: Any) -> Any:
        steps, both, left, _, _ = state
        Q, R = jnp.linalg.qr(factors(both))
        step = -solve_triangular(R, Q.T @ left)
        norm = jnp.linalg.norm(left)

        def is_too_long(trial: Any) -> Any:
            return (trial[0] > SHORTEST) & ~(jnp.linalg.norm(trial[2]) < norm)

        def halve(trial: Any) -> Any:
            moved = both + trial[0] / 2 * step
            return trial[0] / 2, moved, errors(moved)

        # Half of twice the step is the step.
        _, moved, after = while_loop(
            is_too_long, halve, (jnp.asarray(2.0), both, left)
        )
        is_better = jnp.linalg.norm(after) < norm
        moved, after = (
            jnp.where(is_better, a, b) for a, b in ((moved, both), (after, left))
        )
        R_theta = R[-count:, -count:]
        change = jnp.linalg.norm(R_theta @ (moved - both)[-count:])
        is_settled = (change < SETTLED) | ~is_better
        return steps + 1, moved, after, R_theta, is_settled

    both = jnp.concatenate([flat_z, flat_theta])
    start = (jnp.zeros((), jnp.int32), both, errors(both), jnp.eye(count), jnp.zeros((), bool))
    _, both, _, R_theta, is_settled = while_loop(
        lambda s: ~s[-1] & (s[0] < MAX_STEPS), advance, start
    )
    inverse = solve_triangular(R_theta, jnp.eye(count))
    return unravel_theta(both[-count:]), inverse @ inverse.T, is_settled
