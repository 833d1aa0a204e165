"""Parameters of an equation from observations of its solution, with error bars.

The solution that the equations, the conditions, the observations and the prior leave
for given parameters θ is that of `settled`; what it leaves of the observations,

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
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ...operators._control_flow import while_loop
from ._gauss_newton import SHORTEST, settled
from ._implicit_derivative import with_derivatives
from ._pde import PDE
from ._posterior import UNRESOLVED, estimated_scales
from ._solution import PDESolution, Spectrum, warn
from ._solve_pde import solve_pde
from ._system import System, natural_amplitude, weights_of

MAX_STEPS = 50
ROUNDING = 1e-8
"""Singular values below this part of the largest are not known: derivatives of a
solution have errors of this size."""
RTOL = 0.01
"""Residual that counts as converged, over the relative error of the observations."""
RTOL_RANGE = (1e-8, 1e-4)
SETTLED = 1e-3
"""Change of the parameters, in their standard deviations, that ends the steps."""


class ParameterPosterior(eqx.Module):
    """Parameters of an equation, approximately normal.

    `print` shows them, and the report of the solution.

    Attributes:
        mean: the most probable parameters, of the structure of the start.
        std: their standard deviations, of the same structure.
        covariance: of all parameters in the order of `jax.tree.leaves`.
        solution: the equation's solution at the mean.
        is_settled: whether the steps came to an end within 50.
    """

    mean: Any
    std: Any
    covariance: Float[Array, "parameters parameters"]
    solution: PDESolution
    is_settled: bool

    def __str__(self) -> str:
        leaves, _ = jax.tree_util.tree_flatten_with_path(self.mean)
        lines = [] if self.is_settled else [f"not settled in {MAX_STEPS} steps"]
        for (path, mean), std in zip(leaves, jax.tree.leaves(self.std), strict=True):
            for index in np.ndindex(np.shape(mean)):
                place = f"[{', '.join(map(str, index))}]" if index else ""
                lines.append(
                    f"parameters{jax.tree_util.keystr(path)}{place} = "
                    f"{float(mean[index]):.6g} ± {float(std[index]):.2g}"
                )
        return "\n".join([*lines, str(self.solution)])


def infer_parameters(
    pde: PDE,
    num_points: int | Sequence[int] | None = None,
    *,
    parameters: Any = None,
    spectrum: Spectrum | None = None,
    **options: Any,
) -> ParameterPosterior:
    """Return the posterior of an equation's parameters, given `pde.data`.

    Conditions may be missing: the observations then determine them too. Parameters that
    the observations do not tell apart have an infinite `std`, and a warning says so; so
    does one where the solution at the mean does not solve the equation.

    Args:
        pde: with `parameters`, floating-point arrays, and `data`.
        num_points: as in `solve_pde`.
        parameters: a start, by default `pde.parameters`.
        spectrum: that of an earlier solution; by default found at the start, and again
            at what is found with it.
        options: of `solve_pde`, such as `kernel` and `max_frequency`; `rtol` is by
            default a hundredth of the relative error of the observations, at most 1e-4.

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
        >>> posterior = infer_parameters(pde, 64)
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
    settings = {"throw": False, "rtol": _rtol(pde), **options}

    def improved(theta: Any) -> tuple[Any, Any, Any, Spectrum]:
        start = solve_pde(
            pde, num_points, parameters=theta, spectrum=spectrum, **settings
        )
        # With observations there are no slabs.
        assert isinstance(start, PDESolution)
        return *_steps(start.system, start.z, theta), start.spectrum

    def solved() -> PDESolution:
        solution = solve_pde(pde, parameters=theta, spectrum=own, **settings)
        assert isinstance(solution, PDESolution)
        return solution

    theta, covariance, is_settled, own = improved(theta)
    solution = solved()
    if spectrum is None and solution.report.residual_off_grid > settings["rtol"]:
        # With a spectrum of the solution that the first one finds.
        theta, covariance, is_settled, own = improved(theta)
        solution = solved()
    left = float(solution.report.residual_off_grid)
    if left > UNRESOLVED:
        warn(
            [
                f"at the mean the residual between the points is {left:.1e} of the "
                "largest term: mean and std may be wrong; give a start of the "
                "solution, x0=, another kernel, or more points"
            ]
        )
    if not np.isfinite(left):
        is_settled = False
        warn(
            [
                "the equation has no finite solution for the parameters that the steps "
                "end at; give another start"
            ]
        )
    elif not jnp.all(jnp.isfinite(covariance)):
        warn(
            [
                "the observations do not determine all parameters: those whose std is "
                "infinite depend on the start; give more data, or fewer parameters"
            ]
        )
    _, unravel = ravel_pytree(theta)
    return ParameterPosterior(
        mean=theta,
        std=unravel(jnp.sqrt(jnp.diagonal(covariance))),
        covariance=covariance,
        solution=solution,
        is_settled=bool(is_settled),
    )


