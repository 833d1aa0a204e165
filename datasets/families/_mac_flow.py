r"""Frames of incompressible flow on a staggered (MAC) grid of the unit box.

    u_t + (u · ∇) u = -∇p / rho + f,    ∇ · u = 0

by splitting: semi-Lagrangian advection (a midpoint step back along the flow, linear
interpolation), forces, and the projection u = u* - ∇phi with phi = dt p / rho, where
-Δphi = -∇ · u* in the fluid. Velocities are on faces across their axis, all else is at
the centres of cells (J. Stam, Stable Fluids, SIGGRAPH 1999; R. Bridson, Fluid
Simulation for Computer Graphics, 2nd ed., 2015, chapters 3, 5 and 8).

Differs from the book:
1. In solids the velocity is theirs; that of the fluid is not extrapolated into them.
2. The level set is shifted so that the number of fluid cells stays the same.
"""

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Bool, Float, Int, Shaped

from ._flow_scenes import (
    AIR,
    FLUID,
    MOVING,
    SOLID,
    FlowSetting,
    FlowState,
    Points,
    Scene,
    inside_body,
    smoke,
)

Velocity = tuple[Float[Array, "..."], ...]
# Of half a cell each: the distance is right within four cells of the surface, where
# its slope matters; all else of it is a sign.
_REDISTANCING_STEPS = 8


def predict(
    state: FlowState, scene: Scene, *, is_open: bool, time_step: float
) -> FlowState:
    """Return the state before its projection: moved, pushed, at rest on solids."""
    velocity, density = advect(state.velocity, state.density, time_step)
    frame = state.frame + 1
    if scene == "free_surface":
        cells, density = liquid(density, jnp.sum(state.cells == FLUID))
        push = -state.setting.force
    else:
        time = frame.astype(density.dtype) * time_step
        cells = state.cells
        if scene in MOVING:
            cells = moving_cells(scene, state.setting, density, time)
        source = smoke(cell_points(density), state.setting, jnp.exp)
        density = jnp.where(cells == FLUID, jnp.maximum(density, source), 0)
        below, above = _sides(_padded(density, density.ndim - 1, "edge"), -1)
        push = state.setting.force * (below + above) / 2
    velocity = (*velocity[:-1], velocity[-1] + time_step * push)
    velocity = at_solids(velocity, cells, state.setting, is_open=is_open)
    return FlowState(frame, cells, velocity, density, state.setting)


def negative_divergence(
    velocity: Velocity, cells: Int[Array, "*n"]
) -> Float[Array, "*n"]:
    """Return -∇ · u in fluid cells, zero in others."""
    sums = sum(jnp.diff(u, axis=a) * cells.shape[a] for a, u in enumerate(velocity))
    return jnp.where(cells == FLUID, -sums, 0)


def without_mean(
    values: Float[Array, "*n"], cells: Int[Array, "*n"]
) -> Float[Array, "*n"]:
    """Return values less their mean over the fluid, zero in other cells."""
    is_fluid = cells == FLUID
    mean = jnp.mean(values, where=is_fluid)
    return jnp.where(is_fluid, values - mean, 0)


def correct(
    state: FlowState,
    phi: Float[Array, "*n"],
    scene: Scene,
    *,
    is_open: bool,
    num_layers: int,
) -> FlowState:
    """Return the state with u* - ∇phi on the faces of the fluid.

    Args:
        state: what `predict` returned.
        phi: dt p / rho; what it holds in cells that are not fluid does not count.
        scene: which scene.
        is_open: whether the top is.
        num_layers: of "free_surface", how many faces into the air have a velocity.
    """
    phi = jnp.where(state.cells == FLUID, phi, 0)
    velocity = tuple(
        u - _gradient(phi, state.cells, axis, is_open)
        for axis, u in enumerate(state.velocity)
    )
    if scene == "free_surface":
        velocity = tuple(
            extrapolate(u, is_fluid_face(state.cells, axis, is_open), num_layers)
            for axis, u in enumerate(velocity)
        )
        velocity = at_solids(velocity, state.cells, state.setting, is_open=is_open)
    return state._replace(velocity=velocity)


def advect(
    velocity: Velocity,
    density: Float[Array, "*n"],
    time_step: float | Float[Array, ""],
) -> tuple[Velocity, Float[Array, "*n"]]:
    """Return velocity and density as they were where the flow comes from.

    Beyond walls the values of the outermost faces and cells go on.
    """
    fields, axes = (*velocity, density), (*range(density.ndim), None)
    grids = [positions(density.shape, axis, density.dtype) for axis in axes]
    # Of all fields at once: in 3-D that compiles in half the time.
    starts = [
        jnp.concatenate([x.ravel() for x in xs]) for xs in zip(*grids, strict=True)
    ]
    half = traced_back(starts, starts, velocity, time_step / 2)
    points = traced_back(starts, half, velocity, time_step)
    ends = np.cumsum([field.size for field in fields])[:-1]
    moved = [
        interpolate(field, own, axis).reshape(field.shape)
        for field, axis, *own in zip(
            fields, axes, *(jnp.split(x, ends) for x in points), strict=True
        )
    ]
    return tuple(moved[:-1]), moved[-1]


