"""Gauss-Newton steps for the unknowns of a collocation.

Each step solves the linearised equations by least squares over all points of the grid.
Few unknowns: with all measurements, and the prior as a weak last term, dense and by a
QR factorisation. Many: J (⊗ S⁻¹) y = -F for y of functions of unit norm, by LSMR, with
the mean equation for a preconditioner.

No step has a derivative: `_implicit_derivative.py` adds those of the solution.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Int

from ... import solvers
from ...operators import AbstractLinearOperator, Function
from ...operators._control_flow import while_loop
from ._basis import mode_products, norm
from ._collocation import Unknowns, Values
from ._mean_equation import mean_operator, projection, unscaled
from ._system import (
    System,
    Weights,
    misfits,
    natural_amplitude,
    weighted_errors,
    weighted_jacobian,
    weights_of,
)

MAX_STEPS = 50
SHORTEST = 1e-3
"""Part of a step below which the residual is taken to be least."""
SETTLED = 0.99
"""How much of the residual a step must leave for the steps to have settled."""
REFINED = 1e-6
"""The same for a second step with the same factors, over the first: of a linear
equation it is rounding, of another one the next step would be of its square."""
STEP = solvers.LSMR(rtol=1e-11, max_steps=100)


class Found(eqx.Module):
    """The unknowns, and how they were found."""

    z: Unknowns
    num_steps: Int[Array, ""]
    is_settled: Any


def settled(system: System, parameters: Any, z0: Unknowns, weights: Weights) -> Found:
    """Return the unknowns that make the weighted residual least, without derivatives.

    Args:
        system: equations and measurements.
        parameters: of the equations.
        z0: a start.
        weights: of equations, measurements and prior.
    """
    collocation = system.collocation
    parameters, z0 = lax.stop_gradient((parameters, z0))
    lifted = lax.stop_gradient(collocation.lifted(parameters))
    aim = [m.wanted(collocation, parameters) for m in system.measurements]
    aim = lax.stop_gradient(aim)

    def left(z: Unknowns) -> Any:
        return collocation.residual(z, lifted, parameters), misfits(system, z, aim)

    def size(z: Unknowns, errors: Any) -> Any:
        return jnp.linalg.norm(weighted_errors(weights, z, *errors))

    def moved(z: Unknowns, length: Any, dz: Unknowns) -> tuple[Unknowns, Any, Any]:
        z = jax.tree.map(lambda a, b: a + length * b, z, dz)
        errors = left(z)
        return z, errors, size(z, errors)

    def advance(state: Any) -> Any:
        count, *before, _ = state
        z, errors, norm = before
        c = collocation.coefficients(z, lifted, parameters)
        factors = factorise(system, weights, c) if system.is_dense else None
        if factors is None:
            dz = (iterative_step(system, c[0][0], errors[0][0]),)
        else:
            dz = least_squares_step(factors, weighted_errors(weights, z, *errors), z)

        def is_too_long(trial: Any) -> Any:
            return (trial[0] > SHORTEST) & ~(trial[3] < norm)

        def halve(trial: Any) -> Any:
            length = trial[0] / 2
            return length, *moved(z, length, dz)

        # Half of twice the step is the step.
        _, *trial = while_loop(is_too_long, halve, (jnp.asarray(2.0), *before))
        best = _better(trial, before)
        is_settled = ~(best[2] < SETTLED * norm)
        if factors is not None:
            errors = weighted_errors(weights, best[0], *best[1])
            refinement = least_squares_step(factors, errors, best[0])
            is_settled |= _norm(refinement) <= REFINED * _norm(dz)
            best = _better(moved(best[0], 1.0, refinement), best)
        return count + 1, *best, is_settled

    errors = left(z0)
    norm = size(z0, errors)
    start = (jnp.zeros((), jnp.int32), z0, errors, norm, ~(norm > 0))
    num_steps, z, _, _, is_settled = while_loop(
        lambda s: ~s[-1] & (s[0] < MAX_STEPS), advance, start
    )
    return Found(lax.stop_gradient(z), num_steps, is_settled)


def _better(trial: Any, best: Any) -> list[Any]:
    """Of two states with their errors and norm, the one of smaller norm."""
    is_better = trial[2] < best[2]
    return jax.tree.map(
        lambda new, old: jnp.where(is_better, new, old), list(trial), list(best)
    )


def _norm(z: Unknowns) -> Any:
    return norm(ravel_pytree(z)[0])


def factorise(system: System, weights: Weights, c: tuple[Values, ...]) -> Any:
    """Return Q and R of the weighted Jacobian, whose rows descend in size."""
    return lax.stop_gradient(jnp.linalg.qr(weighted_jacobian(system, weights, c)))


def least_squares_step(factors: Any, errors: Any, z: Unknowns) -> Unknowns:
    """Return the step that makes the weighted errors least, in the structure of z."""
    Q, R = factors
    _, unravel = ravel_pytree(z)
    return unravel(-solve_triangular(R, Q.T @ errors))


def iterative_step(
    system: System,
    c: dict[Any, Any],
    F: Any,
    solver: solvers.LSMR = STEP,
) -> Any:
    """Return the least-squares step of one field without measurements, by LSMR."""
    scaled, _ = projection(system)

    def mv(y: Any) -> Any:
        total = 0.0
        for orders, coefficient in c.items():
            factors = [m[o] for m, o in zip(scaled, orders, strict=True)]
            total = total + coefficient * mode_products(factors, y)
        return jnp.asarray(total)

    y = solvers.solve(
        Function(mv, jax.ShapeDtypeStruct(system.collocation.shapes[0], F.dtype)),
        -F,
        solver,
        preconditioner=solvers.Sylvester()(mean_operator(system, c)),
        throw=False,
    ).value
    return unscaled(system, y)


def inverse_operator(
    system: System, z: Unknowns, parameters: Any
) -> AbstractLinearOperator:
    """Return the operator from sources on the grid to solutions on it."""
    collocation = system.collocation
    (matrices,) = collocation.matrices
    grid = jax.ShapeDtypeStruct(collocation.grid, jnp.float64)
    lifted = collocation.lifted(parameters)
    c = collocation.coefficients(z, lifted, parameters)
    if system.is_dense:
        amplitude = natural_amplitude(system, z, parameters)
        weights = weights_of(system, z, lifted, parameters, amplitude)
        Q, R = jnp.linalg.qr(weighted_jacobian(system, weights, c))
        rows = Q[: math.prod(collocation.grid)]

        def apply(f: Any) -> Any:
            y = rows.T @ (weights.equations[0] * f.ravel())
            own = solve_triangular(R, y).reshape(z[0].shape)
            return mode_products([m[0] for m in matrices], own)

        return Function(apply, grid)
    scaled, tests = projection(system)
    M = solvers.Sylvester()(mean_operator(system, c[0][0]))

    def project(f: Any) -> Any:
        return mode_products([m[0] for m in scaled], M.mv(mode_products(tests, f)))

    return Function(project, grid)
