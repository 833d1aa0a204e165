"""Hard coefficients: jumps, channels, layers, walls and unequal spacings.

Each problem is one system with white noise on its right, solved to 1e-8: coefficients
on cells with values of 1 and a contrast, unit spacing unless the name says another, and
zero walls. `ROWS_2D` and `ROWS_3D` name them; a length is one of cells.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from problems import SUPERSCRIPTS, assembled_diffusion, assembled_mask
from rivals.row import Problem
from scipy.ndimage import gaussian_filter

import krylax as kx
from krylax.datasets.families import _media
from krylax.datasets.families._porous import connected_to_border

RTOL = 1e-8

Field = Float[np.ndarray, "..."]
Mask = Bool[np.ndarray, "n n"]
Spacing = tuple[float, ...]
Rows = dict[str, tuple[Callable[[int], Any], Spacing]]


def problems(
    num_points: int, num_axes: int, *names: str
) -> list[Callable[[], Problem]]:
    """Return what makes the problems, all of them unless some are named.

    Args:
        num_points: cells per axis.
        num_axes: 2 or 3.
        names: of `ROWS_2D` or `ROWS_3D`.
    """
    names = names or tuple(rows_of(num_axes))
    return [partial(problem, num_points, num_axes, name) for name in names]


def rows_of(num_axes: int) -> Rows:
    """Return the coefficients and spacings, by name, in 2-D or 3-D."""
    return {2: ROWS_2D, 3: ROWS_3D}[num_axes]


def problem(num_points: int, num_axes: int, name: str) -> Problem:
    """Return the problem of a name."""
    field, spacing = rows_of(num_axes)[name]
    values = field(num_points)
    b = np.random.default_rng(0).standard_normal(values.shape)
    if values.dtype == bool:
        # Where nothing leads to the border the operator would be singular.
        fluid = connected_to_border(values)
        cells = np.where(
            fluid, kx.operators.CellType.FLUID, kx.operators.CellType.SOLID
        )
        operator: Any = kx.operators.MaskedPoisson(cells, spacing, boundary="dirichlet")
        matrix, b = assembled_mask(fluid, spacing), np.where(fluid, b, 0)
    else:
        operator = kx.operators.Diffusion(jnp.asarray(values), spacing)
        matrix = assembled_diffusion(values, spacing)
    return Problem(
        name=f"{name}, {num_points}{SUPERSCRIPTS[num_axes]}",
        operator=operator,
        matrices=(matrix,),
        b=b[None],
        rtol=RTOL,
    )


def constant(n: int, num_axes: int = 2) -> Field:
    """One everywhere."""
    return np.ones((n,) * num_axes)


def smooth(n: int, width: float, seed: int, num_axes: int = 2) -> Field:
    """White noise under a Gaussian of that width, of unit variance; periodic."""
    noise = np.random.default_rng(seed).standard_normal((n,) * num_axes)
    field = gaussian_filter(noise, width, mode="wrap")
    return field / field.std()


def two_phase(n: int, high: float, low: float = 1.0, num_axes: int = 2) -> Field:
    """Two values, with a smooth interface."""
    return np.where(smooth(n, n / 32, 0, num_axes) > 0, high, low)


def log_normal(n: int, num_axes: int = 2) -> Field:
    """Exponential of a smooth field with a standard deviation of 2."""
    return np.exp(2 * smooth(n, n / 40, 7, num_axes))


def channels(n: int, count: int, value: float, num_axes: int = 2) -> Field:
    """Lines one cell wide from side to side, along each axis in turn."""
    random = np.random.default_rng(1)
    inside = _media.channels((n,) * num_axes, random, count=count, width=1 / n)
    return np.where(inside, value, 1.0)


def islands(n: int, value: float, num_axes: int = 2) -> Field:
    """Boxes of 1 to 4 cells along each axis, on a sixteenth."""
    random = np.random.default_rng(2)
    inside = _media.islands((n,) * num_axes, random, width=1 / n)
    return np.where(inside, value, 1.0)


def random_cells(n: int, contrast: float, num_axes: int = 2) -> Field:
    """Each cell log-uniform between 1 and the contrast."""
    return contrast ** _media.blocks(
        (n,) * num_axes, np.random.default_rng(3), width=1 / n
    )


def tilted_channels(n: int, degrees: float, value: float) -> Field:
    """Twelve lines at an angle, 1.4 cells wide, so that cells touch by their sides."""
    across = _across(n, degrees)
    k = np.ones((n, n))
    for offset in np.random.default_rng(1).uniform(across.min(), across.max(), 12):
        k[np.abs(across - offset) < 0.71] = value
    return k


def tilted_layers(n: int, degrees: float, value: float) -> Field:
    """Layers 5 cells thick at an angle."""
    return np.where(np.sin(_across(n, degrees) * 2 * np.pi / 10) > 0, value, 1.0)


def layers(n: int, thickness: int, value: float, num_axes: int = 2) -> Field:
    """Layers across the first axis."""
    is_high = (np.arange(n) // thickness) % 2 == 1
    line = np.where(is_high, value, 1.0).reshape(n, *[1] * (num_axes - 1))
    return line * np.ones((n,) * num_axes)


def checkerboard(n: int, width: int, value: float) -> Field:
    """Squares of two values."""
    index = np.arange(n) // width
    return np.where(np.add.outer(index, index) % 2 == 1, value, 1.0)


def thin_walls(n: int) -> Mask:
    """Walls one cell thick along the axes, 1/16 to 1/4 of the domain long."""
    random = np.random.default_rng(4)
    return ~_media.walls((n, n), random, count=n // 4, width=1 / n)


def porous(n: int, solid: float) -> Mask:
    """Each cell solid with that probability."""
    return _media.blocks((n, n), np.random.default_rng(5), width=1 / n) >= solid


def comb(n: int, pitch: int) -> Mask:
    """Walls from one side to near the other."""
    fluid = np.ones((n, n), bool)
    fluid[::pitch, :-2] = False
    return fluid


def serpentine(n: int, pitch: int) -> Mask:
    """Walls from both sides in turn, so that the way through is a winding one."""
    fluid = np.ones((n, n), bool)
    for i, row in enumerate(range(pitch - 1, n - 1, pitch)):
        fluid[row, slice(None, -2) if i % 2 else slice(2, None)] = False
    return fluid


def _across(n: int, degrees: float) -> Field:
    """The distance in cells from a line at an angle to the first axis."""
    angle, centres = np.deg2rad(degrees), np.arange(n) + 0.5
    return np.cos(angle) * centres - np.sin(angle) * centres[:, None]


def _darcy(n: int) -> Field:
    return two_phase(n, 12.0, 3.0)


ROWS_2D: Rows = {
    "constant": (constant, (1, 1)),
    "log-normal": (log_normal, (1, 1)),
    "Darcy 12:3": (_darcy, (1, 1)),
    "Darcy 12:3, spacing 1:100": (_darcy, (1, 1 / 100)),
    **{f"spacing 1:{ratio}": (constant, (1, 1 / ratio)) for ratio in (3, 10, 100)},
    "two-phase 1e4": (partial(two_phase, high=1e4), (1, 1)),
    "two-phase 1e6": (partial(two_phase, high=1e6), (1, 1)),
    "6 channels 1e4": (partial(channels, count=6, value=1e4), (1, 1)),
    "6 channels 1e6": (partial(channels, count=6, value=1e6), (1, 1)),
    "30 channels 1e4": (partial(channels, count=30, value=1e4), (1, 1)),
    "30 barriers 1e-4": (partial(channels, count=30, value=1e-4), (1, 1)),
    "channels at 30° 1e4": (partial(tilted_channels, degrees=30, value=1e4), (1, 1)),
    "channels at 45° 1e4": (partial(tilted_channels, degrees=45, value=1e4), (1, 1)),
    "layers 1 1e4": (partial(layers, thickness=1, value=1e4), (1, 1)),
    "layers 5 1e4": (partial(layers, thickness=5, value=1e4), (1, 1)),
    "layers at 30° 1e4": (partial(tilted_layers, degrees=30, value=1e4), (1, 1)),
    "layers at 45° 1e4": (partial(tilted_layers, degrees=45, value=1e4), (1, 1)),
    "checkerboard 3 1e4": (partial(checkerboard, width=3, value=1e4), (1, 1)),
    "islands 1e6": (partial(islands, value=1e6), (1, 1)),
    "random cells 1e2": (partial(random_cells, contrast=1e2), (1, 1)),
    "random cells 1e4": (partial(random_cells, contrast=1e4), (1, 1)),
    "thin walls": (thin_walls, (1, 1)),
    "comb 3": (partial(comb, pitch=3), (1, 1)),
    "serpentine 5": (partial(serpentine, pitch=5), (1, 1)),
    "35 % solid": (partial(porous, solid=0.35), (1, 1)),
}

ROWS_3D: Rows = {
    "constant": (partial(constant, num_axes=3), (1, 1, 1)),
    "spacing 1:1:0.1": (partial(constant, num_axes=3), (1, 1, 0.1)),
    "log-normal, spacing 20:10:2": (partial(log_normal, num_axes=3), (20, 10, 2)),
    "two-phase 1e6": (partial(two_phase, high=1e6, num_axes=3), (1, 1, 1)),
    "6 channels 1e4": (partial(channels, count=6, value=1e4, num_axes=3), (1, 1, 1)),
    "layers 1 1e4": (partial(layers, thickness=1, value=1e4, num_axes=3), (1, 1, 1)),
    "layers 5 1e4": (partial(layers, thickness=5, value=1e4, num_axes=3), (1, 1, 1)),
    "islands 1e6": (partial(islands, value=1e6, num_axes=3), (1, 1, 1)),
    "random cells 1e4": (partial(random_cells, contrast=1e4, num_axes=3), (1, 1, 1)),
}
