"""Where the values of a field lie: coordinates, periods and quadrature weights.

A learned operator maps functions; the grid says at which points they are known. Axes
are independent of each other, so that a grid is one array of coordinates per axis.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, DTypeLike, Float

from ... import datasets
from ...operators._arguments import (
    as_items,
    as_reals,
    require_count,
    require_flag,
    require_number,
    shown,
)
from ...operators._field import require_finite
from ._registry import register


class Grid(eqx.Module):
    """A tensor grid.

    Args:
        coordinates: of the points, an increasing 1-D array per axis.
        periodic: whether the axes are periodic, one flag for all or one per axis.
        lengths: the period of each periodic axis, None for the others. By default the
            points of a periodic axis have to be equally spaced, and its period is as
            many spacings as points.
        weights: quadrature weights of each axis, one per point. By default those of the
            trapezoidal rule, from the first to the last point or around the period.

    Attributes:
        coordinates, periodic, weights: as given, one per axis.
        lengths: the period of each axis, or the distance from its first point to its
            last.

    Raises:
        ValueError: coordinates that are not increasing, finite 1-D arrays; arguments of
            another number of axes; a periodic axis whose points are not equally spaced
            and that has no length, or whose points do not fit into its length; weights
            that are no finite real numbers.
    """

    coordinates: tuple[Float[Array, " _"], ...]
    lengths: tuple[Float[Array, ""], ...]
    weights: tuple[Float[Array, " _"], ...]
    periodic: tuple[bool, ...] = eqx.field(static=True)

    def __init__(
        self,
        coordinates: Sequence[Any],
        periodic: bool | Sequence[bool] = False,
        lengths: Sequence[Any] | None = None,
        weights: Sequence[Any] | None = None,
    ) -> None:
        axes = tuple(_as_coordinates(x, i) for i, x in enumerate(coordinates))
        if not axes:
            raise ValueError("coordinates must hold an array per axis, got none")
        flags = per_axis(periodic, len(axes), "periodic")
        for flag in flags:
            require_flag(flag, "periodic")
        given = per_axis(lengths, len(axes), "lengths")
        self.coordinates = tuple(map(jnp.asarray, axes))
        self.periodic = tuple(map(bool, flags))
        lengths = [
            _length(x, is_periodic, length, i)
            for i, (x, is_periodic, length) in enumerate(
                zip(axes, flags, given, strict=True)
            )
        ]
        self.lengths = tuple(map(jnp.asarray, lengths))
        rules = per_axis(weights, len(axes), "weights")
        self.weights = tuple(
            jnp.asarray(_weights(*described, i))
            for i, described in enumerate(zip(axes, flags, lengths, rules, strict=True))
        )

    @classmethod
    def uniform(
        cls,
        shape: Sequence[int],
        lengths: float | Sequence[float] = 1.0,
        periodic: bool | Sequence[bool] = False,
        *,
        dtype: DTypeLike | None = None,
    ) -> "Grid":
        """Return equally spaced points of a box.

        Args:
            shape: number of points per axis, at least two.
            lengths: of the box, one for all axes or one per axis.
            periodic: likewise. A periodic axis has its points at i L / n, another one
                from 0 to L, both included.
            dtype: of the coordinates, by default JAX's.

        Raises:
            ValueError: fewer than two points on an axis, or lengths that are not
                positive.
        """
        shape = as_items(shape, "shape", "a number of points per axis")
        flags = per_axis(periodic, len(shape), "periodic")
        sizes = per_axis(lengths, len(shape), "lengths")
        coordinates = []
        for n, length, is_periodic in zip(shape, sizes, flags, strict=True):
            require_count(n, "shape", 2)
            require_number(length, "lengths", 0, np.inf, "positive and finite")
            steps = n if is_periodic else n - 1
            coordinates.append(np.arange(n) * (length / steps))
        dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
        return cls([x.astype(dtype) for x in coordinates], flags)

    @classmethod
    def of_channel(cls, points: Any) -> "Grid":
        """Return the points of the filtered fields of a channel.

        They are periodic along the walls. The weights on the walls are zero.

        Args:
            points: what `Channel.filtered_grid` returns.

        Raises:
            TypeError: something else.

        Examples:
            >>> import krylax as kx
            >>> from krylax.learned import training
            >>> flow = kx.datasets.channel_flow.Channel(180, (8, 16, 8))
            >>> training.Grid.of_channel(flow.filtered_grid((4, 9, 4))).shape
            (4, 9, 4)
        """
        # The channel takes a while to import, and few need it.
        if not isinstance(points, datasets.channel_flow.FilteredGrid):
            raise TypeError(
                "points must be what Channel.filtered_grid returns, got "
                f"{shown(points)}"
            )
        return cls(
            (points.x, points.y, points.z),
            periodic=(True, False, True),
            lengths=(points.lengths[0], None, points.lengths[2]),
            weights=points.weights,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points per axis."""
        return tuple(len(x) for x in self.coordinates)


