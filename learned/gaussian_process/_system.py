"""The least-squares problem of a collocation: its rows, and how sure each is."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ._collocation import Collocation, Unknowns, Values
from ._measurements import Measurements
from ._pde import PDE

MOST_PREFERRED = 1500
"""Unknowns up to which a step is dense least squares, where LSMR is another way."""
MOST_POSSIBLE = 2500
"""The same for several fields or measurements, which have no preconditioner."""
MOST_ENTRIES = 16_000_000
"""Entries of the matrix of dense least squares, of which there are a few copies."""
NOISE = 1e-13
"""Standard deviation of the equations' errors, relative to their largest terms."""
UNDETERMINED_NOISE = 1e-9
"""The same where the equations leave something open. Functions that solve an equation
are in the span of others only up to 1e-12, which does not exclude them."""


def needs_dense(pde: PDE, is_exact: bool) -> bool:
    """Whether an equation has no preconditioner for LSMR."""
    return pde.fields > 1 or not is_exact or bool(pde.observations)


def is_dense(
    pde: PDE,
    is_exact: bool,
    ranks: Sequence[Sequence[int]],
    num_points: Sequence[int],
) -> bool:
    """Whether a step is dense least squares, from functions and points per axis."""
    if needs_dense(pde, is_exact):
        return True
    unknowns = sum(map(math.prod, ranks))
    entries = unknowns * math.prod(num_points)
    return unknowns <= MOST_PREFERRED and entries <= MOST_ENTRIES


class System(eqx.Module):
    """The equations on a grid, and measurements.

    Attributes:
        collocation: the equations.
        measurements: observations, and conditions that are not exact.
        sizes: per field and axis, the norms of the functions.
    """

    collocation: Collocation
    measurements: tuple[Measurements, ...]
    sizes: tuple[tuple[Any, ...], ...]

    @property
    def is_dense(self) -> bool:
        """Whether a step is dense least squares; else it is by LSMR."""
        return is_dense(
            self.collocation.pde,
            self.collocation.is_lifted,
            self.collocation.shapes,
            self.collocation.grid,
        )


class Weights(eqx.Module):
    """Inverse standard deviations.

    Attributes:
        equations: per equation.
        measurements: per set of them, one for each point.
        prior: of z.
    """

    equations: Float[Array, " equations"]
    measurements: tuple[Any, ...]
    prior: Any


def misfits(system: System, z: Unknowns, wanted: Any) -> tuple[Any, ...]:
    """Return what the process has too much at the measurements."""
    return tuple(
        m.predicted(z) - aim for m, aim in zip(system.measurements, wanted, strict=True)
    )


def weights_of(
    system: System,
    z: Unknowns,
    lifted: Values,
    parameters: Any,
    amplitude: Any,
    noise: Any = 0.0,
) -> Weights:
    """Return the inverse standard deviations.

    Args:
        system: equations and measurements.
        z: the unknowns at which terms of the equations are compared.
        lifted: derivatives of the lift.
        parameters: of the equations.
        amplitude: prior standard deviation of z.
        noise: standard deviation of the equations' errors, relative to their largest
            terms, if more than is assumed at least.
    """
    collocation = system.collocation
    is_determined = collocation.pde.is_determined
    noise = jnp.maximum(noise, NOISE if is_determined else UNDETERMINED_NOISE)
    c = collocation.coefficients(z, lifted, parameters)
    terms = collocation.terms(c, z, lifted, parameters)
    wanted = [m.wanted(collocation, parameters) for m in system.measurements]
    responses = _responses(system, c)
    # Of what has no term or value, as before the first step: what the prior has.
    natural = _amplitude(system, terms, responses, wanted)
    expected = jnp.where(jnp.isfinite(amplitude), amplitude, natural)
    terms = jnp.where(terms > 0, terms, expected * responses)
    terms = jnp.where(terms > 0, terms, 1)
    deviations = [
        m.deviation(aim, expected)
        for m, aim in zip(system.measurements, wanted, strict=True)
    ]
    return lax.stop_gradient(
        Weights(
            equations=1 / (noise * terms),
            measurements=tuple(1 / d for d in deviations),
            prior=1 / jnp.asarray(amplitude),
        )
    )


