"""How sure each slab is, and how errors go from one to the next.

The unknowns z of a slab depend on its initial data c, so that errors are

    δz = R⁻¹ η + T δc,    T = dz/dc,    δc' = A δc + B δz,    η ~ N(0, I),

with RᵀR the information of equations and prior in the slab alone, and A, B the linear
map from a slab to the next one's initial data. The covariance of c is kept as L Lᵀ.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ._collocation import Unknowns
from ._gauss_newton import System, galerkin_step, weighted_jacobian, weights_of
from ._slab_equation import SlabParameters, State, at_state, state_after


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
    amplitude = jnp.linalg.norm(flat)
    lifted = collocation.lifted(parameters)
    weights = weights_of(
        system,
        z,
        lifted,
        parameters,
        jnp.where(amplitude > 0, amplitude, 1.0),
        noise,
    )
    J = weighted_jacobian(system, weights, collocation.coefficients(z, lifted, parameters))

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
    factor = jnp.concatenate([(A + B @ T) @ initial, own], axis=1)
    following = jnp.linalg.qr(factor.T, mode="r").T
    return SlabPosterior(R, T, initial), following


@eqx.filter_jit
def drawn(
    posterior: SlabPosterior, z: Unknowns, changes: State, keys: Any
) -> Unknowns:
    """Return draws of δz, one per draw of δc."""
    flat, unravel = ravel_pytree(z)
    c = jax.vmap(lambda s: ravel_pytree(s)[0], out_axes=1)(changes)
    draws = jax.vmap(lambda key: jax.random.normal(key, flat.shape), out_axes=1)(keys)
    moved = solve_triangular(posterior.own, draws) + posterior.response @ c
    return jax.vmap(unravel, in_axes=1)(moved)


@eqx.filter_jit
def perturbed_slab(
    system: System,
    z: Unknowns,
    parameters: SlabParameters,
    noise: Any,
    changes: State,
    keys: Any,
) -> Unknowns:
    """Return draws of δz of the projected equation, one per draw of δc."""
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    (c,) = collocation.coefficients(z, lifted, parameters)
    (terms,) = collocation.largest_terms(z, lifted, parameters)

    def residual(state: State) -> Any:
        p = at_state(parameters, state)
        return collocation.residual(z, collocation.lifted(p), p)[0]

    def draw(given: Any) -> Any:
        key, change = given
        error = noise * terms * jax.random.normal(key, collocation.grid)
        error = error + jax.jvp(residual, (parameters.state,), (change,))[1]
        return (galerkin_step(system, c[0], error),)

    return lax.map(draw, (keys, changes))
