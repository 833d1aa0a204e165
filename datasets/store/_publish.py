"""Puts a data set together in sample-id order and moves it into place at once.

The published folder is a Zarr v3 group: per array one chunk per sample, a shard of
`segment_size` samples per file, missing values NaN; plus a data card and a manifest
with the SHA-256 of every file. It holds no time, host or worker count, so the same
configuration gives the same bytes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from .._optional import require
from ..families._family import AbstractFamily
from ._card import data_card
from ._files import sha256_of, sync_folder, sync_tree, write_whole
from ._plain import files_under, require_plain
from ._record import canonical_json, configuration_hash
from ._segments import ATTAINED, Criterion
from ._shards import write_shard
from ._working_folder import WorkingFolder

MANIFEST = "manifest.json"
CARD = "README.md"
_COUNTS = ("status", "num_steps", "num_matvecs")
# Open files of segments; a shard in id order reads rows from nearly all of them.
_OPEN_SEGMENTS = 256


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
    group = require("zarr", "data").create_group(
        str(root), zarr_format=3, attributes=attributes
    )
    _write_sample_arrays(group, run)
    _write_records(group, run, records)
    for name, values in run.family.coordinates().items():
        _write(group, name, values)
    card = data_card(attributes, run.criterion, _num_attained(records), run.method)
    write_whole(root / CARD, card.encode())
    require_plain(root)
    files = {name: sha256_of(root / name) for name in files_under(root)}
    write_whole(root / MANIFEST, canonical_json({"sha256": files}))
    sync_tree(root)
    os.rename(root, target)
    sync_folder(target.parent)


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
        "format": "krylax",
        "format_version": configuration["format_version"],
        "name": run.family.name,
        "configuration": configuration,
        "configuration_hash": configuration_hash(configuration),
        "seed": configuration["family"].get("seed"),
        "stream": configuration["family"].get("stream"),
        "versions": _versions(run),
        "card": run.family.card(),
        "sample_arrays": [*run.family.array_types(), *_record_names(run)],
        "coordinate_arrays": list(run.family.coordinates()),
        "status_names": {str(code): Status(code).name for code in codes},
        "failed": failed,
    }


def _versions(run: Finished) -> dict[str, str]:
    # A run continued after an upgrade names every version that took part.
    commits = list(run.commits.values())
    names = sorted({name for commit in commits for name in commit["versions"]})
    return {
        name: ", ".join(sorted({commit["versions"][name] for commit in commits}))
        for name in names
    }


def _num_attained(records: list[dict[str, Any]]) -> int:
    return sum(record["status"] == ATTAINED for record in records)


def _residual_names(run: Finished) -> tuple[str, ...]:
    # Where a residual at rounding level is a failure, its bound says nothing.
    is_bounded = run.criterion.takes_attained
    return ("relative_residual", "attainable") if is_bounded else ("relative_residual",)


def _record_names(run: Finished) -> tuple[str, ...]:
    return (*_COUNTS, *_residual_names(run), "solve_position")


def _write_sample_arrays(group: Any, run: Finished) -> None:
    place = _places(run)
    size = min(run.configuration["segment_size"], len(run.order))

    @lru_cache(maxsize=_OPEN_SEGMENTS)
    def segment(index: int, name: str) -> np.ndarray:
        path = run.folder.array_path(index, name)
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    for name, example in run.family.array_types().items():
        array = group.create_array(
            name,
            shape=(len(run.order), *example.shape),
            dtype=example.dtype,
            chunks=(1, *example.shape),
            shards=(size, *example.shape),
            fill_value=_fill(example.dtype),
        )
        for shard, start in enumerate(range(0, len(run.order), size)):
            rows = place[start : start + size].tolist()
            samples = [segment(index, name)[row : row + 1] for index, row in rows]
            write_shard(array, run.folder.published / name, shard, samples)


def _places(run: Finished) -> Int[np.ndarray, "samples 2"]:
    place = np.empty((len(run.order), 2), np.int64)
    for index, commit in run.commits.items():
        ids = np.asarray(commit["ids"])
        place[ids, 0] = index
        place[ids, 1] = np.arange(len(ids))
    return place


def _write_records(group: Any, run: Finished, records: list[dict[str, Any]]) -> None:
    for name in _COUNTS:
        values = np.array([record[name] for record in records], np.int32)
        _write(group, name, values)
    for name in _residual_names(run):
        residuals = [record[name] for record in records]
        # None, the JSON form of a number that is not finite, becomes NaN.
        _write(group, name, np.array(residuals, np.float64))
    position = np.empty(len(run.order), np.int64)
    position[run.order] = np.arange(len(run.order))
    _write(group, "solve_position", position)


def _write(group: Any, name: str, values: np.ndarray) -> None:
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, fill_value=_fill(values.dtype)
    )
    array[...] = values


def _fill(dtype: np.dtype) -> int | float:
    # A chunk that was never written must not read as data.
    return np.nan if np.issubdtype(dtype, np.inexact) else -1