def traced_back(
    points: Points,
    places: Points,
    velocity: Velocity,
    time: float | Float[Array, ""],
) -> Points:
    """Return where points come from that moved with the velocity of other places."""
    return [
        x - time * interpolate(u, places, axis)
        for axis, (x, u) in enumerate(zip(points, velocity, strict=True))
    ]


def interpolate(
    values: Float[Array, "..."], points: Points, axis: int | None
) -> Float[Array, "*points"]:
    """Return at points the values of the faces across an axis, or of cells."""
    coordinates = [
        x * (size - 1) if a == axis else x * size - 0.5
        for a, (x, size) in enumerate(zip(points, values.shape, strict=True))
    ]
    return map_coordinates(values, coordinates, order=1, mode="nearest")


def positions(shape: tuple[int, ...], axis: int | None, dtype: jnp.dtype) -> Points:
    """Return the coordinates of the faces across an axis, or of cells, per axis."""
    lines = [
        jnp.arange(n + 1, dtype=dtype) / n
        if a == axis
        else (jnp.arange(n, dtype=dtype) + 0.5) / n
        for a, n in enumerate(shape)
    ]
    return jnp.meshgrid(*lines, indexing="ij")


def cell_points(values: Float[Array, "*n"]) -> Points:
    """Return the coordinates of the cells of a field."""
    return positions(values.shape, None, values.dtype)


def moving_cells(
    scene: Scene, setting: FlowSetting, density: Float[Array, "*n"], time: Array
) -> Int[Array, "*n"]:
    """Return the cells with the body at a time."""
    angle = setting.phase + setting.turning * time
    points, turned = cell_points(density), (jnp.cos(angle), jnp.sin(angle))
    is_solid = inside_body(scene, setting, points, *turned)
    return jnp.where(is_solid, jnp.int32(SOLID), jnp.int32(FLUID))


def at_solids(
    velocity: Velocity,
    cells: Int[Array, "*n"],
    setting: FlowSetting,
    *,
    is_open: bool,
) -> Velocity:
    """Return the velocity with that of the solids on their faces, 0 on the walls."""
    return tuple(
        jnp.where(
            is_solid_face(cells, axis, is_open),
            body_velocity(setting, u.shape, axis),
            u,
        )
        for axis, u in enumerate(velocity)
    )


def body_velocity(
    setting: FlowSetting, shape: tuple[int, ...], axis: int
) -> Float[Array, "..."]:
    """Return the velocity of the body along an axis, turning about its pivot.

    Args:
        setting: has the pivot and the angular rate, 0 for solids at rest.
        shape: of the faces across the axis.
        axis: the component.
    """
    last, dtype = len(shape) - 1, setting.pivot.dtype
    if axis not in (0, last):
        return jnp.zeros(shape, dtype)
    other, sign = (last, -1) if axis == 0 else (0, 1)
    arm = (jnp.arange(shape[other], dtype=dtype) + 0.5) / shape[other]
    own = sign * setting.turning * (arm - setting.pivot[other])
    inner = tuple(n - 2 * (a == axis) for a, n in enumerate(shape))
    along = own.reshape([-1 if a == other else 1 for a in range(len(shape))])
    return _padded(jnp.broadcast_to(along, inner), axis, "constant")


def liquid(
    distance: Float[Array, "*n"], num_fluid: Int[Array, ""]
) -> tuple[Int[Array, "*n"], Float[Array, "*n"]]:
    """Return the cells and the distance of a liquid that fills so many cells.

    Its surface is moved, everywhere as far, until it does: semi-Lagrangian advection
    alone loses drops and thin sheets.
    """
    distance = redistanced(distance)
    order = jnp.argsort(distance.ravel())
    ranks = (
        jnp.zeros_like(order).at[order].set(jnp.arange(order.size, dtype=order.dtype))
    )
    is_fluid = ranks.reshape(distance.shape) < num_fluid
    innermost = jnp.max(jnp.where(is_fluid, distance, -jnp.inf))
    outermost = jnp.min(jnp.where(is_fluid, jnp.inf, distance))
    cells = jnp.where(is_fluid, jnp.int32(FLUID), jnp.int32(AIR))
    return cells, distance - (innermost + outermost) / 2