def natural_amplitude(system: System, z: Unknowns, parameters: Any) -> Any:
    """Return the standard deviation of z that has the size of sources and conditions.

    The prior is weak, but not whatever the unit of u.
    """
    collocation = system.collocation
    lifted = collocation.lifted(parameters)
    c = collocation.coefficients(z, lifted, parameters)
    terms = collocation.terms(c, z, lifted, parameters)
    wanted = [m.wanted(collocation, parameters) for m in system.measurements]
    found = _amplitude(system, terms, _responses(system, c), wanted)
    return lax.stop_gradient(found)


def _amplitude(system: System, terms: Any, responses: Any, wanted: Any) -> Any:
    sizes = [*terms, *(jnp.max(jnp.abs(aim)) for aim in wanted)]
    units = [*responses, *(m.largest for m in system.measurements)]
    size, unit = jnp.stack(sizes), jnp.stack(units)
    ratio = jnp.max(jnp.where(unit > 0, size / jnp.where(unit > 0, unit, 1), 0))
    return jnp.where((ratio > 0) & jnp.isfinite(ratio), ratio, 1)


def _responses(system: System, c: tuple[Values, ...]) -> Float[Array, " equations"]:
    """Bounds of the standard deviations of the equations' values for z ~ N(0, I)."""

    def response(matrices: Any, orders: Any, coefficient: Any) -> Any:
        total = jnp.max(jnp.abs(coefficient))
        for by_order, order in zip(matrices, orders, strict=True):
            total = total * jnp.max(jnp.linalg.norm(by_order[order], axis=1))
        return total

    return jnp.stack(
        [
            jnp.sum(
                jnp.stack(
                    [
                        response(matrices, orders, coefficient)
                        for matrices, own in zip(
                            system.collocation.matrices, by_field, strict=True
                        )
                        for orders, coefficient in own.items()
                    ]
                )
            )
            for by_field in c
        ]
    )


def weighted_jacobian(
    system: System, weights: Weights, c: tuple[Values, ...]
) -> Float[Array, "rows unknowns"]:
    """Return the Jacobian of equations, measurements and prior, over their errors."""
    rows = [*equation_rows(system, weights, c), *measurement_rows(system, weights)]
    rows.append(weights.prior * jnp.eye(rows[0].shape[1]))
    return jnp.concatenate(rows)


def equation_rows(
    system: System, weights: Weights, c: tuple[Values, ...]
) -> list[Float[Array, "points unknowns"]]:
    """Return the rows of each equation."""
    jacobian = system.collocation.jacobian(c)
    return [w * J for w, J in zip(weights.equations, jacobian, strict=True)]


def measurement_rows(
    system: System, weights: Weights
) -> list[Float[Array, "points unknowns"]]:
    """Return the rows of each set of measurements."""
    counts = [math.prod(shape) for shape in system.collocation.shapes]
    rows = []
    for w, m in zip(weights.measurements, system.measurements, strict=True):
        before, after = sum(counts[: m.field]), sum(counts[m.field + 1 :])
        rows.append(jnp.pad(w[:, None] * m.matrix, ((0, 0), (before, after))))
    return rows


def weighted_errors(weights: Weights, z: Unknowns, residuals: Any, misfit: Any) -> Any:
    """All that is to be small, over its standard deviation."""
    rows = [w * F.ravel() for w, F in zip(weights.equations, residuals, strict=True)]
    rows += [w * e for w, e in zip(weights.measurements, misfit, strict=True)]
    return jnp.concatenate([*rows, weights.prior * ravel_pytree(z)[0]])
