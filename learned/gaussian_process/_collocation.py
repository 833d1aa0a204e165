"""The equations on a tensor grid: their residuals in the unknowns z, and the Jacobian.

Each field is u = m + (⊗ Φ_d) z with m the lift and z ~ N(0, I). A derivative of u is
that of m plus one product per axis. The residual works point by point, so its
linearisation is Σ_o c_o ∂^o u with coefficients c_o on the grid, for each equation and
each field.
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

Values = tuple[dict[Orders, Any], ...]
"""Derivatives on the grid, per field."""
Unknowns = tuple[Float[Array, "..."], ...]
"""z, per field."""


class Collocation(eqx.Module):
    """Equations on the points of a grid.

    Attributes:
        matrices: per field and axis, the functions and their derivatives on its points.
        points: per axis, the coordinates, shaped so that they broadcast.
        axes: per field.
        orders: per field, the derivatives that the equations ask for.
        is_lifted: whether the fields have a lift; else it is zero.
    """

    matrices: tuple[tuple[dict[int, Any], ...], ...]
    points: tuple[Any, ...]
    pde: PDE = eqx.field(static=True)
    axes: tuple[tuple[Axis, ...], ...] = eqx.field(static=True)
    orders: tuple[tuple[Orders, ...], ...] = eqx.field(static=True)
    is_lifted: bool = eqx.field(static=True)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the unknowns."""
        return tuple(
            tuple(matrices[0].shape[1] for matrices in field) for field in self.matrices
        )

    @property
    def grid(self) -> tuple[int, ...]:
        """Points per axis."""
        return tuple(x.size for x in self.points)

    def zeros(self) -> Unknowns:
        """Return the mean of the prior."""
        return tuple(jnp.zeros(shape) for shape in self.shapes)

    def lifted(self, parameters: Any) -> Values:
        """Return the derivatives of the lifts on the grid."""
        found = []
        for index, asked in enumerate(self.orders):
            m = self.lift_of(index)
            values = {}
            for orders in asked:
                function = m
                for axis, order in enumerate(orders):
                    function = derivative(function, axis, order)
                at = function(self.points, parameters)
                values[orders] = jnp.broadcast_to(at, self.grid)
            found.append(values)
        return tuple(found)

    def lift_of(self, field: int) -> Any:
        """Return a field's lift, a function (coordinates, parameters) -> values."""
        conditions = self.pde.conditions_of(field) if self.is_lifted else []
        return lift(self.axes[field], conditions)

    def process(self, z: Unknowns) -> Values:
        """Return the derivatives of (⊗ Φ_d) z on the grid."""
        return tuple(
            {
                orders: mode_products(
                    [m[order] for m, order in zip(matrices, orders, strict=True)], own
                )
                for orders in asked
            }
            for matrices, asked, own in zip(self.matrices, self.orders, z, strict=True)
        )

    def values(self, z: Unknowns, lifted: Values) -> Values:
        """Return the derivatives of u on the grid."""
        return jax.tree.map(jnp.add, lifted, self.process(z))

    def residual(
        self, z: Unknowns, lifted: Values, parameters: Any
    ) -> tuple[Float[Array, "..."], ...]:
        """Return the residual of each equation on the grid."""
        return self.pde.residual_of(self.points, self.values(z, lifted), parameters)

    def coefficients(
        self, z: Unknowns, lifted: Values, parameters: Any
    ) -> tuple[Values, ...]:
        """Return the c_o of the linearisation at z, per equation and field."""
        values = self.values(z, lifted)
        still = jax.tree.map(jnp.zeros_like, values)
        _, push = jax.linearize(
            lambda v: self.pde.residual_of(self.points, v, parameters), values
        )
        columns = []
        for field, asked in enumerate(self.orders):
            own = {}
            for orders in asked:
                unit = {**still[field], orders: jnp.ones(self.grid)}
                own[orders] = push((*still[:field], unit, *still[field + 1 :]))
            columns.append(own)
        num_equations = len(next(iter(columns[0].values())))
        return tuple(
            tuple({o: by[e] for o, by in own.items()} for own in columns)
            for e in range(num_equations)
        )

    def largest_terms(
        self, z: Unknowns, lifted: Values, parameters: Any
    ) -> Float[Array, " equations"]:
        """Return the largest term of each equation on the grid, 1 where all are 0."""
        c = self.coefficients(z, lifted, parameters)
        largest = self.terms(c, z, lifted, parameters)
        return jnp.where(largest > 0, largest, 1)

    def terms(
        self, c: tuple[Values, ...], z: Unknowns, lifted: Values, parameters: Any
    ) -> Float[Array, " equations"]:
        """Return the same, and 0 where all are, given the coefficients at z."""
        values = self.values(z, lifted)
        # At u = 0: what depends on no derivative, such as a source.
        at_zero = self.pde.residual_of(
            self.points, jax.tree.map(jnp.zeros_like, values), parameters
        )
        found = []
        for own, source in zip(c, at_zero, strict=True):
            terms = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a * b)), own, values)
            leaves = [*jax.tree.leaves(terms), jnp.max(jnp.abs(source))]
            found.append(jnp.max(jnp.stack(leaves)))
        return jnp.stack(found)

    def relative_residual(
        self, z: Unknowns, parameters: Any
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Return the largest residual over the largest term, and its mean square root.

        Of the equation where they are largest.
        """
        lifted = self.lifted(parameters)
        residuals = jnp.stack(self.residual(z, lifted, parameters))
        terms = self.largest_terms(z, lifted, parameters)
        grid = tuple(range(1, residuals.ndim))
        largest = jnp.max(jnp.abs(residuals), axis=grid) / terms
        units = terms.reshape(-1, *[1] * len(grid))
        mean = jnp.sqrt(jnp.mean((residuals / units) ** 2, axis=grid))
        return jnp.max(largest), jnp.max(mean)

    def jacobian(
        self, c: tuple[Values, ...]
    ) -> tuple[Float[Array, "points unknowns"], ...]:
        """Return the linearisation as a dense matrix, per equation."""
        return tuple(
            jnp.concatenate(
                [
                    self._columns(matrices, own)
                    for matrices, own in zip(self.matrices, by_field, strict=True)
                ],
                axis=1,
            )
            for by_field in c
        )

    def _columns(
        self, matrices: tuple[dict[int, Any], ...], c: dict[Orders, Any]
    ) -> Float[Array, "points unknowns"]:
        total = jnp.zeros(())
        for orders, coefficient in c.items():
            factors = [m[order] for m, order in zip(matrices, orders, strict=True)]
            total = total + coefficient.reshape(-1, 1) * kronecker(factors)
        return jnp.asarray(total)


def kronecker(factors: Sequence[Any]) -> Float[Array, "points unknowns"]:
    """Return ⊗ factors as a dense matrix."""
    product = factors[0]
    for factor in factors[1:]:
        rows, columns = (
            a * b for a, b in zip(product.shape, factor.shape, strict=True)
        )
        product = (product[:, None, :, None] * factor[None, :, None, :]).reshape(
            rows, columns
        )
    return product


def collocate(
    pde: PDE,
    axes: Sequence[Sequence[Axis]],
    bases: Sequence[Sequence[GridBasis]],
    coordinates: Sequence[np.ndarray],
    is_lifted: bool,
) -> Collocation:
    """Return the equations on the tensor grid of some coordinates per axis."""
    points = tuple(np.meshgrid(*coordinates, indexing="ij", sparse=True))
    asked = pde.orders(points, pde.parameters)
    # u itself too: data that are not finite may be in no derivative that is asked for.
    orders = tuple(tuple(sorted({(0,) * pde.num_axes, *own})) for own in asked)
    matrices = tuple(
        tuple(
            {
                order: basis.evaluate(x, order)
                for order in sorted({0, *(o[d] for o in own)})
            }
            for d, (x, basis) in enumerate(zip(coordinates, field, strict=True))
        )
        for field, own in zip(bases, orders, strict=True)
    )
    return Collocation(
        matrices=matrices,
        points=points,
        pde=pde,
        axes=tuple(map(tuple, axes)),
        orders=orders,
        is_lifted=is_lifted,
    )
