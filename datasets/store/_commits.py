"""The record of a finished segment: what makes it count."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ._checked import misfit
from ._files import open_plain
from ._record import canonical_json
from ._segments import Segment

# What is recorded of a system that was solved, and of a snapshot of a flow.
SOLVE = {
    "status": int,
    "num_steps": int,
    "num_matvecs": int,
    "relative_residual": (int, float, type(None)),
    "attainable": (int, float, type(None)),
    "wall_seconds": (int, float),
}
SNAPSHOT = {"time": (int, float), "wall_seconds": (int, float)}
_FORM = {
    "configuration_hash": str,
    "segment": int,
    "ids": [int],
    "samples": [{}],
    "files": {...: {"bytes": int, "sha256": str}},
    "versions": {...: str},
}


def sealed(record: dict[str, Any]) -> bytes:
    """Return the text of a record, with its own checksum in it."""
    return canonical_json({**record, "sha256": _checksum(record)})


def read_commit(path: Path) -> dict[str, Any] | None:
    """Return a record that is whole, None for one that is not."""
    try:
        with open_plain(path) as file:
            record = json.loads(file.read())
        if misfit(record, _FORM) is None:
            # Earlier versions had none.
            digest = _checksum(record)
            return record if record.get("sha256", digest) == digest else None
    except (ValueError, RecursionError):
        pass
    return None


def belongs_to(
    record: dict[str, Any], segment: Segment, names: Iterable[str], sample: Any
) -> bool:
    """Return whether a record is that of a segment.

    Args:
        record: that is whole.
        segment: which one.
        names: its files.
        sample: the form of what is recorded of each sample.
    """
    return (
        tuple(record["ids"]) == segment.ids
        and len(record["samples"]) == len(segment.ids)
        and misfit(record["samples"], [sample]) is None
        and set(record["files"]) == set(names)
    )


def _checksum(record: dict[str, Any]) -> str:
    rest = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(canonical_json(rest)).hexdigest()
