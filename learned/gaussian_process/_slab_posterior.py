"""How sure each slab is, and how errors go from one to the next.

The unknowns z of a slab depend on its initial data c, so that errors are

    δz = R⁻¹ η + T δc,    T = dz/dc,    δc' = A δc + B δz,    η ~ N(0, I),

with RᵀR the information of equations and prior in the slab alone, and A, B the linear
map from a slab to the next one's initial data. The covariance of c is kept as L Lᵀ.

The errors of slabs are not independent: a wave that lags in one lags in the next. So
own errors O = B R⁻¹ η and those from before, P = (A + B T) δc, add like norms. Of any
two, whatever their correlation,

    Cov(P + O) ≤ (1 + o/p) Cov(P) + (1 + p/o) Cov(O),

and o/p the ratio of their norms on the grid makes its trace there least, (p + o)².
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ._basis import norm
from ._collocation import Unknowns
from ._gauss_newton import iterative_step
from ._mean_equation import mean_response
from ._slab_equation import (
    SlabParameters,
    State,
    at_state,
    state_after,
    state_sizes,
)
from ._system import System, weighted_jacobian, weights_of


class SlabPosterior(NamedTuple):
    """The posterior of one slab.

    Attributes:
        own: R.
        response: T.
        initial: L, of the slab's initial data.
    """

    own: Float[Array, "unknowns unknowns"]
    response: Float[Array, "unknowns state"]
    initial: Float[Array, "state state"]


@eqx.filter_jit
def slab_posterior(
    system: System,
    z: Unknowns,
    parameters: SlabParameters,
    noise: Any,
    initial: Any,
    ends: Any,
    length: float,
) -> tuple[SlabPosterior, Float[Array, "state state"]]:
    """Return the posterior of a slab, and L of the next one.

    Args:
        system: with dense least squares.
        z: the solution.
        parameters: of the slab.
        noise: standard deviation of the equations' errors.
        initial: L.
        ends: functions of time at the end.
        length: of the slab.
    """
    collocation = system.collocation
    flat, unravel = ravel_pytree(z)
    state, unravel_state = ravel_pytree(parameters.state)
    amplitude = norm(flat)
    lifted = collocation.lifted(parameters)
    weights = weights_of(
        system,
        z,
        lifted,
        parameters,
        jnp.where(amplitude > 0, amplitude, 1.0),
        noise,
    )
    J = weighted_jacobian(
        system, weights, collocation.coefficients(z, lifted, parameters)
    )

    def weighted_residual(c: Any) -> Any:
        p = at_state(parameters, unravel_state(c))
        F = collocation.residual(z, collocation.lifted(p), p)
        rows = [w * f.ravel() for w, f in zip(weights.equations, F, strict=True)]
        return jnp.concatenate([*rows, jnp.zeros(flat.shape)])

    D = jax.jacfwd(weighted_residual)(state)
    # With J = Q R the columns Qᵀ D stand beside R: no Q is needed.
    both = jnp.linalg.qr(jnp.concatenate([J, -D], axis=1), mode="r")
    n = len(flat)
    R = both[:n, :n]
    T = solve_triangular(R, both[:n, n:])

    def after(c: Any, y: Any) -> Any:
        return ravel_pytree(state_after(unravel_state(c), unravel(y), ends, length))[0]

    A = jax.jacfwd(after)(state, flat)
    B = jax.jacrev(after, argnums=1)(state, flat)
    own = solve_triangular(R, B.T, trans=1).T
    before = (A + B @ T) @ initial
    sizes = state_sizes(parameters.state, parameters.bases, length)
    factor = jnp.concatenate(added(before, own, sizes), axis=1)
    following = jnp.linalg.qr(factor.T, mode="r").T
    return SlabPosterior(R, T, initial), following


def added(before: Any, own: Any, sizes: Any) -> tuple[Any, Any]:
    """Return factors of two covariances, grown as the bound asks for.

    Args:
        before: L of the errors before, one row per number of the state.
        own: the same of the slab's errors.
        sizes: norms on the grid of what these numbers are coefficients of.
    """
    p, o = (norm(sizes[:, None] * e) for e in (before, own))
    grown = jnp.sqrt(p + o)
    return (
        before * jnp.where(p > 0, grown / jnp.sqrt(jnp.where(p > 0, p, 1)), 1),
        own * jnp.where(o > 0, grown / jnp.sqrt(jnp.where(o > 0, o, 1)), 1),
    )


class SlabDraws(NamedTuple):
    """Draws of errors in one slab, along the leading axis.

    Attributes:
        own: δz of the errors of the slab.
        response: δz of those of the initial data.
        initial: δc.
    """

    own: Unknowns
    response: Unknowns
    initial: State


@eqx.filter_jit
def slab_draws(
    system: System,
    z: Unknowns,
    parameters: SlabParameters,
    noise: Any,
    initial: State,
    keys: Any,
    ends: Any,
    length: float,
) -> tuple[SlabDraws, State]:
    """Return draws of a slab, and δc of the next one.

    Args:
        system: without measurements.
        z: the solution.
        parameters: of the slab.
        noise: standard deviation of the equation's errors.
        initial: draws of δc.
        keys: one per draw.
        ends: functions of time at the end.
        length: of the slab.
    """
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    (c,) = collocation.coefficients(z, lifted, parameters)
    terms = collocation.largest_terms(z, lifted, parameters)
    respond = mean_response(system, c[0])

    def residual(state: State) -> Any:
        p = at_state(parameters, state)
        return collocation.residual(z, collocation.lifted(p), p)[0]

    def draw(given: Any) -> Any:
        key, change = given
        error = noise * terms[0] * jax.random.normal(key, collocation.grid)
        own = respond(error)
        moved = jax.jvp(residual, (parameters.state,), (change,))[1]
        response = iterative_step(system, c[0], moved)
        none = jax.tree.map(jnp.zeros_like, change)
        before = state_after(change, (response,), ends, length)
        after = state_after(none, (own,), ends, length)
        return SlabDraws((own,), (response,), change), before, after

    draws, before, own = lax.map(draw, (keys, initial))
    sizes = state_sizes(parameters.state, parameters.bases, length)
    _, unravel = ravel_pytree(parameters.state)
    columns = [
        jax.vmap(lambda s: ravel_pytree(s)[0], out_axes=1)(e) for e in (before, own)
    ]
    of_before, of_own = added(columns[0], columns[1], sizes)
    return draws, jax.vmap(unravel, in_axes=1)(of_before + of_own)
