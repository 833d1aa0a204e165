"""The posterior of the unknowns around a solution: z ~ N(z*, (RᵀR)⁻¹).

RᵀR is the information of prior, equations and measurements, linearised at the solution
(Laplace's approximation; exact for a linear equation). Its scales are estimated:

- the prior's by D. MacKay's update σ² = zᵀz/γ, γ the number of unknowns that are
  determined (Neural Computation 4 (1992), doi:10.1162/neco.1992.4.3.415),
- the equations' errors from what is left of them. On the grid it is fitted, and less
  than the error; between the points it is a field that peaks at the ends, and more. The
  geometric mean of both has error bars of 0.5 to 100 times the error on resolved grids.
  Where the equations do not hold between the points, what is left is no noise that
  averages out over N points, and √N times larger bars are of the error's size.
"""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ._collocation import Unknowns
from ._gauss_newton import NOISE, System, weighted_jacobian, weights_of

UNRESOLVED = 1e-3
"""A residual off the grid above which a solution is not to be trusted."""
SMALLEST = 1e-16
UPDATES = 5


def equation_noise(
    system: System, on_grid: Any, off_grid: Any, largest: Any
) -> Float[Array, ""]:
    """Return the standard deviation of the equations' errors.

    All are relative to the largest terms.

    Args:
        system: with the grid and the unknowns.
        on_grid: the root of the mean squared residual on the grid.
        off_grid: the same between its points.
        largest: the largest residual between its points.
    """
    collocation = system.collocation
    points = math.prod(collocation.grid) * len(collocation.shapes)
    unknowns = sum(map(math.prod, collocation.shapes))
    in_sample = on_grid * math.sqrt(points / max(points - unknowns, 1))
    resolved = jnp.sqrt(in_sample * off_grid)
    noise = jnp.where(largest <= UNRESOLVED, resolved, off_grid * math.sqrt(points))
    return lax.stop_gradient(jnp.maximum(noise, SMALLEST))


def information_factor(
    system: System, z: Unknowns, parameters: Any, noise: Any, amplitude: Any
) -> Float[Array, "unknowns unknowns"]:
    """Return R, upper triangular."""
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    weights = weights_of(system, z, lifted, parameters, amplitude, noise)
    c = collocation.coefficients(z, lifted, parameters)
    return jnp.linalg.qr(weighted_jacobian(system, weights, c), mode="r")


def amplitude_of(
    system: System, z: Unknowns, parameters: Any, amplitude: Any, noise: Any = NOISE
) -> Float[Array, ""]:
    """Return the prior standard deviation of z, by one update from an earlier one."""
    R = information_factor(system, z, parameters, noise, amplitude)
    return _updated(R, z, amplitude)


def _updated(R: Any, z: Unknowns, amplitude: Any) -> Any:
    flat, _ = ravel_pytree(z)
    inverse = solve_triangular(R, jnp.eye(len(R)))
    determined = jnp.sum(1 - jnp.sum(inverse**2, axis=1) / amplitude**2)
    found = jnp.sqrt(jnp.sum(flat**2) / jnp.maximum(determined, 1))
    return lax.stop_gradient(jnp.where(found > 0, found, amplitude))


@eqx.filter_jit
def posterior_factor(
    system: System, z: Unknowns, parameters: Any, noise: Any
) -> Float[Array, "unknowns unknowns"]:
    """Return R with both scales estimated."""
    # The rows of equations and measurements, compressed to as many as unknowns.
    compressed = information_factor(system, z, parameters, noise, jnp.inf)

    def with_prior(amplitude: Any) -> Any:
        prior = jnp.eye(len(compressed)) / amplitude
        return jnp.linalg.qr(jnp.concatenate([compressed, prior]), mode="r")

    flat, _ = ravel_pytree(z)
    start = jnp.linalg.norm(flat) / math.sqrt(len(flat))
    amplitude = lax.fori_loop(
        0,
        UPDATES,
        lambda _, amplitude: _updated(with_prior(amplitude), z, amplitude),
        jnp.where(start > 0, start, 1.0),
    )
    return with_prior(amplitude)
