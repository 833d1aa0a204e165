"""Velocity gradients on the staggered grid, and the force of an eddy viscosity.

∂uₐ/∂x_b lies at the centres for a = b, and on the edges between the faces of both axes
otherwise. The stress 2 ν_t S, with the symmetric part S of the gradient, lies there
too; its divergence is a sum of differences, so that it moves momentum and makes none.
"""

from typing import TypeAlias

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._grid import StaggeredGrid
from ._operators import (
    Padded,
    Scalar,
    Velocity,
    X,
    Y,
    Z,
    all_but_first,
    all_but_last,
    around,
    difference,
    inner,
    mean,
)

AXES = (X, Y, Z)
Tensor: TypeAlias = dict[tuple[int, int], Padded]


def gradients(fields: tuple[Padded, Padded, Padded], grid: StaggeredGrid) -> Tensor:
    """Return the nine derivatives of a padded velocity where they lie."""
    dx, dz = grid.spacings
    found = {}
    for a in AXES:
        q = fields[a]
        for b in AXES:
            if a == b:
                slope = difference(q, a) / (dx, grid.widths, dz)[a]
            else:
                slope = difference(q, b) / (dx, grid.distances, dz)[b]
            # Along its own axis a padded velocity has a face too many.
            slope = slope if a == Y else all_but_first(slope, a)
            found[a, b] = inner(slope, *(c for c in AXES if c not in (a, b)))
    return found


def at_centres(tensor: Tensor) -> Tensor:
    """Return a tensor with all components at the centres."""
    return {
        (a, b): part if a == b else mean(mean(part, a), b)
        for (a, b), part in tensor.items()
    }


def stresses(gradient: Tensor, eddy_viscosity: Scalar) -> Tensor:
    """Return 2 ν_t S, each component where the derivatives of it lie.

    The eddy viscosity is zero on the walls.
    """
    ν = jnp.concatenate(
        [-eddy_viscosity[:, :1], eddy_viscosity, -eddy_viscosity[:, -1:]], axis=Y
    )
    ν = around(around(ν, Z), X)
    found = {}
    for a, b in gradient:
        if a == b:
            found[a, b] = 2 * eddy_viscosity * gradient[a, b]
        else:
            (c,) = (axis for axis in AXES if axis not in (a, b))
            on_edges = inner(mean(mean(ν, a), b), c)
            found[a, b] = on_edges * (gradient[a, b] + gradient[b, a])
    return found


def force(stress: Tensor, grid: StaggeredGrid) -> Velocity:
    """Return the divergence of a stress on the faces of the velocities."""
    dx, dz = grid.spacings
    between_centres = (dx, inner(grid.distances, Y), dz)
    between_faces = (dx, grid.widths, dz)
    found = []
    for a in AXES:
        own = stress[a, a]
        padded = own if a == Y else jnp.concatenate([_last(own, a), own], axis=a)
        total = difference(padded, a) / between_centres[a]
        for b in AXES:
            if b != a:
                part = difference(stress[a, b], b) / between_faces[b]
                part = inner(part, Y) if a == Y else all_but_last(part, a)
                total = total + part
        found.append(total)
    u, v, w = found
    return u, v, w


def _last(field: Float[Array, "_ _ _"], axis: int) -> Float[Array, "_ _ _"]:
    n = field.shape[axis]
    return lax.slice_in_dim(field, n - 1, n, axis=axis)
