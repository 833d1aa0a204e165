"""Scenes of incompressible flow in the unit square or cube: what is where at first.

Smoke rises from a source, past solids or not, or a liquid falls in a box. A run's
numbers (places, sizes, rates) are those of the unit box and do not depend on the grid,
on which they are then drawn, at the centres of cells.
"""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ._family import cell_centres
from ._media import blocks

if TYPE_CHECKING:
    from jaxtyping import Array

SOLID, FLUID, AIR = 1, 2, 3  # as CellType of MaskedPoisson, which needs JAX

Scene = Literal[
    "plume", "obstacle", "rotating", "random_solids", "moving_disc", "free_surface"
]
Points = list[Any]
# Of a body: its reach and its radius. That of an obstacle is a disc that stays where it
# is; a disc moves on an arm as long as its reach; a bar is as long and as thick. On
# grids of 8 cells or more none comes to the outermost cells.
_BODIES = {
    "obstacle": ((0.0, 0.0), (0.1, 0.18)),
    "rotating": ((0.18, 0.26), (0.05, 0.1)),
    "moving_disc": ((0.14, 0.2), (0.08, 0.14)),
}
# Around the source of smoke no block is solid.
_CLEAR = 0.1
_NO_BODY = ((0.0, 0.0), (0.0, 0.0))
MOVING = ("rotating", "moving_disc")


class FlowSetting(NamedTuple):
    """What is the same in all frames of a run.

    Attributes:
        force: the acceleration of smoke of density 1, upwards, or of a liquid,
            downwards; 0 for "rotating".
        source: where the smoke comes from.
        source_radius: its size.
        pivot: what the body turns about, or its centre where it does not move.
        sizes: of the body, its reach and its radius.
        phase: the angle of the body at first, in radians, from x to the last axis.
        turning: the angular rate of the body, 0 of one that does not move.
    """

    force: "Float[Array, '']"
    source: "Float[Array, ' d']"
    source_radius: "Float[Array, '']"
    pivot: "Float[Array, ' d']"
    sizes: "Float[Array, ' 2']"
    phase: "Float[Array, '']"
    turning: "Float[Array, '']"


class FlowState(NamedTuple):
    """A flow between two frames, as a pytree of arrays.

    Attributes:
        frame: how many frames are behind it, from 0; its time is that many steps.
        cells: what is in each cell: 1 solid, 2 fluid, 3 air.
        velocity: one array per axis a, of shape n + e_a, on the faces across it.
        density: of smoke, per cell; with a free surface the signed distance to it,
            negative in the liquid.
        setting: what is the same in all frames.
    """

    frame: "Int[Array, '']"
    cells: "Int[Array, '...']"
    velocity: "tuple[Float[Array, '...'], ...]"
    density: "Float[Array, '...']"
    setting: FlowSetting


def first_state(
    scene: Scene,
    num_points: tuple[int, ...],
    random: np.random.Generator,
    *,
    strength: float,
    is_open: bool,
    solid: float,
    width: float,
) -> FlowState:
    """Return the state at rest that a run begins with, in arrays of NumPy.

    Args:
        scene: which scene.
        num_points: cells per axis.
        random: of the run.
        strength: the mean force or, for "rotating", angular rate.
        is_open: whether the fluid is open to the outside above.
        solid: of "random_solids", the probability that a block is solid.
        width: of "random_solids", that of a block.

    Raises:
        ValueError: "random_solids" without fluid around the source.
    """
    setting = _setting(scene, len(num_points), random, strength)
    points = centres(num_points)
    density = np.zeros(num_points)
    cells = np.full(num_points, FLUID)
    if scene == "free_surface":
        density = _surface(points, random)
        cells = np.where(density <= 0, FLUID, AIR)
    elif scene == "random_solids":
        is_free = blocks(num_points, random, width=width) >= solid
        is_fluid = _random_fluid(is_free, points, setting, is_open)
        if np.count_nonzero(is_fluid) < 2:
            raise ValueError(
                f"no fluid at the source of the smoke: lower solid, now {solid:g}"
            )
        cells = np.where(is_fluid, FLUID, SOLID)
    elif scene != "plume":
        turned = np.cos(setting.phase), np.sin(setting.phase)
        cells = np.where(inside_body(scene, setting, points, *turned), SOLID, FLUID)
    velocity = tuple(np.zeros(face_shape(num_points, a)) for a in range(len(points)))
    return FlowState(np.int32(0), cells.astype(np.int32), velocity, density, setting)  # pyright: ignore[reportArgumentType]  # the family makes them JAX's