def redistanced(distance: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return a function of the same zeros whose slope near them is closer to 1.

    Steps of phi_t + sign(phi_0) (|∇phi| - 1) = 0, upwind (M. Sussman, P. Smereka and S.
    Osher, J. Comput. Phys. 114, 1994; the slope by E. Rouy and A. Tourin, 1992).
    """
    h = 1 / max(distance.shape)
    sign = distance / jnp.sqrt(distance**2 + h**2)

    def step(_: Any, phi: Float[Array, "*n"]) -> Float[Array, "*n"]:
        squares = jnp.zeros_like(phi)
        for axis, n in enumerate(phi.shape):
            slopes = jnp.diff(_padded(phi, axis, "edge"), axis=axis) * n
            back, ahead = _sides(slopes, axis)
            outward = jnp.maximum(jnp.maximum(back, 0), jnp.maximum(-ahead, 0))
            inward = jnp.maximum(jnp.maximum(-back, 0), jnp.maximum(ahead, 0))
            squares += jnp.where(sign > 0, outward, inward) ** 2
        return phi - h / 2 * sign * (jnp.sqrt(squares) - 1)

    return lax.fori_loop(0, _REDISTANCING_STEPS, step, distance)


def extrapolate(
    values: Float[Array, "*faces"], is_known: Bool[Array, "*faces"], num_layers: int
) -> Float[Array, "*faces"]:
    """Return values with, layer by layer around those known, means of neighbours.

    Further away they are zero.
    """

    def step(_: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        values, known = carry
        counts = _neighbour_sums(known)
        means = _neighbour_sums(values) / jnp.maximum(counts, 1)
        return jnp.where(known > 0, values, means), jnp.minimum(known + counts, 1)

    known = is_known.astype(values.dtype)
    return lax.fori_loop(0, num_layers, step, (values * known, known))[0]


def is_fluid_face(
    cells: Int[Array, "*n"], axis: int, is_open: bool
) -> Bool[Array, "*faces"]:
    """Return which faces across an axis have fluid on a side."""
    low, high = _cells_beside(cells, axis, is_open)
    return (low == FLUID) | (high == FLUID)


def is_solid_face(
    cells: Int[Array, "*n"], axis: int, is_open: bool
) -> Bool[Array, "*faces"]:
    """Return which faces across an axis have a solid or a wall on a side."""
    low, high = _cells_beside(cells, axis, is_open)
    return (low == SOLID) | (high == SOLID)


def _gradient(
    phi: Float[Array, "*n"], cells: Int[Array, "*n"], axis: int, is_open: bool
) -> Float[Array, "*faces"]:
    """Return the differences of phi that are in the equation, zero on other faces."""
    slopes = jnp.diff(_padded(phi, axis, "constant"), axis=axis) * phi.shape[axis]
    is_moved = is_fluid_face(cells, axis, is_open) & ~is_solid_face(
        cells, axis, is_open
    )
    return jnp.where(is_moved, slopes, 0)


def _cells_beside(
    cells: Int[Array, "*n"], axis: int, is_open: bool
) -> tuple[Int[Array, "*faces"], Int[Array, "*faces"]]:
    """Return the cells on the two sides of faces; outside is solid, or air if open."""
    top = AIR if is_open and axis == cells.ndim - 1 else SOLID
    outside = [(0, 0) if a != axis else (SOLID, top) for a in range(cells.ndim)]
    padded = jnp.pad(cells, _widths(cells.ndim, axis), constant_values=outside)
    return _sides(padded, axis)


def _neighbour_sums(values: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return the sums over the neighbours along all axes, with zeros outside."""
    sums = jnp.zeros_like(values)
    for axis in range(values.ndim):
        low, high = _sides(_padded(values, axis, "constant"), axis)
        sums += _sides(low, axis)[0] + _sides(high, axis)[1]
    return sums


def _padded(
    values: Shaped[Array, "*n"], axis: int, mode: Literal["constant", "edge"]
) -> Shaped[Array, "*more"]:
    """Return values with one more on each side: zeros, or the outermost again."""
    return jnp.pad(values, _widths(values.ndim, axis), mode)


def _widths(rank: int, axis: int) -> list[tuple[int, int]]:
    return [(1, 1) if a == axis else (0, 0) for a in range(rank)]


def _sides(
    values: Shaped[Array, "*n"], axis: int
) -> tuple[Shaped[Array, "*less"], Shaped[Array, "*less"]]:
    """Return all but the last and all but the first along an axis."""
    size = values.shape[axis]
    return (
        lax.slice_in_dim(values, 0, size - 1, axis=axis),
        lax.slice_in_dim(values, 1, size, axis=axis),
    )
