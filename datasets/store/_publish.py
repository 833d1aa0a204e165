"""Puts a data set together in sample-id order and moves it into place at once.

Beside what `_assembled.py` writes it holds the record of every solve, and the grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from ..families._family import AbstractFamily
from ._assembled import (
    move_into_place,
    new_group,
    versions_of,
    write_array,
    write_segments,
)
from ._card import data_card
from ._published import DATA_SET
from ._record import configuration_hash
from ._segments import ATTAINED, Criterion
from ._working_folder import WorkingFolder

_COUNTS = ("status", "num_steps", "num_matvecs")


@dataclass(frozen=True)
class Finished:
    """A run with all its segments committed.

    Attributes:
        folder: its working folder.
        family: the problem family.
        configuration: the data set's configuration.
        order: the solve order.
        commits: the commit record of every segment.
        criterion: when a sample is certified.
        method: what the card says of how samples were solved, titles and texts.
    """

    folder: WorkingFolder
    family: AbstractFamily
    configuration: dict[str, Any]
    order: Int[np.ndarray, " samples"]
    commits: Mapping[int, dict[str, Any]]
    criterion: Criterion
    method: Mapping[str, str]


def publish(run: Finished, target: Path) -> None:
    """Build the published folder beside the run and renames it to `target`."""
    root = run.folder.published
    records = _records_by_id(run)
    attributes = _attributes(run, records)
    group = new_group(root, attributes)
    size = run.configuration["segment_size"]
    types = run.family.array_types()
    write_segments(group, run.folder, run.commits, types, size)
    _write_records(group, run, records)
    for name, values in run.family.coordinates().items():
        write_array(group, name, values)
    card = data_card(attributes, run.criterion, _num_attained(records), run.method)
    move_into_place(root, target, card)


def _records_by_id(run: Finished) -> list[dict[str, Any]]:
    by_id = {
        sample_id: record
        for commit in run.commits.values()
        for sample_id, record in zip(commit["ids"], commit["samples"], strict=True)
    }
    return [by_id[sample_id] for sample_id in range(len(run.order))]


def _attributes(run: Finished, records: list[dict[str, Any]]) -> dict[str, Any]:
    # Status names are stored, so that reading needs neither JAX nor our solvers.
    from ...solvers import Status

    configuration = run.configuration
    codes = sorted({record["status"] for record in records})
    is_met = run.criterion.is_met
    failed = [i for i, record in enumerate(records) if not is_met(record)]
    return {
        "format": DATA_SET.format,
        "format_version": configuration["format_version"],
        "name": run.family.name,
        "configuration": configuration,
        "configuration_hash": configuration_hash(configuration),
        "seed": configuration["family"].get("seed"),
        "stream": configuration["family"].get("stream"),
        "versions": versions_of(run.commits),
        "card": run.family.card(),
        "sample_arrays": [*run.family.array_types(), *_record_names(run)],
        "coordinate_arrays": list(run.family.coordinates()),
        "status_names": {str(code): Status(code).name for code in codes},
        "failed": failed,
    }


def _num_attained(records: list[dict[str, Any]]) -> int:
    return sum(record["status"] == ATTAINED for record in records)


def _residual_names(run: Finished) -> tuple[str, ...]:
    # Where a residual at rounding level is a failure, its bound says nothing.
    is_bounded = run.criterion.takes_attained
    return ("relative_residual", "attainable") if is_bounded else ("relative_residual",)


def _record_names(run: Finished) -> tuple[str, ...]:
    return (*_COUNTS, *_residual_names(run), "solve_position")


def _write_records(group: Any, run: Finished, records: list[dict[str, Any]]) -> None:
    for name in _COUNTS:
        values = np.array([record[name] for record in records], np.int32)
        write_array(group, name, values)
    for name in _residual_names(run):
        residuals = [record[name] for record in records]
        # None, the JSON form of a number that is not finite, becomes NaN.
        write_array(group, name, np.array(residuals, np.float64))
    position = np.empty(len(run.order), np.int64)
    position[run.order] = np.arange(len(run.order))
    write_array(group, "solve_position", position)
