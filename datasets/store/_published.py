"""What all published folders have in common: attributes, and arrays read on demand."""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._names import WORKING_SUFFIX, working_path
from .._optional import require
from ._checked import DamagedError, configuration_misfit, misfit, read_object
from ._plain import require_plain
from ._record import FORMAT_VERSION, configuration_hash
from ._working_folder import holds_run

METADATA = "zarr.json"
RESTORE = "take it from a copy, or generate it again"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Kind:
    """What a published folder may be.

    Attributes:
        format: its attribute of that name.
        title: what it is called.
        reader: the function that opens it.
        newest: format version that is read.
    """

    format: str
    title: str
    reader: str
    newest: int


DATA_SET = Kind("krylax", "data set", "open_dataset", FORMAT_VERSION)
TRAJECTORY = Kind("krylax trajectory", "trajectory", "open_trajectory", 1)
_KINDS = (DATA_SET, TRAJECTORY)


def open_published(
    path: str | os.PathLike[str],
    kind: Kind,
    misfit_of: Callable[[dict[str, Any]], str | None],
) -> tuple[Path, Any, dict[str, Any]]:
    """Return a folder, its Zarr group and its attributes.

    Args:
        path: the folder.
        kind: what it has to be.
        misfit_of: what is wrong with attributes, None if nothing is.

    Raises:
        FileNotFoundError: nothing is there, or only an interrupted run.
        ValueError: it is something else, or of a newer format, or damaged, or something
            under it is no plain file or folder.
    """
    folder = Path(path)
    zarr = require("zarr", "data")
    if not folder.exists() or is_run(folder):
        raise FileNotFoundError(_missing(folder, kind.title))
    if not os.path.lexists(folder / METADATA):
        raise ValueError(f"{folder} is not a krylax {kind.title}: it has no {METADATA}")
    require_plain(folder)
    attributes = _attributes(folder, kind)
    why = misfit_of(attributes)
    if why is not None:
        raise DamagedError(folder / METADATA, why, RESTORE)
    try:
        group = zarr.open_group(str(folder), mode="r", zarr_format=3)
    except Exception as error:
        raise DamagedError(folder / METADATA, _first_line(error), RESTORE) from error
    return folder, group, attributes


def is_run(folder: Path) -> bool:
    """Return whether this is the working folder of a run, not what it publishes."""
    return holds_run(folder) and not os.path.lexists(folder / METADATA)


def is_trajectory(folder: Path) -> bool:
    """Return whether a published folder says that it is a trajectory."""
    if not os.path.lexists(folder / METADATA):
        return False
    metadata = read_object(folder / METADATA, {}, RESTORE)
    return _format_of(metadata.get("attributes")) == TRAJECTORY.format


def attributes_misfit(
    attributes: dict[str, Any], form: Any, configuration_form: Any
) -> str | None:
    """Return what is wrong with attributes whatever their kind, None if nothing is."""
    why = misfit(attributes, form) or configuration_misfit(
        attributes["configuration"], configuration_form
    )
    if why is not None:
        return why
    found = configuration_hash(attributes["configuration"])
    if found != attributes["configuration_hash"]:
        return "the configuration is not that of its checksum"
    return None


def names_misfit(names: Iterable[str]) -> str | None:
    """Return what is wrong with the names of arrays, None if nothing is."""
    wrong = [name for name in names if _NAME.fullmatch(name) is None]
    return f"{wrong[0]!r} is no name of an array" if wrong else None


def stored_array(
    group: Any, folder: Path, name: str, fits: Callable[[tuple[int, ...]], bool]
) -> Any:
    """Return an array of a group, not yet read.

    Args:
        group: the group.
        folder: where it is.
        name: of the array.
        fits: whether a shape is the array's.

    Raises:
        DamagedError: there is none, or one of another shape.
    """
    place = folder / name / METADATA
    try:
        array = group[name]
    except Exception as error:
        raise DamagedError(place, _first_line(error), RESTORE) from error
    shape = getattr(array, "shape", ())
    if not fits(shape):
        raise DamagedError(place, f"its shape is {shape}", RESTORE)
    return array


def values_of(array: Any, place: Path, selection: Any = ...) -> np.ndarray:
    """Return a part of a stored array, all of it unless said.

    Raises:
        DamagedError: its files cannot be decoded.
    """
    # Whatever Zarr and its codecs raise for bytes that somebody else has changed.
    try:
        return np.asarray(array[selection])
    except Exception as error:
        raise DamagedError(place, _first_line(error), RESTORE) from error


def index_of(key: Any, count: int, title: str, unit: str) -> int:
    """Return the place of one of `count` units from 0, negative from the end.

    Raises:
        TypeError: no integer.
        IndexError: out of range.
    """
    if isinstance(key, bool) or not isinstance(key, int | np.integer):
        raise TypeError(
            f"a {title} is indexed by an array's name or a {unit}'s number, "
            f"got {key!r}; for many {unit}s take {title.replace(' ', '')}[name]"
            "[start:stop]"
        )
    if not -count <= key < count:
        raise IndexError(f"no {unit} {key}; there are {count}, from 0")
    return range(count)[key]


def _attributes(folder: Path, kind: Kind) -> dict[str, Any]:
    attributes = read_object(folder / METADATA, {}, RESTORE).get("attributes")
    found = _format_of(attributes)
    for other in _KINDS:
        if found == other.format != kind.format:
            raise ValueError(
                f"{folder} is a krylax {other.title}, not a {kind.title}: open it by "
                f"krylax.datasets.{other.reader}"
            )
    if found != kind.format or not isinstance(attributes, dict):
        raise ValueError(f"{folder} is a Zarr group but not a krylax {kind.title}")
    stored = attributes.get("format_version")
    if isinstance(stored, int) and stored > kind.newest:
        raise ValueError(
            f"{folder} has format version {stored}, this krylax reads up to "
            f"{kind.newest}: pip install --upgrade krylax"
        )
    return attributes


def _format_of(attributes: Any) -> Any:
    return attributes.get("format") if isinstance(attributes, dict) else None


def _missing(folder: Path, title: str) -> str:
    if is_run(folder):
        return (
            f"{folder} holds an interrupted run, not a {title}: give the same "
            "call or command again to finish it, then open "
            f"{str(folder).removesuffix(WORKING_SUFFIX)}"
        )
    if not holds_run(working_path(folder)):
        return f"there is no {title} at {folder}"
    return (
        f"{folder} is not finished: {working_path(folder)} holds an interrupted run; "
        f"give the same call or command again to continue it"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return (
        f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    )
