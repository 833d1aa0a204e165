"""Examples from the data sets that `krylax.datasets.generate` publishes."""

import difflib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...datasets import Dataset, open_dataset
from ...datasets.store._dataset import read_values
from ...operators._arguments import shown
from ._data import Data
from ._grid import grid_of_cells
from ._registry import ALIKE


def from_dataset(
    dataset: str | os.PathLike[str] | Dataset,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Data:
    """Return the samples of a data set that have a certified solution, and its grid.

    Args:
        dataset: the folder of one, or what `open_dataset` returns.
        inputs: names of arrays of the data set, such as ["coefficient"]. A number per
            sample becomes a constant channel; axes before those of the grid become
            channels.
        outputs: names of arrays likewise, such as ["solution"].

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: it has no array of that name, an array is not a field on the grid,
            or no sample is solved.
    """
    if not isinstance(dataset, Dataset):
        dataset = open_dataset(dataset)
    good = dataset.good
    if not len(good):
        raise ValueError(f"{dataset.path} has no sample with a certified solution")
    num_axes = len(dataset.coordinates)
    shape = tuple(len(x) for x in dataset.coordinates.values())
    sides = []
    for names, side in ((inputs, "inputs"), (outputs, "outputs")):
        require_names(names, side)
        require_known(names, dataset.names, dataset.path)
        fields = {name: read_values(dataset, name)[good] for name in names}
        sides.append(as_channels(fields, num_axes, shape))
    (x, x_names), (y, y_names) = sides
    grid = grid_of_cells(list(dataset.coordinates.values()))
    return Data(x, y, input_names=x_names, output_names=y_names, grid=grid)


def require_names(names: Any, side: str) -> None:
    """Check the names of arrays that are the channels of a side.

    Raises:
        ValueError: they are no list, one is no name or comes twice, or there are none.
    """
    is_list = isinstance(names, Sequence) and not isinstance(names, str)
    if not is_list or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{side} must be a list of names, got {shown(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{side} must name each array once, got {shown(names)}")


def require_known(names: Sequence[str], known: Sequence[str], place: Any) -> None:
    """Check that arrays are there.

    Raises:
        ValueError: one is not; the message names those that are, and the nearest.
    """
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{place} has no array {name!r}, it has "
                f"{', '.join(map(repr, known))}{hint}"
            )


def as_channels(
    fields: dict[str, Any], num_axes: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, list[str]]:
    """Return fields (samples, ..., *shape) as channels, and their names.

    Raises:
        ValueError: one holds no real numbers, or is no field on the grid; numbers of
            samples that differ.
    """
    parts, names = [], []
    for name, values in fields.items():
        if np.iscomplexobj(values):
            raise ValueError(
                f"{name} is complex; give real and imaginary part to training.Data"
            )
        if values.dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold real numbers, got {values.dtype}")
        if values.ndim == 1:
            values = np.broadcast_to(
                values.reshape(-1, *(1,) * num_axes), (len(values), *shape)
            )
        if values.shape[-num_axes:] != shape or values.ndim <= num_axes:
            raise ValueError(
                f"{name} has shape {values.shape[1:]} in each sample, which is no "
                f"field on the grid {shape}"
            )
        if not values.size:
            raise ValueError(f"{name} is empty, of shape {values.shape}")
        if parts and len(values) != len(parts[0]):
            raise ValueError(
                f"{name} has {len(values)} samples, {next(iter(fields))} has "
                f"{len(parts[0])}"
            )
        part = values.reshape(len(values), -1, *shape)
        parts.append(part)
        count = part.shape[1]
        names += [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]
    return np.concatenate(parts, axis=1), names
