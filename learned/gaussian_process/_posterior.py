"""The posterior of the unknowns around a solution: z ~ N(z*, (RᵀR)⁻¹).

RᵀR is the information of prior, equations and measurements, linearised at the solution
(Laplace's approximation; exact for a linear equation). Its scales are estimated:

- the prior's, without observations, is the norm of z: where the equations do not
  determine z, it is as uncertain as it is large. With observations it has the largest
  evidence given the equations.
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

from ._basis import norm
from ._collocation import Unknowns
from ._gauss_newton import settled
from ._system import (
    System,
    equation_rows,
    measurement_rows,
    weighted_jacobian,
    weights_of,
)

UNRESOLVED = 1e-3
"""A residual off the grid above which a solution is not to be trusted."""
SMALLEST = 1e-16
MOST_NOISE = 1e-6
"""Of equations that leave something open, however much data are against them."""
SCALE_ROUNDS = 3
"""Of solving with estimated scales, and estimating them again."""
DECADES = (-4.0, 6.0)
"""Range of the prior's amplitude around that which the observations have."""


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
    resolved = jnp.sqrt(in_sample(system, on_grid) * off_grid)
    points = math.prod(system.collocation.grid) * len(system.collocation.shapes)
    noise = jnp.where(largest <= UNRESOLVED, resolved, off_grid * math.sqrt(points))
    return lax.stop_gradient(jnp.maximum(noise, SMALLEST))


def estimated_scales(
    system: System, parameters: Any, z: Unknowns, amplitude: Any
) -> tuple[Unknowns, Any, Any]:
    """Return unknowns, and scales by which the equations do not hold against the data.

    Functions that solve the equations are in the span of others only up to a part that
    depends on these. Less noise than that would be held against observations, and what
    is then left of the equations is more than it: it is raised to that, up to a limit.

    Args:
        system: of which the conditions do not determine the unknowns.
        parameters: of the equations.
        z: a start.
        amplitude: a first one.

    Returns:
        The unknowns, their prior standard deviation, and the equations' noise.
    """
    collocation = system.collocation
    parameters = lax.stop_gradient(parameters)

    def again(_: Any, state: Any) -> Any:
        z, amplitude, noise = state
        lifted = collocation.lifted(parameters)
        weights = weights_of(system, z, lifted, parameters, amplitude, noise)
        z = settled(system, parameters, z, weights).z
        _, left = collocation.relative_residual(z, parameters)
        noise = jnp.clip(in_sample(system, left), noise, MOST_NOISE)
        if collocation.pde.observations:
            amplitude = observed_amplitude(system, z, parameters, noise)
        return z, amplitude, noise

    start = z, jnp.asarray(amplitude), jnp.zeros(())
    return lax.stop_gradient(lax.fori_loop(0, SCALE_ROUNDS, again, start))


def in_sample(system: System, on_grid: Any) -> Float[Array, ""]:
    """Return the standard deviation that a root of the mean squared residual shows."""
    collocation = system.collocation
    points = math.prod(collocation.grid) * len(collocation.shapes)
    unknowns = sum(map(math.prod, collocation.shapes))
    return on_grid * math.sqrt(points / max(points - unknowns, 1))


def information_factor(
    system: System, z: Unknowns, parameters: Any, noise: Any, amplitude: Any
) -> Float[Array, "unknowns unknowns"]:
    """Return R, upper triangular."""
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    weights = weights_of(system, z, lifted, parameters, amplitude, noise)
    c = collocation.coefficients(z, lifted, parameters)
    return jnp.linalg.qr(weighted_jacobian(system, weights, c), mode="r")


def observed_amplitude(
    system: System, z: Unknowns, parameters: Any, noise: Any = 0.0
) -> Float[Array, ""]:
    """Return the prior standard deviation of z of largest evidence.

    That of the observations given the equations, which a few functions of the prior
    solve, and of which most others are zero: they say nothing of its amplitude.

    Args:
        system: with observations, which are its first measurements.
        z: at which the equations are linearised.
        parameters: of the equations.
        noise: standard deviation of their errors, as in `weights_of`.
    """
    collocation = system.collocation
    count = len(collocation.pde.observations)
    lifted = collocation.lifted(parameters)
    weights = weights_of(system, z, lifted, parameters, jnp.inf, noise)
    c = collocation.coefficients(z, lifted, parameters)
    measured = measurement_rows(system, weights)
    E = jnp.concatenate([*equation_rows(system, weights, c), *measured[count:]])
    D = jnp.concatenate(measured[:count])
    flat, _ = ravel_pytree(z)
    misfit = [
        w * (m.predicted(z) - m.wanted(collocation, parameters))
        for w, m in zip(weights.measurements, system.measurements, strict=True)
    ]
    errors = [
        w * F.ravel()
        for w, F in zip(
            weights.equations,
            collocation.residual(z, lifted, parameters),
            strict=True,
        )
    ]
    # What E z and D z are to be.
    wanted = E @ flat - jnp.concatenate([*errors, *misfit[count:]])
    data = D @ flat - jnp.concatenate(misfit[:count])
    size = norm(data) / norm(D)
    size = jnp.where(size > 0, size, 1.0)
    # In units of the size, whose square may be beyond the dtype.
    Q, R = jnp.linalg.qr(size * E)
    U, s, Vt = jnp.linalg.svd(R)
    along, G = U.T @ (Q.T @ wanted), size * D @ Vt.T
    amplitudes = jnp.logspace(*DECADES, 41)

    def evidence(amplitude: Any) -> Any:
        precision = s**2 + 1 / amplitude**2
        C = (G / precision[None, :]) @ G.T + jnp.eye(len(data))
        L = jnp.linalg.cholesky(C)
        white = solve_triangular(L, data - G @ (s * along / precision), lower=True)
        return -0.5 * jnp.sum(white**2) - jnp.sum(jnp.log(jnp.diagonal(L)))

    found = lax.map(evidence, amplitudes)
    best = jnp.argmax(jnp.where(jnp.isfinite(found), found, -jnp.inf))
    return lax.stop_gradient(size * amplitudes[best])


@eqx.filter_jit
def posterior_factor(
    system: System, z: Unknowns, parameters: Any, noise: Any
) -> Float[Array, "unknowns unknowns"]:
    """Return R with both scales estimated."""
    flat, _ = ravel_pytree(z)
    amplitude = norm(flat)
    pde = system.collocation.pde
    if pde.observations and not pde.is_determined:
        amplitude = observed_amplitude(system, z, parameters, noise)
    amplitude = jnp.where(amplitude > 0, amplitude, 1.0)
    return information_factor(system, z, parameters, noise, amplitude)