def _rtol(pde: PDE) -> float:
    errors = [
        np.min(data.noise) / (np.max(np.abs(data.values), initial=0.0) or 1.0)
        for data in pde.observations
    ]
    return float(np.clip(RTOL * min(errors), *RTOL_RANGE))


@eqx.filter_jit
def _steps(system: System, z: Any, theta: Any) -> tuple[Any, Any, Any]:
    """Gauss-Newton steps for θ, each with the z that are best for it."""
    flat, unravel = ravel_pytree(theta)
    count = len(system.collocation.pde.observations)
    scales: tuple[Any, Any, Any] = z, natural_amplitude(system, z, theta), 0.0
    if not system.collocation.pde.is_determined:
        scales = estimated_scales(system, theta, *scales[:2])
    z, amplitude, noise = scales
    lifted = system.collocation.lifted(theta)
    weights = weights_of(system, z, lifted, theta, amplitude, noise)

    def misfit(flat: Any, z: Any) -> Any:
        rows = [
            (m.predicted(z) - m.wanted(system.collocation, unravel(flat))) / m.noise
            for m in system.measurements[:count]
        ]
        return jnp.concatenate(rows)

    def errors(flat: Any, z: Any) -> Any:
        found = settled(system, unravel(flat), z, weights).z
        return misfit(flat, found), found

    def moving_errors(flat: Any, z: Any) -> Any:
        moving = with_derivatives(system, unravel(flat), z, weights)
        return misfit(flat, moving)

    def advance(state: Any) -> Any:
        steps, flat, z, left, _, _ = state
        H = jax.jacfwd(moving_errors)(flat, z)
        U, s, Vt = _determined(H)
        step = -Vt.T @ ((U.T @ left) * _reciprocal(s))
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
        change = jnp.linalg.norm(H @ (moved - flat))
        return steps + 1, moved, z, after, H, (change < SETTLED) | ~is_better

    left, z = errors(flat, z)
    H = jnp.zeros((len(left), len(flat)))
    start = (jnp.zeros((), jnp.int32), flat, z, left, H)
    _, flat, _, _, H, is_settled = while_loop(
        lambda s: ~s[-1] & (s[0] < MAX_STEPS), advance, (*start, jnp.zeros((), bool))
    )
    return unravel(flat), _covariance(H), is_settled


def _determined(H: Any) -> tuple[Any, Any, Any]:
    """U, s, Vᵀ of H = U diag(s) Vᵀ, zero where H is so but for rounding.

    In units in which all parameters have the same effect, so that these do not matter
    for what is rounding.
    """
    sizes = jnp.linalg.norm(H, axis=0)
    sizes = jnp.where(sizes > 0, sizes, 1.0)
    U, s, Vt = jnp.linalg.svd(H / sizes[None, :], full_matrices=False)
    return U, jnp.where(s > ROUNDING * s[0], s, 0.0), Vt / sizes[None, :]


def _reciprocal(s: Any) -> Any:
    return jnp.where(s > 0, 1 / jnp.where(s > 0, s, 1.0), 0.0)


def _covariance(H: Any) -> Any:
    """(HᵀH)⁻¹, infinite for parameters that H does not determine."""
    _, s, Vt = _determined(H)
    known = (_reciprocal(s)[:, None] * Vt).T
    # Of a vector outside of the rows of H nothing is known.
    sizes = jnp.linalg.norm(H, axis=0)
    sizes = jnp.where(sizes > 0, sizes, 1.0)
    rows = jnp.where(s > 0, 1.0, 0.0)[:, None] * Vt * sizes[None, :]
    unknown = jnp.eye(len(sizes)) - rows.T @ rows
    infinite = jnp.where(unknown > 0, jnp.inf, -jnp.inf)
    return jnp.where(jnp.abs(unknown) > 1e-6, infinite, known @ known.T)
