"""Reads a published trajectory: fields in time, the grid they are on, provenance."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ._checked import SIMULATED_CONFIGURATION, DamagedError
from ._published import (
    METADATA,
    RESTORE,
    TRAJECTORY,
    attributes_misfit,
    index_of,
    names_misfit,
    open_published,
    stored_array,
    values_of,
)

VELOCITY, TIME = "velocity", "time"
AXES = ("x", "y", "z")
WEIGHTS = {axis: f"weights_{axis}" for axis in AXES}
_ATTRIBUTES = {
    "format_version": int,
    "name": str,
    "configuration_hash": str,
    "configuration": {},
    "versions": {...: str},
    "card": {"title": str, "equation": str},
    "lengths": [(int, float)],
    "state_arrays": [str],
}


class Trajectory:
    """A published trajectory of a flow; nothing is read before it is asked for.

    `trajectory["velocity"]` is a Zarr array (times, 3, *shape), `trajectory[7]` a
    dictionary of the NumPy arrays of snapshot 7.

    Attributes:
        path: the folder.
        attributes: the stored attributes.
    """

    def __init__(self, path: Path, group: Any, attributes: dict[str, Any]) -> None:
        self.path = path
        self.attributes = attributes
        self._group = group

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays with one entry per snapshot."""
        return VELOCITY, TIME

    @property
    def times(self) -> Float[np.ndarray, " times"]:
        """When the snapshots were taken, in the flow's unit of time."""
        return self.read(TIME)

    @property
    def coordinates(self) -> dict[str, np.ndarray]:
        """The grid's coordinates: an array per axis, by the names x, y and z."""
        return {axis: self.read(axis) for axis in AXES}

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The grid's quadrature weights, by the same names."""
        return {axis: self.read(WEIGHTS[axis]) for axis in AXES}

    @property
    def lengths(self) -> tuple[float, ...]:
        """Of the box in x, y and z; the first and the last are periods."""
        return tuple(map(float, self.attributes["lengths"]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return tuple(self.configuration["shape"])

    @property
    def configuration(self) -> dict[str, Any]:
        """What decided the bytes: flow, state at the start, interval, segments."""
        return self.attributes["configuration"]

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the fields come from: configuration and its hash, versions."""
        keys = ("configuration", "configuration_hash", "versions")
        return {key: self.attributes[key] for key in keys}

    def read(self, name: str, selection: Any = ...) -> np.ndarray:
        """Return a part of an array, all of it unless said.

        Args:
            name: of the array.
            selection: indices or slices of its axes.

        Raises:
            KeyError: no array of that name.
            DamagedError: its files cannot be decoded, or one is missing.
        """
        values = values_of(self[name], self.path / name, selection)
        # What `_assembled.py` has told Zarr to read where there is nothing; in the
        # arrays of a trajectory, all finite and its counts at least 0, it is no value.
        kind = values.dtype.kind
        is_there = np.isfinite(values) if kind == "f" else kind in "iu" and values >= 0
        if not np.all(is_there):
            raise DamagedError(self.path / name, "values are missing", RESTORE)
        return values

    def __len__(self) -> int:
        return self.configuration["num_snapshots"]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._array(key)
        index = index_of(key, len(self), "trajectory", "snapshot")
        return {name: self.read(name, index) for name in self.names}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        title = self.attributes["card"]["title"]
        head = f"Trajectory {str(self.path)!r}: {title}, {len(self)} snapshots"
        arrays = [self[name] for name in self.names]
        return "\n".join(
            [
                head,
                *(
                    f"  {name}: {array.dtype} {tuple(array.shape)}"
                    for name, array in zip(self.names, arrays, strict=True)
                ),
            ]
        )

    def _array(self, name: str) -> Any:
        shapes: dict[str, tuple[int, ...]] = {
            VELOCITY: (len(self), 3, *self.shape),
            TIME: (len(self),),
        }
        for axis, count in zip(AXES, self.shape, strict=True):
            shapes[axis] = shapes[WEIGHTS[axis]] = (count,)
        of_state = self.attributes["state_arrays"]
        if name not in (*shapes, *of_state):
            known = ", ".join((*shapes, *of_state))
            raise KeyError(f"no array {name!r}; there are {known}")
        array = stored_array(
            self._group,
            self.path,
            name,
            lambda shape: name in of_state or shape == shapes[name],
        )
        wanted = self.configuration["dtype"] if name == VELOCITY else "float64"
        if name in shapes and str(array.dtype) != wanted:
            place, why = self.path / name / METADATA, f"its dtype is {array.dtype}"
            raise DamagedError(place, why, RESTORE)
        return array


def open_trajectory(path: str | os.PathLike[str]) -> Trajectory:
    """Return the trajectory published at `path`.

    Raises:
        FileNotFoundError: nothing is there, or only an interrupted run.
        ValueError: it is not a krylax trajectory, or one of a newer format, or damaged,
            or something under it is no plain file or folder.
    """
    return Trajectory(*open_published(path, TRAJECTORY, _attributes_misfit))


def _attributes_misfit(attributes: dict[str, Any]) -> str | None:
    why = attributes_misfit(attributes, _ATTRIBUTES, SIMULATED_CONFIGURATION)
    if why is not None:
        return why
    configuration = attributes["configuration"]
    for name, values in (
        ("shape", configuration["shape"]),
        ("lengths", attributes["lengths"]),
    ):
        if len(values) != len(AXES) or not all(value > 0 for value in values):
            return f"{name!r} is {str(values)[:40]}"
    return names_misfit(attributes["state_arrays"])
