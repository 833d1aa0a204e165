"""Eddy viscosities of large-eddy simulation: Smagorinsky, dynamic Smagorinsky, WALE.

All are ν_t = (C Δ)² × a rate made of the velocity gradient, with Δ³ the volume of a
cell, and are evaluated at the centres.
"""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from typing_extensions import override

from ...operators._arguments import require_number, shown
from ._grid import StaggeredGrid
from ._operators import Padded, Scalar, Velocity, X, Y, Z, around, mean, padded
from ._strain import AXES, Tensor, at_centres, force, gradients, stresses


class AbstractSubgrid(eqx.Module):
    """An eddy viscosity, from which follows the force on the flow."""

    @abstractmethod
    def eddy_viscosity(
        self, velocity: Velocity, grid: StaggeredGrid, viscosity: Float[Array, ""]
    ) -> Scalar:
        """Return ν_t at the centres, nowhere negative.

        Args:
            velocity: on the faces.
            grid: of the velocity.
            viscosity: of the fluid, 1 / Re_τ.
        """

    def acceleration(
        self, velocity: Velocity, grid: StaggeredGrid, viscosity: Float[Array, ""]
    ) -> Velocity:
        """Return ∇·(2 ν_t S) where the velocities are."""
        return force(self._stresses(velocity, grid, viscosity), grid)

    def mean_flux(
        self, velocity: Velocity, grid: StaggeredGrid, viscosity: Float[Array, ""]
    ) -> Float[Array, " _"]:
        """Return the mean flux of u through the faces across the walls."""
        stress = self._stresses(velocity, grid, viscosity)[X, Y]
        return -jnp.mean(stress[:-1], axis=(X, Z))

    def _stresses(
        self, velocity: Velocity, grid: StaggeredGrid, viscosity: Float[Array, ""]
    ) -> Tensor:
        ν = self.eddy_viscosity(velocity, grid, viscosity)
        return stresses(gradients(padded(velocity), grid), ν)


class Smagorinsky(AbstractSubgrid):
    """ν_t = (C Δ (1 - exp(-y⁺ / A)))² |S|, |S|² = 2 S:S.

    Args:
        constant: C, by default that of Moin and Kim in a channel. With 0.1 a minimal
            box at Re_τ = 180 becomes laminar on 16 x 31 x 8 cells.
        damping: A, of van Driest's damping at the walls, in wall units.

    Raises:
        ValueError: a constant or damping that is not positive.

    References:
        J. Smagorinsky, Monthly Weather Review 91 (1963). P. Moin, J. Kim, Numerical
        investigation of turbulent channel flow, J. Fluid Mech. 118 (1982),
        doi:10.1017/S0022112082001116. E. R. van Driest, J. Aeronaut. Sci. 23 (1956).
    """

    constant: int | float = 0.065
    damping: int | float = 25.0

    def __check_init__(self) -> None:
        for name in ("constant", "damping"):
            require_number(getattr(self, name), name, 0, jnp.inf, "positive and finite")

    @override
    def eddy_viscosity(
        self, velocity: Velocity, grid: StaggeredGrid, viscosity: Float[Array, ""]
    ) -> Scalar:
        gradient = at_centres(gradients(padded(velocity), grid))
        wall_distance = jnp.minimum(grid.centres, grid.lengths[1] - grid.centres)
        damped = -jnp.expm1(-wall_distance / viscosity / self.damping)
        length = self.constant * damped
        return length**2 * _cell_size(grid) * _magnitude(_strain(gradient))


class WALE(AbstractSubgrid):
    """ν_t = (C Δ)² (Sᵈ:Sᵈ)^(3/2) / ((S:S)^(5/2) + (Sᵈ:Sᵈ)^(5/4)).

    Sᵈ is the symmetric traceless part of the square of the velocity gradient, which
    vanishes in pure shear: no eddy viscosity in laminar flow, and one of order y³ at a
    wall, without damping.

    Args:
        constant: C. In isotropic turbulence the default dissipates as much as
            Smagorinsky's model with 0.1, as C² = 10.6 · 0.1².

    Raises:
        ValueError: a constant that is not positive.

    References:
        F. Nicoud, F. Ducros, Subgrid-scale stress modelling based on the square of the
        velocity gradient tensor, Flow Turbul. Combust. 62 (1999),
        doi:10.1023/A:1009995426001.
    """

    constant: int | float = 0.325

    def __check_init__(self) -> None:
        require_number(self.constant, "constant", 0, jnp.inf, "positive and finite")

    @override
    def eddy_viscosity(
        self, velocity: Velocity, grid: StaggeredGrid, viscosity: Float[Array, ""]
    ) -> Scalar:
        del viscosity
        g = at_centres(gradients(padded(velocity), grid))
        square = {
            (a, b): g[a, X] * g[X, b] + g[a, Y] * g[Y, b] + g[a, Z] * g[Z, b]
            for a, b in g
        }
        turning = _product(*[_traceless(_strain(square))] * 2)
        straining = _product(*[_strain(g)] * 2)
        # Both vanish in the middle of laminar flow.
        rate = turning**1.5 / (straining**2.5 + turning**1.25 + _FLOOR)
        return self.constant**2 * _cell_size(grid) * rate


