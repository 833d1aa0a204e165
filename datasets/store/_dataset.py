"""Reads a published data set: named arrays on disk, samples on demand, provenance."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from .._names import working_path
from .._optional import require
from ..families._family import AbstractFamily
from ._record import FORMAT_VERSION, family_from_record
from ._working_folder import stored_configuration


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

    def __init__(
        self, path: Path, group: Any, milliseconds_per_system: float | None = None
    ) -> None:
        self.path = path
        self.milliseconds_per_system = milliseconds_per_system
        self.attributes: dict[str, Any] = dict(group.attrs)
        self._group = group

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays with one entry per sample: parameters, solution, records."""
        return tuple(self.attributes["sample_arrays"])

    @property
    def coordinates(self) -> dict[str, np.ndarray]:
        """The grid's coordinates, one array per axis."""
        return {name: self[name][...] for name in self.attributes["coordinate_arrays"]}

    @property
    def configuration(self) -> dict[str, Any]:
        """What decided the data set's bytes: family, solver, ordering, segments."""
        return self.attributes["configuration"]

    @property
    def family(self) -> AbstractFamily:
        """The problem family, built again from the configuration."""
        return family_from_record(self.configuration["family"])

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
        if isinstance(key, bool) or not isinstance(key, int | np.integer):
            raise TypeError(
                f"a data set is indexed by an array's name or a sample's number, "
                f"got {key!r}; for many samples take dataset[name][start:stop]"
            )
        if not -len(self) <= key < len(self):
            raise IndexError(f"no sample {key}; there are {len(self)}, from 0")
        index = range(len(self))[key]
        return {name: np.asarray(self._array(name)[index]) for name in self.names}

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
        return self._group[name]


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Return the data set published at `path`.

    Raises:
        FileNotFoundError: nothing is there, or only an interrupted run.
        ValueError: it is not a krylax data set, or one of a newer format.
    """
    folder = Path(path)
    zarr = require("zarr", "data")
    if not folder.exists():
        raise FileNotFoundError(_missing(folder))
    if not (folder / "zarr.json").is_file():
        raise ValueError(f"{folder} is not a krylax data set: it has no zarr.json")
    group = zarr.open_group(str(folder), mode="r", zarr_format=3)
    if group.attrs.get("format") != "krylax":
        raise ValueError(f"{folder} is a Zarr group but not a krylax data set")
    stored: Any = group.attrs["format_version"]
    if stored > FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format version {stored}, this krylax reads up to "
            f"{FORMAT_VERSION}: pip install --upgrade krylax"
        )
    return Dataset(folder, group)


def _missing(folder: Path) -> str:
    if stored_configuration(working_path(folder)) is None:
        return f"there is no data set at {folder}"
    return (
        f"{folder} is not finished: {working_path(folder)} holds an interrupted run; "
        f"give the same generate call or command again to continue it"
    )


def _type(array: Any) -> str:
    return f"{array.dtype} {tuple(array.shape)}"
