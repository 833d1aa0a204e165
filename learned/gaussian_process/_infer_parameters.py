"""Parameters of an equation from observations of its solution, with error bars.

The solution that the equations, the conditions, the observations and the prior leave
for given parameters θ is that of `solve_system`; what it leaves of the observations,

    r(θ) = (D u_θ - y) / σ,

is made least by Gauss-Newton steps. Where conditions are missing the solution moves
with the observations, which is variable projection (G. Golub, V. Pereyra, SIAM J.
Numer. Anal. 10 (1973), doi:10.1137/0710036). With H the derivative of r, by the
implicit function theorem, the posterior of θ is normal with covariance (HᵀH)⁻¹,
Laplace's approximation. A prior on θ is not assumed.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ...operators._control_flow import while_loop
from ._gauss_newton import SHORTEST, System, solve_system
from ._pde import PDE
from ._posterior import observed_amplitude
from ._solution import PDESolution, Spectrum
from ._solve_pde import solve_pde

MAX_STEPS = 50
SETTLED = 1e-3
"""Change of the parameters, in their standard deviations, that ends the steps."""


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

    Cost: about 5 steps, of a few dense least-squares problems of all functions each.

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
        raise ValueError(
            "infer_parameters needs parameters: give PDE(..., parameters=)"
        )
    theta = jax.tree.map(lambda a: jnp.asarray(a, float), theta)
    settings = {"throw": False, **options}

    def improved(theta: Any) -> tuple[Any, Any, Any, Spectrum]:
        start = solve_pde(
            pde, num_points, parameters=theta, spectrum=spectrum, **settings
        )
        return *_steps(start.system, start.z, theta), start.spectrum

    theta, covariance, is_settled, own = improved(theta)
    if spectrum is None:
        # With a spectrum of the solution that the first one finds.
        theta, covariance, is_settled, own = improved(theta)
    solution = solve_pde(pde, parameters=theta, spectrum=own, **settings)
    _, unravel = ravel_pytree(theta)
    return ParameterPosterior(
        mean=theta,
        std=unravel(jnp.sqrt(jnp.diagonal(covariance))),
        covariance=covariance,
        solution=solution,
        is_settled=bool(is_settled),
    )


@eqx.filter_jit
def _steps(system: System, z: Any, theta: Any) -> tuple[Any, Any, Any]:
    """Gauss-Newton steps for θ, each with the z that are best for it."""
    flat, unravel = ravel_pytree(theta)
    count = len(system.collocation.pde.observations)
    amplitude = observed_amplitude(system, z, theta)

    def errors(flat: Any, z: Any) -> Any:
        found = solve_system(system, unravel(flat), z, amplitude).z
        own = system.measurements[:count]
        rows = [
            (m.predicted(found) - m.wanted(system.collocation, unravel(flat))) / m.noise
            for m in own
        ]
        return jnp.concatenate(rows), lax.stop_gradient(found)

    def advance(state: Any) -> Any:
        steps, flat, z, left, _, _ = state
        H, _ = jax.jacfwd(errors, has_aux=True)(flat, z)
        Q, R = jnp.linalg.qr(H)
        step = -solve_triangular(R, Q.T @ left)
        norm = jnp.linalg.norm(left)

        def is_too_long(trial: Any) -> Any:
            return (trial[0] > SHORTEST) & ~(jnp.linalg.norm(trial[3]) < norm)

        def halve(trial: Any) -> Any:
            moved = flat + trial[0] / 2 * step
            after, own = errors(moved, z)
            return trial[0] / 2, moved, own, after

        # Half of twice the step is the step.
        trial = while_loop(is_too_long, halve, (jnp.asarray(2.0), flat, z, left))
        is_better = jnp.linalg.norm(trial[3]) < norm
        moved, z, after = jax.tree.map(
            lambda new, old: jnp.where(is_better, new, old), trial[1:], (flat, z, left)
        )
        is_settled = (jnp.linalg.norm(R @ (moved - flat)) < SETTLED) | ~is_better
        return steps + 1, moved, z, after, R, is_settled

    left, z = errors(flat, z)
    start = (jnp.zeros((), jnp.int32), flat, z, left, jnp.eye(len(flat)))
    _, flat, _, _, R, is_settled = while_loop(
        lambda s: ~s[-1] & (s[0] < MAX_STEPS), advance, (*start, jnp.zeros((), bool))
    )
    inverse = solve_triangular(R, jnp.eye(len(flat)))
    return unravel(flat), inverse @ inverse.T, is_settled
