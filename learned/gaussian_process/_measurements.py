"""Linear functionals of a field that are known up to an error, as rows of a matrix.

Scattered observations are such; conditions are, where they are not exact: values at the
points of a grid on a face.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ._basis import GridBasis
from ._collocation import Collocation, Unknowns
from ._conditions import FaceCondition, derivative
from ._pde import PDE, Orders

PENALTY = 1e-11
"""Standard deviation of the error of a condition that is not exact, relative to its
largest value."""


class Measurements(eqx.Module):
    """Derivatives of a field at points, and what they are to be.

    Attributes:
        factors: per axis, the functions at the points.
        coordinates: of the points, per axis.
        values: what was measured, or a condition's points have none.
        noise: standard deviations; for a condition relative to its largest value.
        field: of which they are.
        orders: of the derivative.
        condition: that is imposed here.
    """

    factors: tuple[Any, ...]
    coordinates: tuple[Any, ...]
    values: Any
    noise: Any
    field: int = eqx.field(static=True)
    orders: Orders = eqx.field(static=True)
    condition: FaceCondition | None = eqx.field(static=True)

    @property
    def matrix(self) -> Float[Array, "points unknowns"]:
        """Of the functionals, in the unknowns of the field."""
        rows = self.factors[0]
        for factor in self.factors[1:]:
            rows = (rows[:, :, None] * factor[:, None, :]).reshape(len(rows), -1)
        return rows

    def wanted(
        self, collocation: Collocation, parameters: Any
    ) -> Float[Array, " points"]:
        """Return what the process is to have."""
        if self.condition is not None:
            found = self.condition.value(self.coordinates, parameters)
            return jnp.broadcast_to(found, self.coordinates[0].shape)
        m = collocation.lift_of(self.field)
        for axis, order in enumerate(self.orders):
            m = derivative(m, axis, order)
        return self.values - m(self.coordinates, parameters)

    @property
    def largest(self) -> Float[Array, ""]:
        """The largest standard deviation of the functionals for z ~ N(0, I)."""
        return jnp.max(jnp.linalg.norm(self.matrix, axis=1))

    def deviation(self, wanted: Any, amplitude: Any) -> Float[Array, " points"]:
        """Return the standard deviation of the error, given that of z."""
        if self.condition is None:
            return jnp.asarray(self.noise)
        largest = jnp.max(jnp.abs(wanted))
        # Of a condition that is zero: the prior's standard deviation.
        prior = amplitude * self.largest
        scale = jnp.where(largest > 0, largest, jnp.where(prior > 0, prior, 1))
        return jnp.broadcast_to(PENALTY * lax.stop_gradient(scale), wanted.shape)

    def predicted(self, z: Unknowns) -> Float[Array, " points"]:
        """Return what the process has."""
        return contract(self.factors, z[self.field])


def contract(factors: Sequence[Any], z: Any) -> Float[Array, " points"]:
    """Return Σ_j z_j Π_d factors_d[:, j_d]: the functions at scattered points."""
    value = jnp.tensordot(factors[0], z, axes=(1, 0))
    for factor in factors[1:]:
        value = jnp.einsum("nr,nr...->n...", factor, value)
    return value


def measurements_of(
    pde: PDE,
    bases: Sequence[Sequence[GridBasis]],
    coordinates: Sequence[np.ndarray],
    is_exact: bool,
) -> tuple[Measurements, ...]:
    """Return the observations, and the conditions unless they are exact."""
    found = [
        _measured(
            bases,
            tuple(data.points.T),
            data.values,
            data.noise,
            data.field,
            pde.complete(data.orders),
            None,
        )
        for data in pde.observations
    ]
    for field in range(0 if is_exact else pde.fields):
        for condition in pde.conditions_of(field):
            vectors = [np.asarray(c, float) for c in coordinates]
            end = pde.domain[condition.axis][condition.functional.side]
            vectors[condition.axis] = np.asarray([end], float)
            points = [x.ravel() for x in np.meshgrid(*vectors, indexing="ij")]
            orders = [0] * pde.num_axes
            orders[condition.axis] = condition.functional.order
            found.append(
                _measured(
                    bases, tuple(points), None, None, field, tuple(orders), condition
                )
            )
    return tuple(found)


def _measured(
    bases: Sequence[Sequence[GridBasis]],
    points: tuple[np.ndarray, ...],
    values: Any,
    noise: Any,
    field: int,
    orders: Orders,
    condition: FaceCondition | None,
) -> Measurements:
    factors = tuple(
        basis.evaluate(x, order)
        for basis, x, order in zip(bases[field], points, orders, strict=True)
    )
    return Measurements(factors, points, values, noise, field, orders, condition)
