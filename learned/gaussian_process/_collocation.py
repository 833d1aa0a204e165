"""The equation on a tensor grid: its residual in the unknowns z, and its Jacobian.

u = m + (⊗ Φ_d) z with m the lift and z ~ N(0, I). A derivative of u is that of m plus
one product per axis. The residual works point by point, so its linearisation is
Σ_o c_o ∂^o u with coefficients c_o on the grid.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._basis import Axis, GridBasis, mode_products
from ._conditions import derivative
from ._lift import lift
from ._pde import PDE, Orders


class Collocation(eqx.Module):
    """An equation on the points of a grid.

    Attributes:
        matrices: per axis, the functions and their derivatives on its points.
        points: per axis, the coordinates, shaped so that they broadcast.
    """

    matrices: tuple[dict[int, Any], ...]
    points: tuple[Any, ...]
    pde: PDE = eqx.field(static=True)
    axes: tuple[Axis, ...] = eqx.field(static=True)
    orders: tuple[Orders, ...] = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the unknowns."""
        return tuple(matrices[0].shape[1] for matrices in self.matrices)

    def lifted(self, parameters: Any) -> dict[Orders, Any]:
        """Return the derivatives of the lift on the grid."""
        m = lift(self.axes, self.pde.face_conditions)
        shape = jnp.broadcast_shapes(*(x.shape for x in self.points))
        found = {}
        for orders in self.orders:
            function = m
            for axis, order in enumerate(orders):
                function = derivative(function, axis, order)
            found[orders] = jnp.broadcast_to(function(self.points, parameters), shape)
        return found

    def process(self, z: Float[Array, "..."]) -> dict[Orders, Any]:
        """Return the derivatives of (⊗ Φ_d) z on the grid."""
        return {
            orders: mode_products(
                [m[order] for m, order in zip(self.matrices, orders, strict=True)], z
            )
            for orders in self.orders
        }

    def residual(
        self, z: Float[Array, "..."], lifted: dict[Orders, Any], parameters: Any
    ) -> Float[Array, "..."]:
        """Return the residual on the grid."""
        values = jax.tree.map(jnp.add, lifted, self.process(z))
        return self.pde.residual_of(self.points, values, parameters)

    def relative_residual(
        self, z: Float[Array, "..."], parameters: Any
    ) -> Float[Array, ""]:
        """Return the largest residual over the largest term of the equation."""
        lifted = self.lifted(parameters)
        residual = self.residual(z, lifted, parameters)
        c = self.coefficients(z, lifted, parameters)
        values = jax.tree.map(jnp.add, lifted, self.process(z))
        terms = [jnp.max(jnp.abs(c[o] * values[o])) for o in self.orders]
        # What depends on no derivative, such as a source.
        terms.append(jnp.max(jnp.abs(self.residual(0 * z, lifted, parameters))))
        largest = jnp.max(jnp.stack(terms))
        return jnp.max(jnp.abs(residual)) / jnp.where(largest > 0, largest, 1)

    def coefficients(
        self, z: Float[Array, "..."], lifted: dict[Orders, Any], parameters: Any
    ) -> dict[Orders, Float[Array, "..."]]:
        """Return the c_o of the linearisation at z."""
        values = jax.tree.map(jnp.add, lifted, self.process(z))

        def residual(values: dict[Orders, Any]) -> Any:
            return self.pde.residual_of(self.points, values, parameters)

        found = {}
        for orders in self.orders:
            direction = {
                o: jnp.full_like(v, float(o == orders)) for o, v in values.items()
            }
            found[orders] = jax.jvp(residual, (values,), (direction,))[1]
        return found


def collocate(
    pde: PDE,
    axes: Sequence[Axis],
    bases: Sequence[GridBasis],
    coordinates: Sequence[np.ndarray],
) -> Collocation:
    """Return the equation on the tensor grid of some coordinates per axis."""
    points = tuple(np.meshgrid(*coordinates, indexing="ij", sparse=True))
    # u itself too: data that are not finite may be in no derivative that is asked for.
    orders = {(0,) * len(axes), *pde.orders(points, pde.parameters)}
    matrices = tuple(
        {
            order: basis.evaluate(x, order)
            for order in sorted({0, *(o[d] for o in orders)})
        }
        for d, (x, basis) in enumerate(zip(coordinates, bases, strict=True))
    )
    return Collocation(
        matrices=matrices,
        points=points,
        pde=pde,
        axes=tuple(axes),
        orders=tuple(sorted(orders)),
    )
