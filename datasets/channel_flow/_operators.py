"""Convection, diffusion, divergence and gradient on the staggered grid.

Second-order central differences in divergence form. The transported velocity at a face
of its cell is the mean of two neighbours with equal weights, also where the grid is
stretched, and the flux through the face is that of the cells which it belongs to half
and half; convection is then skew-symmetric and keeps the kinetic energy as long as the
flow has no divergence. R. W. C. P. Verstappen, A. E. P. Veldman, J. Comput. Phys. 187
(2003), doi:10.1016/S0021-9991(03)00126-8.

Fields are padded once, by neighbours around the period and mirrored values beyond the
walls, and all fluxes are slices of them: XLA makes one loop per component of it.
"""

from typing import TypeAlias

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...operators._materialise import materialise
from ._grid import StaggeredGrid

Scalar: TypeAlias = Float[Array, "nx ny nz"]
# v has one plane less than the others, those on the walls.
Velocity: TypeAlias = tuple[
    Float[Array, "_ _ _"], Float[Array, "_ _ _"], Float[Array, "_ _ _"]
]
Padded: TypeAlias = Float[Array, "_ _ _"]

X, Y, Z = 0, 1, 2


def mean(field: Padded, axis: int) -> Padded:
    """Return the means of neighbours along an axis."""
    return (all_but_last(field, axis) + all_but_first(field, axis)) / 2


def difference(field: Padded, axis: int) -> Padded:
    """Return the differences of neighbours along an axis."""
    return all_but_first(field, axis) - all_but_last(field, axis)


def all_but_last(field: Padded, axis: int) -> Padded:
    """Return the field without its last plane."""
    return lax.slice_in_dim(field, 0, field.shape[axis] - 1, axis=axis)


def all_but_first(field: Padded, axis: int) -> Padded:
    """Return the field without its first plane."""
    return lax.slice_in_dim(field, 1, None, axis=axis)


def inner(field: Padded, *axes: int) -> Padded:
    """Return the field without what pads it."""
    for axis in axes:
        field = lax.slice_in_dim(field, 1, field.shape[axis] - 1, axis=axis)
    return field


def padded(velocity: Velocity) -> tuple[Padded, Padded, Padded]:
    """Return the velocity with a plane more on each side, v with the walls."""
    u, v, w = velocity
    zeros = jnp.zeros_like(v[:, :1])
    mirrored = [
        jnp.concatenate([-u[:, :1], u, -u[:, -1:]], axis=Y),
        jnp.concatenate([zeros, v, zeros], axis=Y),
        jnp.concatenate([-w[:, :1], w, -w[:, -1:]], axis=Y),
    ]
    # Stored, or each flux would look again for what is beyond a side: 18 for 21 ms.
    u, v, w = (materialise(around(around(each, Z), X)) for each in mirrored)
    return u, v, w


def around(field: Padded, axis: int) -> Padded:
    """Return a periodic field with a plane more on each side."""
    n = field.shape[axis]
    last = lax.slice_in_dim(field, n - 1, n, axis=axis)
    first = lax.slice_in_dim(field, 0, 1, axis=axis)
    return jnp.concatenate([last, field, first], axis=axis)


def acceleration(
    velocity: Velocity, grid: StaggeredGrid, viscosity: Float[Array, ""]
) -> Velocity:
    """Return -∇·(u u) + ν Δu, without pressure and force."""
    u, v, w = padded(velocity)
    dx, dz = grid.spacings
    return (
        _along_the_wall((u, v, w), (X, Z), (dx, dz), grid, viscosity),
        _across((u, v, w), grid, viscosity),
        _along_the_wall((w, v, u), (Z, X), (dz, dx), grid, viscosity),
    )


def _along_the_wall(
    fields: tuple[Padded, Padded, Padded],
    axes: tuple[int, int],
    spacings: tuple[Float[Array, ""], Float[Array, ""]],
    grid: StaggeredGrid,
    viscosity: Float[Array, ""],
) -> Scalar:
    """Return the acceleration of u, or with x and z exchanged of w."""
    q, v, r = fields
    along, aside = axes
    own, other = spacings
    ahead = mean(q, along) ** 2 - viscosity / own * difference(q, along)
    through = all_but_last(inner(mean(v, along), aside), along)
    upward = through * inner(mean(q, Y), along, aside)
    upward = upward - viscosity / grid.distances * inner(difference(q, Y), along, aside)
    through = all_but_first(all_but_last(mean(r, along), along), aside)
    sideways = inner(through, Y) * inner(mean(q, aside), along, Y)
    sideways = sideways - viscosity / other * inner(difference(q, aside), along, Y)
    return -(
        inner(difference(ahead, along), Y, aside) / own
        + difference(upward, Y) / grid.widths
        + difference(sideways, aside) / other
    )


def _across(
    fields: tuple[Padded, Padded, Padded],
    grid: StaggeredGrid,
    viscosity: Float[Array, ""],
) -> Float[Array, "nx _ nz"]:
    """Return the acceleration of v."""
    u, v, w = fields
    dx, dz = grid.spacings
    distances = inner(grid.distances, Y)
    upward = mean(v, Y) ** 2 - viscosity / grid.widths * difference(v, Y)
    total = difference(inner(upward, X, Z), Y) / distances
    for q, axis, other, spacing in ((u, X, Z, dx), (w, Z, X, dz)):
        weighted = mean(inner(q, Y) * grid.widths, Y) / distances
        through = all_but_first(inner(weighted, other), axis)
        flux = through * inner(mean(v, axis), Y, other)
        flux = flux - viscosity / spacing * inner(difference(v, axis), Y, other)
        total = total + difference(flux, axis) / spacing
    return -total


def divergence(velocity: Velocity, grid: StaggeredGrid) -> Scalar:
    """Return ∇·u at the centres."""
    u, v, w = velocity
    dx, dz = grid.spacings
    zeros = jnp.zeros_like(v[:, :1])
    v = jnp.concatenate([zeros, v, zeros], axis=Y)
    return (
        (jnp.roll(u, -1, X) - u) / dx
        + difference(v, Y) / grid.widths
        + (jnp.roll(w, -1, Z) - w) / dz
    )


def gradient(pressure: Scalar, grid: StaggeredGrid) -> Velocity:
    """Return ∇p where the velocities are."""
    dx, dz = grid.spacings
    return (
        (pressure - jnp.roll(pressure, 1, X)) / dx,
        difference(pressure, Y) / inner(grid.distances, Y),
        (pressure - jnp.roll(pressure, 1, Z)) / dz,
    )


def bulk_velocity(u: Scalar, grid: StaggeredGrid) -> Float[Array, ""]:
    """Return the mean of u over the volume."""
    return jnp.sum(jnp.mean(u, axis=(X, Z)) * grid.widths[0, :, 0]) / grid.lengths[1]
