"""Parameters of an equation from observations of its solution, with error bars.

The unknowns z and the parameters θ make least

    |F(z, θ)|² / σ_e² + |D z + D m(θ) - y|² / σ_d² + |z|² / a²,

the equations with the error that the functions leave, the observations with theirs, and
the prior. Steps are those of variable projection (L. Kaufman, BIT 15 (1975),
doi:10.1007/BF01932995): with the QR factorisation of the Jacobian, columns of θ last, θ
moves by its last block R_θ alone, and z is solved for anew. The posterior of θ is
Laplace's approximation at the minimum, of covariance (R_θᵀ R_θ)⁻¹. A prior on θ is not
assumed.
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
    solve_system,
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
        found = _steps(start.system, start.z, theta, start.report.noise)
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
def _steps(system: System, z: Any, theta: Any, noise: Any) -> tuple[Any, Any, Any]:
    """Gauss-Newton steps for θ, each with the z that are best for it."""
    collocation = system.collocation
    flat, unravel = ravel_pytree(theta)
    count = len(flat)
    amplitude = observed_amplitude(system, z, theta, noise)
    weights = weights_of(
        system, z, collocation.lifted(theta), theta, amplitude, noise
    )

    def best(flat: Any, z: Any) -> Any:
        return solve_system(system, unravel(flat), z, amplitude, noise).z

    def errors(flat: Any, z: Any) -> Any:
        lifted = collocation.lifted(unravel(flat))
        return stacked(system, weights, z, lifted, unravel(flat))

    def jacobian(flat: Any, z: Any) -> Any:
        c = collocation.coefficients(z, collocation.lifted(unravel(flat)), unravel(flat))
        J = weighted_jacobian(system, weights, c)
        return jnp.concatenate([J, jax.jacfwd(errors)(flat, z)], axis=1)

    def advance(state: Any) -> Any:
        steps, flat, z, left, _, _ = state
        Q, R = jnp.linalg.qr(jacobian(flat, z))
        block = R[-count:, -count:]
        step = -solve_triangular(block, Q[:, -count:].T @ left)
        norm = jnp.linalg.norm(left)

        def is_too_long(trial: Any) -> Any:
            return (trial[0] > SHORTEST) & ~(jnp.linalg.norm(trial[3]) < norm)

        def halve(trial: Any) -> Any:
            moved = flat + trial[0] / 2 * step
            own = best(moved, z)
            return trial[0] / 2, moved, own, errors(moved, own)

        # Half of twice the step is the step.
        trial = while_loop(is_too_long, halve, (jnp.asarray(2.0), flat, z, left))
        is_better = jnp.linalg.norm(trial[3]) < norm
        moved, z, after = jax.tree.map(
            lambda new, old: jnp.where(is_better, new, old), trial[1:], (flat, z, left)
        )
        is_settled = (jnp.linalg.norm(block @ (moved - flat)) < SETTLED) | ~is_better
        return steps + 1, moved, z, after, block, is_settled

    z = best(flat, z)
    start = (jnp.zeros((), jnp.int32), flat, z, errors(flat, z), jnp.eye(count))
    _, flat, _, _, block, is_settled = while_loop(
        lambda s: ~s[-1] & (s[0] < MAX_STEPS), advance, (*start, jnp.zeros((), bool))
    )
    inverse = solve_triangular(block, jnp.eye(count))
    return unravel(flat), inverse @ inverse.T, is_settled
