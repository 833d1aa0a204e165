"""Derivatives of a solution, by the implicit function theorem.

With J at the solution z* kept, z* - J⁻¹ F(z*, θ) has the derivative -J⁻¹ ∂F/∂θ, and one
step more the second derivative too. Where the equations leave something open what is
left is not zero: Jᵀr = 0 is then what is solved, whose own derivative has those of J.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular

from ...solvers import LSMR
from ._collocation import Unknowns
from ._gauss_newton import Found, factorise, iterative_step, least_squares_step, settled
from ._system import System, Weights, misfits, weighted_errors, weights_of

NUM_STEPS = 2
"""Each for one order of derivatives."""
BALANCING = 4
"""Corrections, of which each leaves the square of what other rows have of a direction
that the equations determine."""
DERIVATIVE = LSMR(rtol=1e-8, max_steps=1000)
"""A derivative is one step, and NaN where that does not settle: rounding leaves up to
2e-9 where equations cancel."""


def solve_system(
    system: System,
    parameters: Any,
    z0: Unknowns,
    amplitude: Any,
    noise: Any = 0.0,
) -> Found:
    """Return the unknowns that make the residual least, with their derivatives.

    Args:
        system: equations and measurements.
        parameters: of the equations.
        z0: a start.
        amplitude: the prior standard deviation of the unknowns, infinite without one.
        noise: that of the equations' errors, as in `weights_of`.
    """
    lifted = system.collocation.lifted(parameters)
    weights = weights_of(system, z0, lifted, parameters, amplitude, noise)
    found = settled(system, parameters, z0, weights)
    z = with_derivatives(system, parameters, found.z, weights)
    return Found(z, found.num_steps, found.is_settled)


def with_derivatives(
    system: System, parameters: Any, z: Unknowns, weights: Weights
) -> Unknowns:
    """Return a solution z, with its first and second derivatives in the parameters.

    Args:
        system: equations and measurements.
        parameters: of the equations.
        z: the solution for them.
        weights: those that it is best for.
    """
    collocation = system.collocation
    z = lax.stop_gradient(z)
    lifted = collocation.lifted(parameters)
    wanted = [m.wanted(collocation, parameters) for m in system.measurements]
    frozen = lax.stop_gradient((lifted, parameters, wanted))

    def left(z: Unknowns, given: Any) -> Any:
        lifted, parameters, wanted = given
        return collocation.residual(z, lifted, parameters), misfits(system, z, wanted)

    given = lifted, parameters, wanted
    c = collocation.coefficients(z, *frozen[:2])
    if not system.is_dense:
        for _ in range(NUM_STEPS):
            z = _iteratively(z, left(z, given)[0][0], system, c)
        return z
    if collocation.pde.is_determined:
        for _ in range(NUM_STEPS):
            errors = weighted_errors(weights, z, *left(z, given))
            z = _densely(z, errors, system, weights, c)
        return z
    return _open_steps(
        factorise(system, weights, c),
        lambda z: weighted_errors(weights, z, *left(z, given)),
        lambda z: weighted_errors(weights, z, *left(z, frozen)),
        z,
        math.prod(collocation.grid) * len(c),
    )


# Two functions that return z, whose derivative is that of z - J⁻¹F. No step is taken,
# nor compiled, where there is nothing to differentiate.


@jax.custom_jvp
def _iteratively(z: Unknowns, F: Any, system: System, c: Any) -> Unknowns:
    del F, system, c
    return z


@_iteratively.defjvp
def _(primals: Any, tangents: Any) -> Any:
    _, F, system, c = primals
    dz, dF, *_ = tangents

    def step(change: Any) -> Any:
        return iterative_step(system, c[0][0], change, DERIVATIVE)

    # A derivative of a solve can be transposed, the solve itself cannot.
    _, moved = jax.jvp(step, (jnp.zeros_like(F),), (dF,))
    return _iteratively(*primals), (dz[0] + moved,)


@jax.custom_jvp
def _densely(
    z: Unknowns, errors: Any, system: System, weights: Weights, c: Any
) -> Unknowns:
    del errors, system, weights, c
    return z


@_densely.defjvp
def _(primals: Any, tangents: Any) -> Any:
    z, _, system, weights, c = primals
    dz, change, *_ = tangents
    step = least_squares_step(factorise(system, weights, c), change, z)
    return _densely(*primals), jax.tree.map(jnp.add, dz, step)


def _open_steps(
    factors: Any, live: Any, frozen: Any, z: Unknowns, num_equations: int
) -> Unknowns:
    """The differentiable steps for Jᵀr = 0 where r is not zero.

    With H = RᵀR + Σ_i r_i ∇²r_i and R⁻ᵀJᵀr = Qᵀr + R⁻ᵀ(J - QR)ᵀr, where the difference
    of J from that at z is zero but for its derivatives.

    Args:
        factors: Q and R of J at z.
        live: r as a function of z.
        frozen: the same, whose parameters have no derivatives.
        z: the solution, without derivatives.
        num_equations: rows of r that are equations, which come first.
    """
    Q, R = factors
    start, unravel = ravel_pytree(z)
    r = lax.stop_gradient(_balanced(Q, frozen(z), num_equations))

    def slope(function: Any, flat: Any, cotangent: Any) -> Any:
        return jax.vjp(lambda f: function(unravel(f)), flat)[1](cotangent)[0]

    curvature = lax.stop_gradient(
        jax.jacfwd(lambda flat: slope(frozen, flat, r))(start)
    )
    half = solve_triangular(R, curvature, trans=1)
    curved = jnp.eye(len(start)) + solve_triangular(R, half.T, trans=1)
    curved = lax.stop_gradient(curved)
    flat = start
    for _ in range(NUM_STEPS):
        errors = live(unravel(flat))
        # The derivative of r is in Qᵀr already; twice, with two signs, it is rounding.
        change = slope(live, flat, r) - slope(frozen, start, r)
        q = Q.T @ errors + solve_triangular(R, change, trans=1)
        kept = lax.stop_gradient(q)
        flat = flat - solve_triangular(R, kept + jnp.linalg.solve(curved, q - kept))
    return unravel(flat)


def _balanced(Q: Any, r: Any, num_equations: int) -> Any:
    """Return r with what the equations must leave for Jᵀr = 0.

    What they leave is small and lost in rounding. By least norm it follows from the
    other rows, whose part of Jᵀr it balances.
    """
    top, rest = Q[:num_equations], Q[num_equations:]
    aim = rest.T @ r[num_equations:]
    y = aim
    for _ in range(BALANCING):
        y = y + aim - top.T @ (top @ y)
    return r.at[:num_equations].set(-top @ y)