def face_shape(num_points: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return how many faces across an axis there are per axis."""
    return tuple(n + (a == axis) for a, n in enumerate(num_points))


def centres(num_points: tuple[int, ...]) -> Points:
    """Return the coordinates of the cells, per axis, as arrays to be broadcast."""
    return list(np.ix_(*cell_centres(num_points).values()))


def squared_distance(points: Points, centre: Any) -> Any:
    """Return |x - centre|² for points per axis; of NumPy's arrays or JAX's."""
    return sum((x - centre[axis]) ** 2 for axis, x in enumerate(points))


def smoke(points: Points, setting: FlowSetting, exp: Any) -> Any:
    """Return the density exp(-|x - source|² / radius²) that the source keeps up."""
    return exp(-squared_distance(points, setting.source) / setting.source_radius**2)


def inside_body(
    scene: Scene, setting: FlowSetting, points: Points, cosine: Any, sine: Any
) -> Any:
    """Return whether points lie in the body, turned by an angle about its pivot.

    It is convex, so that no fluid is walled in on any grid: from each cell outside of
    it a line of cells leads away to the outer walls.
    """
    x, *rest, z = (p - setting.pivot[axis] for axis, p in enumerate(points))
    along, across = cosine * x + sine * z, cosine * z - sine * x
    reach, radius = setting.sizes[0], setting.sizes[1]
    if scene == "rotating":
        is_inside = (abs(along) <= reach) & (abs(across) <= radius)
        return is_inside & (abs(rest[0]) <= reach) if rest else is_inside
    squares = (along - reach) ** 2 + across**2
    return squares + (rest[0] ** 2 if rest else 0) <= radius**2


def _setting(
    scene: Scene, rank: int, random: np.random.Generator, strength: float
) -> FlowSetting:
    source = np.append(random.uniform(0.35, 0.65, rank - 1), random.uniform(0.1, 0.2))
    source_radius = random.uniform(0.07, 0.12)
    rate = strength * random.uniform(0.75, 1.25)
    pivot = random.uniform(0.45, 0.55, rank)
    ranges = _BODIES.get(scene, _NO_BODY)
    sizes = [random.uniform(*limits) for limits in ranges]
    phase = random.uniform(0, 2 * np.pi)
    turning = random.choice([-1, 1]) * random.uniform(2, 4)
    if scene == "rotating":
        rate, turning = 0.0, np.sign(turning) * rate
    elif scene not in MOVING:
        turning = 0.0
    numbers = rate, source, source_radius, pivot, sizes, phase, turning
    return FlowSetting(*(np.asarray(number, float) for number in numbers))  # pyright: ignore[reportArgumentType]  # as above


def _surface(points: Points, random: np.random.Generator) -> Float[np.ndarray, "..."]:
    """Return the signed distance to a pool and a column in a corner that will fall."""
    depth, column = random.uniform(0.1, 0.25), random.uniform(0.25, 0.45)
    height = random.uniform(0.5, 0.8)
    tops = [column] * (len(points) - 1) + [height]
    beyond = np.stack(
        np.broadcast_arrays(*(x - top for x, top in zip(points, tops, strict=True)))
    )
    outside = np.linalg.norm(np.maximum(beyond, 0), axis=0)
    box = outside + np.minimum(np.max(beyond, axis=0), 0)
    return np.minimum(points[-1] - depth, box)


def _random_fluid(
    is_free: Bool[np.ndarray, "..."],
    points: Points,
    setting: FlowSetting,
    is_open: bool,
) -> Bool[np.ndarray, "..."]:
    """Return the free cells that lead to the open top or, if closed, most others.

    Around the source all cells are free. Where it is walled in, nothing would flow:
    there are none then.
    """
    # SciPy takes long to import, which --help must not pay.
    from scipy.ndimage import label

    squares = squared_distance(points, setting.source)
    regions: np.ndarray = label(is_free | (squares < _CLEAR**2))[0]  # pyright: ignore
    reached = regions[..., -1]
    if not is_open:
        reached = 1 + np.argmax(np.bincount(regions.ravel(), minlength=2)[1:])
    is_fluid = (regions > 0) & np.isin(regions, reached)
    return is_fluid & is_fluid.flat[np.argmin(squares)]