class DynamicSmagorinsky(AbstractSubgrid):
    """ν_t = C Δ² |S| with C from the flow itself, one for each distance to the walls.

    Germano's identity compares the stresses at two filter widths, here that of the grid
    and, along the walls, twice as much (weights 1/4, 1/2, 1/4). C is the least-squares
    solution of Lilly over each plane, and zero where that is negative.

    References:
        M. Germano, U. Piomelli, P. Moin, W. H. Cabot, A dynamic subgrid-scale eddy
        viscosity model, Phys. Fluids A 3 (1991), doi:10.1063/1.857955. D. K. Lilly,
        Phys. Fluids A 4 (1992), doi:10.1063/1.858280.
    """

    @override
    def eddy_viscosity(
        self, velocity: Velocity, grid: StaggeredGrid, viscosity: Float[Array, ""]
    ) -> Scalar:
        del viscosity
        fields = padded(velocity)
        S = _traceless(_strain(at_centres(gradients(fields, grid))))
        size = _magnitude(S)
        coarse = {key: _test_filtered(part) for key, part in S.items()}
        coarse_size = _magnitude(coarse)
        centred = [_centred(q, axis) for axis, q in enumerate(fields)]
        means = [_test_filtered(q) for q in centred]
        L = {
            (a, b): _test_filtered(centred[a] * centred[b]) - means[a] * means[b]
            for a, b in S
        }
        M = {
            key: 2 * _test_filtered(size * part)
            - 2 * _WIDTH_RATIO * coarse_size * coarse[key]
            for key, part in S.items()
        }
        above = jnp.mean(_product(_traceless(L), M), axis=(X, Z), keepdims=True)
        below = jnp.mean(_product(M, M), axis=(X, Z), keepdims=True)
        # The coefficient times Δ²: M is without it.
        return jnp.maximum(above / (below + _FLOOR), 0) * size


_FLOOR = 1e-12
"""Far below what any flow has in these units, and far above the smallest number."""

_WIDTH_RATIO = 4 ** (2 / 3)
"""The square of the widths of the filters' ratio: two axes of three are doubled."""

MODELS = {
    "smagorinsky": Smagorinsky,
    "dynamic_smagorinsky": DynamicSmagorinsky,
    "wale": WALE,
}


def as_subgrid(model: Any) -> AbstractSubgrid | None:
    """Return a model, given itself or its name.

    Raises:
        ValueError: neither.
    """
    if model is None or isinstance(model, AbstractSubgrid):
        return model
    if isinstance(model, str) and model in MODELS:
        return MODELS[model]()
    raise ValueError(
        f"subgrid must be one of {', '.join(MODELS)}, a model such as WALE() or None, "
        f"got {shown(model)}"
    )


def _cell_size(grid: StaggeredGrid) -> Float[Array, "1 ny 1"]:
    """Return Δ²."""
    dx, dz = grid.spacings
    return (dx * grid.widths * dz) ** (2 / 3)


def _strain(gradient: Tensor) -> Tensor:
    return {(a, b): (part + gradient[b, a]) / 2 for (a, b), part in gradient.items()}


def _traceless(tensor: Tensor) -> Tensor:
    third = (tensor[X, X] + tensor[Y, Y] + tensor[Z, Z]) / 3
    return {(a, b): part - third if a == b else part for (a, b), part in tensor.items()}


def _product(one: Tensor, other: Tensor) -> Padded:
    """Return A:B."""
    terms = [one[a, b] * other[a, b] for a in AXES for b in AXES]
    return sum(terms[1:], start=terms[0])


def _magnitude(strain: Tensor) -> Padded:
    """Return (2 S:S)^(1/2), whose derivative is finite at zero."""
    return jnp.sqrt(2 * _product(strain, strain) + _FLOOR)


def _centred(field: Padded, axis: int) -> Scalar:
    """Return a padded velocity at the centres."""
    field = mean(field, axis)
    field = field if axis == Y else field[(slice(None),) * axis + (slice(1, None),)]
    for other in AXES:
        if other != axis:
            field = field[(slice(None),) * other + (slice(1, -1),)]
    return field


def _test_filtered(field: Scalar) -> Scalar:
    for axis in (X, Z):
        field = mean(mean(around(field, axis), axis), axis)
    return field
