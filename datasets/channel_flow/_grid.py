"""The staggered grid of a channel: uniform along the walls, stretched across them.

Faces across the walls lie at y(ξ) = 1 + tanh(γ ξ) / tanh(γ), ξ uniform in [-1, 1], and
centres halfway between faces. u lies on the faces in x, v on those in y, w on those in
z, the pressure at the centres. F. H. Harlow, J. E. Welch, Phys. Fluids 8 (1965),
doi:10.1063/1.1761178.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from ...operators._arguments import as_items, require_count, require_number

HEIGHT = 2.0
"""From wall to wall: the unit of length is half of it."""


class StaggeredGrid(eqx.Module):
    """Where the unknowns lie, and how far they are from each other.

    Arrays across the walls have shape (1, n, 1), so that they multiply fields.

    Attributes:
        shape: cells per axis, streamwise, wall-normal, spanwise.
        lengths: of the box.
        stretching: γ, zero for a uniform grid.
        spacings: of the uniform axes.
        faces: y of the faces, both walls included.
        centres: y of the centres.
        widths: from face to face.
        distances: from centre to centre, over a wall to the mirrored centre.
    """

    spacings: tuple[Float[Array, ""], Float[Array, ""]]
    faces: Float[Array, "1 _ 1"]
    centres: Float[Array, "1 ny 1"]
    widths: Float[Array, "1 ny 1"]
    distances: Float[Array, "1 _ 1"]
    shape: tuple[int, int, int] = eqx.field(static=True)
    lengths: tuple[float, float, float] = eqx.field(static=True)
    stretching: float = eqx.field(static=True)

    def __init__(
        self,
        num_points: Sequence[int],
        lengths: Sequence[int | float],
        stretching: int | float,
        dtype: DTypeLike,
    ) -> None:
        self.shape = _as_shape(num_points)
        self.lengths = _as_lengths(lengths)
        require_number(stretching, "stretching", 0, 4, "in [0, 4)", closed=True)
        self.stretching = float(stretching)
        faces, widths, distances = wall_normal(self.shape[1], self.stretching)
        centres = (faces[1:] + faces[:-1]) / 2
        self.faces, self.centres, self.widths, self.distances = (
            jnp.asarray(values.astype(dtype)[None, :, None])
            for values in (faces, centres, widths, distances)
        )
        dx, dz = self.lengths[0] / self.shape[0], self.lengths[2] / self.shape[2]
        self.spacings = (jnp.asarray(dx, dtype), jnp.asarray(dz, dtype))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all that is computed on the grid."""
        return self.widths.dtype

    @property
    def velocity_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Of u, v and w: v on the faces between the walls alone."""
        nx, ny, nz = self.shape
        return (nx, ny, nz), (nx, ny - 1, nz), (nx, ny, nz)


def wall_normal(n: int, stretching: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return faces, widths and distances of n cells between the walls, in NumPy."""
    ξ = np.linspace(-1, 1, n + 1)
    raw = np.tanh(stretching * ξ) / math.tanh(stretching) if stretching else ξ
    # Exactly symmetric, so that the reflection of a flow is a flow.
    faces = 1 + (raw - raw[::-1]) / 2
    widths = np.diff((raw - raw[::-1]) / 2)
    widths = (widths + widths[::-1]) / 2
    inner = (widths[1:] + widths[:-1]) / 2
    return faces, widths, np.concatenate([widths[:1], inner, widths[-1:]])


def _as_shape(num_points: Any) -> tuple[int, int, int]:
    """Return the three numbers of cells.

    Raises:
        ValueError: another number of axes, or too few cells.
    """
    items = as_items(num_points, "num_points", "three integers, such as (48, 96, 32)")
    if len(items) != 3:
        raise ValueError(
            "num_points must be three integers, streamwise, wall-normal and spanwise, "
            f"got {num_points}"
        )
    for n, least in zip(items, (1, 4, 1), strict=True):
        require_count(n, "num_points", least, " (at least 1, 4 and 1)")
    nx, ny, nz = map(int, items)
    return nx, ny, nz


def _as_lengths(lengths: Any) -> tuple[float, float, float]:
    """Return the lengths of the box.

    Raises:
        ValueError: another number of axes; lengths that are not positive; walls that
            are not two units apart.
    """
    items = as_items(lengths, "lengths", "three numbers, such as (3.14, 2.0, 1.07)")
    if len(items) != 3:
        raise ValueError(f"lengths must be three numbers, got {lengths}")
    for length in items:
        require_number(length, "lengths", 0, math.inf, "positive and finite")
    Lx, Ly, Lz = map(float, items)
    if Ly != HEIGHT:
        raise ValueError(
            "lengths[1] must be 2.0, as the unit of length is half the distance of the "
            f"walls, got {Ly}; scale the other two by it"
        )
    return Lx, Ly, Lz