register(
    Grid,
    lambda grid: {
        "coordinates": grid.coordinates,
        "periodic": grid.periodic,
        "lengths": [
            length if is_periodic else None
            for length, is_periodic in zip(grid.lengths, grid.periodic, strict=True)
        ],
        "weights": grid.weights,
    },
)


def per_axis(value: Any, num_axes: int, name: str) -> tuple[Any, ...]:
    """Return one value per axis, the same for all where there is only one.

    Raises:
        ValueError: another number of values.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (value,) * num_axes
    if len(value) != num_axes:
        raise ValueError(
            f"{name} must be one value, or {num_axes}, one for each axis, got "
            f"{len(value)}"
        )
    return tuple(value)


def grid_of_cells(coordinates: Sequence[Any]) -> Grid:
    """Return the grid of the centres of cells, or what lies as they do.

    A point's weight is the length between the middles of the intervals beside it; those
    at the ends have as much on either side.
    """
    weights = []
    for x in map(np.asarray, coordinates):
        middles = (x[1:] + x[:-1]) / 2
        ends = [2 * x[:1] - middles[:1], middles, 2 * x[-1:] - middles[-1:]]
        weights.append(np.diff(np.concatenate(ends)))
    return Grid(coordinates, weights=weights)


def _as_coordinates(x: Any, axis: int) -> Any:
    """The coordinates of an axis, as a NumPy array unless they are traced.

    What follows from them is then computed without compiling anything.
    """
    if not isinstance(x, Tracer):
        x = np.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        if not isinstance(x, Tracer):
            x = as_reals(x, f"coordinates of axis {axis}")
        x = x.astype(jnp.result_type(float))
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(
            f"coordinates of axis {axis} must be a 1-D array of two points or more, "
            f"got shape {x.shape}"
        )
    if isinstance(x, np.ndarray) and not (
        np.all(np.isfinite(x)) and np.all(np.diff(x) > 0)
    ):
        raise ValueError(
            f"coordinates of axis {axis} must be finite and increase from point to "
            "point"
        )
    return x


def _length(x: Any, is_periodic: bool, length: Any, axis: int) -> Any:
    extent = x[-1] - x[0]
    if not is_periodic:
        if length is not None:
            raise ValueError(
                f"axis {axis} is not periodic and has no length but that of its "
                "coordinates; give None"
            )
        return extent
    if length is None:
        if isinstance(x, np.ndarray):
            steps = np.diff(x)
            # Coordinates in float32 are off by their rounding, not by more.
            if np.ptp(steps) > 1e-3 * np.max(steps):
                raise ValueError(
                    f"the points of the periodic axis {axis} are not equally far from "
                    "each other; give its period in lengths"
                )
        return extent * (len(x) / (len(x) - 1))
    require_number(length, f"lengths[{axis}]", 0, np.inf, "positive and finite")
    is_known = not isinstance(extent, Tracer) and not isinstance(length, Tracer)
    if is_known and not extent < length:
        raise ValueError(
            f"the coordinates of axis {axis} extend over {extent:g}, not less than its "
            f"period {length:g}; leave out the last point"
        )
    return (
        x.dtype.type(length) if is_known else jnp.asarray(length, jnp.asarray(x).dtype)
    )


def _weights(x: Any, is_periodic: bool, length: Any, weights: Any, axis: int) -> Any:
    if weights is not None:
        if isinstance(weights, Tracer):
            weights = weights.astype(jnp.asarray(x).dtype)
        else:
            # JAX warns where it is asked for 64 bits while they are off.
            weights = as_reals(weights, f"weights of axis {axis}").astype(x.dtype)
            require_finite(weights, f"weights of axis {axis}")
        if weights.shape != x.shape:
            raise ValueError(
                f"weights of axis {axis} must have shape {x.shape}, got {weights.shape}"
            )
        return weights
    before, after = x[:1], x[-1:]
    if is_periodic:
        before, after = x[-1:] - length, x[:1] + length
    is_known = isinstance(x, np.ndarray) and not isinstance(length, Tracer)
    around = (np if is_known else jnp).concatenate([before, x, after])
    return (around[2:] - around[:-2]) / 2
