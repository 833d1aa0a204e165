"""Reads a published data set: named arrays on disk, samples on demand, provenance."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from ..families._family import AbstractFamily
from ._checked import SOLVED_CONFIGURATION
from ._published import (
    DATA_SET,
    attributes_misfit,
    index_of,
    names_misfit,
    open_published,
    stored_array,
    values_of,
)
from ._record import family_from_record

# What every data set has besides its parameters.
_RECORDS = (
    "solution",
    "status",
    "num_steps",
    "num_matvecs",
    "relative_residual",
    "solve_position",
)
# And what those in 32 bits have: bounds of residuals at rounding level.
_BOUND = "attainable"
_ATTRIBUTES = {
    "format_version": int,
    "name": str,
    "configuration_hash": str,
    "configuration": {},
    "versions": {...: str},
    "card": {"title": str, "equation": str, "right_hand_side": str},
    "sample_arrays": [str],
    "coordinate_arrays": [str],
    "status_names": {...: str},
    "failed": [int],
}


class Dataset:
    """A published data set; nothing is read before it is asked for.

    `dataset["solution"]` is a Zarr array over all samples, `dataset[7]` a dictionary
    of sample 7's NumPy arrays. With `len` it is all that Grain's and torch's loaders
    ask of a source.

    Attributes:
        path: the folder.
        attributes: the stored attributes.
        milliseconds_per_system: median time of a solve, known only to the call that
            generated the data set, as it is no part of it; None otherwise.
    """

    def __init__(self, path: Path, group: Any, attributes: dict[str, Any]) -> None:
        self.path = path
        self.milliseconds_per_system: float | None = None
        self.attributes = attributes
        self._group = group

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays with one entry per sample: parameters, solution, records."""
        return tuple(self.attributes["sample_arrays"])

    @property
    def coordinates(self) -> dict[str, np.ndarray]:
        """The grid's coordinates, one array per axis."""
        names = self.attributes["coordinate_arrays"]
        return {name: read_values(self, name) for name in names}

    @property
    def configuration(self) -> dict[str, Any]:
        """What decided the data set's bytes: family, solver, ordering, segments."""
        return self.attributes["configuration"]

    @property
    def family(self) -> AbstractFamily:
        """The problem family, built again from the configuration."""
        configuration = self.configuration
        return family_from_record(
            configuration["family"], configuration["format_version"]
        )

    @property
    def failed(self) -> tuple[int, ...]:
        """The ids of the samples without a certified solution."""
        return tuple(self.attributes["failed"])

    @property
    def good(self) -> Int[np.ndarray, " good"]:
        """The ids of the samples with a certified solution, ascending."""
        return np.setdiff1d(np.arange(len(self)), np.array(self.failed, np.int64))

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the data come from: configuration and its hash, seed, versions."""
        keys = ("configuration", "configuration_hash", "seed", "stream", "versions")
        return {key: self.attributes[key] for key in keys}

    def __len__(self) -> int:
        return self.configuration["num_samples"]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._array(key)
        index = index_of(key, len(self), "data set", "sample")
        return {name: read_values(self, name, index) for name in self.names}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        num_failed = f", {len(self.failed)} failed" if self.failed else ""
        arrays = [f"  {name}: {_type(self._array(name))}" for name in self.names]
        title = self.attributes["card"]["title"]
        head = f"Dataset {str(self.path)!r}: {title}, {len(self)} samples{num_failed}"
        return "\n".join([head, *arrays])

    def _array(self, name: str) -> Any:
        known = (*self.names, *self.attributes["coordinate_arrays"])
        if name not in known:
            raise KeyError(f"no array {name!r}; there are {', '.join(known)}")
        return stored_array(
            self._group, self.path, name, lambda shape: self._fits(name, shape)
        )

    def _fits(self, name: str, shape: tuple[int, ...]) -> bool:
        if name not in self.names:
            return len(shape) == 1
        if name in (*_RECORDS[1:], _BOUND):
            return shape == (len(self),)
        each = self._sample_shapes.get(name, shape[1:])
        return shape == (len(self), *each)

    @cached_property
    def _sample_shapes(self) -> dict[str, tuple[int, ...]]:
        try:
            types = self.family.array_types()
        except ValueError:
            # A family of the user's own, whose module is not imported.
            return {}
        return {name: example.shape for name, example in types.items()}


def read_values(dataset: Dataset, name: str, selection: Any = ...) -> np.ndarray:
    """Return a part of an array, all of it unless said.

    Raises:
        DamagedError: its files cannot be decoded.
    """
    return values_of(dataset[name], dataset.path / name, selection)


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Return the data set published at `path`.

    Raises:
        FileNotFoundError: nothing is there, or only an interrupted run.
        ValueError: it is not a krylax data set, or one of a newer format, or damaged,
            or something under it is no plain file or folder.
    """
    return Dataset(*open_published(path, DATA_SET, _attributes_misfit))


def _attributes_misfit(attributes: dict[str, Any]) -> str | None:
    why = attributes_misfit(attributes, _ATTRIBUTES, SOLVED_CONFIGURATION)
    if why is not None:
        return why
    configuration = attributes["configuration"]
    ids = range(configuration["num_samples"])
    names = [*attributes["sample_arrays"], *attributes["coordinate_arrays"]]
    if (why := names_misfit(names)) is not None:
        return why
    missing = [name for name in _RECORDS if name not in attributes["sample_arrays"]]
    if missing:
        return f"'sample_arrays' has no {missing[0]!r}"
    strange = [number for number in attributes["failed"] if number not in ids]
    return f"no sample {strange[0]} can have failed" if strange else None


def _type(array: Any) -> str:
    return f"{array.dtype} {tuple(array.shape)}"
