"""Describes what is published in words and numbers: what `krylax info` prints."""

from collections import Counter
from typing import Any

import numpy as np

from ._dataset import Dataset, read_values
from ._record import record_text
from ._segments import ATTAINED
from ._trajectory import Trajectory

# More would hide the rest of the text; `Dataset.failed` has them all.
_LISTED_FAILURES = 10


def describe(dataset: Dataset | Trajectory) -> str:
    """Return the configuration, shapes, statistics and provenance as text."""
    solves: list[str] = []
    if isinstance(dataset, Dataset):
        solves = _section("Solves", _statistics(dataset))
    return "\n".join(
        [
            repr(dataset),
            "",
            *_section("Problem", dataset.attributes["card"]),
            *_section("Configuration", _configuration(dataset)),
            *solves,
            *_section("Versions", dataset.attributes["versions"]),
            f"Configuration SHA-256: {dataset.attributes['configuration_hash']}",
        ]
    )


def summary(dataset: Dataset) -> str:
    """Return a few lines: samples, failures, time, steps, residual, next command."""
    good, failed = len(dataset.good), len(dataset.failed)
    time = dataset.milliseconds_per_system
    pace = [] if time is None else [f"{time:.3g} ms per system (median)"]
    parts = [f"{good} certified, {failed} failed", *pace]
    for name, value in _statistics(dataset).items():
        parts.append(f"{name}: {value}")
    next_command = f"next: krylax preview {dataset.path}"
    return "\n".join([f"{dataset.path}: {len(dataset)} samples", *parts, next_command])


def _statistics(dataset: Dataset) -> dict[str, str]:
    steps = read_values(dataset, "num_steps")
    matvecs = read_values(dataset, "num_matvecs")
    residuals = read_values(dataset, "relative_residual")[dataset.good]
    worst = f"{residuals.max():.3g}" if residuals.size else "none"
    return {
        "steps": _range(steps),
        "matrix-vector products": _range(matvecs),
        "worst true relative residual": worst,
        **_attained(dataset),
        "failed": failures(dataset),
    }


def _attained(dataset: Dataset) -> dict[str, str]:
    """Of a data set in 32 bits: how many residuals are rounding, and what helps."""
    if "attainable" not in dataset.names:
        return {}
    status = read_values(dataset, "status")[dataset.good]
    count = int(np.sum(status == ATTAINED))
    if not count:
        return {"attained": "none"}
    return {
        "attained": f"{count}, residuals at the rounding level of 32 bits; for smaller "
        "ones float64, where Refinement can still iterate in 32 bits"
    }


def failures(dataset: Dataset) -> str:
    """Return how many samples failed for which reason, and which; or "none"."""
    if not dataset.failed:
        return "none"
    names = dataset.attributes["status_names"]
    failed = list(dataset.failed)
    codes = read_values(dataset, "status")[failed]
    reasons = [names.get(str(code), f"status {code}") for code in codes]
    return failures_text(failed, reasons)


def failures_text(failed: list[int], reasons: list[str]) -> str:
    """Return how many samples failed for which reason, and which.

    Args:
        failed: their ids.
        reasons: the name of the status of each.
    """
    counts = Counter(reasons).most_common()
    listed = ", ".join(f"{count} {name}" for name, count in counts)
    ids = ", ".join(map(str, failed[:_LISTED_FAILURES]))
    more = len(failed) - _LISTED_FAILURES
    rest = f" and {more} more" if more > 0 else ""
    return f"{listed}; samples {ids}{rest}"


def _range(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"mean {values.mean():.1f}, median {np.median(values):g}, {low} to {high}"


def _section(title: str, entries: dict[str, Any]) -> list[str]:
    width = max(map(len, entries))
    return [title, *(f"  {k:<{width}}  {v}" for k, v in entries.items()), ""]


def _configuration(dataset: Dataset | Trajectory) -> dict[str, str]:
    entries = dataset.configuration.items()
    return {
        key: record_text("none" if value is None else value) for key, value in entries
    }
