"""A published folder: segments put together by id, and moved into place at once.

It is a Zarr v3 group: per array one chunk per sample, a shard of `segment_size` samples
per file, missing values NaN; plus a card and a manifest with the SHA-256 of every file.
It holds no time, host or worker count, so the same configuration gives the same bytes.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from .._optional import require
from ._files import sha256_of, sync_folder, sync_tree, write_whole
from ._plain import files_under, require_plain
from ._record import canonical_json
from ._shards import write_shard
from ._working_folder import WorkingFolder

MANIFEST = "manifest.json"
CARD = "README.md"
# Open files of segments; a shard in id order reads rows from nearly all of them.
_OPEN_SEGMENTS = 256


def new_group(root: Path, attributes: dict[str, Any]) -> Any:
    """Return a Zarr group with these attributes."""
    return require("zarr", "data").create_group(
        str(root), zarr_format=3, attributes=attributes
    )


def write_segments(
    group: Any,
    folder: WorkingFolder,
    commits: Mapping[int, dict[str, Any]],
    types: Mapping[str, np.ndarray],
    segment_size: int,
) -> None:
    """Write the arrays that have one entry per sample, in the order of ids.

    Args:
        group: to write to, in the place for what is published.
        folder: the run's.
        commits: of all segments.
        types: the arrays of each sample, by an example.
        segment_size: samples per shard.
    """
    place = _places(commits)
    count = len(place)
    size = min(segment_size, count)

    @lru_cache(maxsize=_OPEN_SEGMENTS)
    def segment(index: int, name: str) -> np.ndarray:
        path = folder.array_path(index, name)
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    for name, example in types.items():
        array = group.create_array(
            name,
            shape=(count, *example.shape),
            dtype=example.dtype,
            chunks=(1, *example.shape),
            shards=(size, *example.shape),
            fill_value=_fill(example.dtype),
        )
        for shard, start in enumerate(range(0, count, size)):
            rows = place[start : start + size].tolist()
            samples = [segment(index, name)[row : row + 1] for index, row in rows]
            write_shard(array, folder.published / name, shard, samples)


def write_array(group: Any, name: str, values: np.ndarray) -> None:
    """Write an array in one piece."""
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, fill_value=_fill(values.dtype)
    )
    array[...] = values


def versions_of(commits: Mapping[int, dict[str, Any]]) -> dict[str, str]:
    """Return the versions of the packages; of a run that was upgraded all of them."""
    records = list(commits.values())
    names = sorted({name for commit in records for name in commit["versions"]})
    return {
        name: ", ".join(sorted({commit["versions"][name] for commit in records}))
        for name in names
    }


def move_into_place(root: Path, target: Path, card: str) -> None:
    """Write the card and the manifest, and rename the folder to `target`."""
    write_whole(root / CARD, card.encode())
    require_plain(root)
    files = {name: sha256_of(root / name) for name in files_under(root)}
    write_whole(root / MANIFEST, canonical_json({"sha256": files}))
    sync_tree(root)
    os.rename(root, target)
    sync_folder(target.parent)


def _places(commits: Mapping[int, dict[str, Any]]) -> Int[np.ndarray, "samples 2"]:
    count = sum(len(commit["ids"]) for commit in commits.values())
    place = np.empty((count, 2), np.int64)
    for index, commit in commits.items():
        ids = np.asarray(commit["ids"])
        place[ids, 0] = index
        place[ids, 1] = np.arange(len(ids))
    return place


def _fill(dtype: np.dtype) -> int | float:
    # A chunk that was never written must not read as data.
    return np.nan if np.issubdtype(dtype, np.inexact) else -1
