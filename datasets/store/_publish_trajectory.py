"""Puts a trajectory together in the order of time and moves it into place at once.

Beside what `_assembled.py` writes it holds the grid, and the state at the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._assembled import (
    move_into_place,
    new_group,
    versions_of,
    write_array,
    write_segments,
)
from ._card import trajectory_card
from ._published import TRAJECTORY
from ._record import configuration_hash
from ._trajectory import AXES, TIME, VELOCITY, WEIGHTS
from ._working_folder import WorkingFolder


@dataclass(frozen=True)
class Points:
    """The grid of a trajectory.

    Attributes:
        coordinates: of the points, one array per axis.
        weights: of a quadrature, likewise.
        lengths: of the box.
    """

    coordinates: Sequence[np.ndarray]
    weights: Sequence[np.ndarray]
    lengths: Sequence[float]


@dataclass(frozen=True)
class FinishedTrajectory:
    """A run with all its segments committed.

    Attributes:
        folder: its working folder.
        configuration: what decides the bytes.
        commits: the commit record of every segment.
        points: the grid.
        state_arrays: names of the arrays of the state.
        card: what the flow is, by the keys of a data card.
    """

    folder: WorkingFolder
    configuration: dict[str, Any]
    commits: Mapping[int, dict[str, Any]]
    points: Points
    state_arrays: Sequence[str]
    card: Mapping[str, str]


def publish_trajectory(run: FinishedTrajectory, target: Path) -> None:
    """Build the published folder beside the run and rename it to `target`."""
    root, configuration = run.folder.published, run.configuration
    attributes = {
        "format": TRAJECTORY.format,
        "format_version": configuration["format_version"],
        "name": run.card["title"],
        "configuration": configuration,
        "configuration_hash": configuration_hash(configuration),
        "versions": versions_of(run.commits),
        "card": dict(run.card),
        "lengths": list(map(float, run.points.lengths)),
        "state_arrays": list(run.state_arrays),
    }
    group = new_group(root, attributes)
    shape = (3, *configuration["shape"])
    example = np.broadcast_to(np.zeros((), configuration["dtype"]), shape)
    write_segments(
        group,
        run.folder,
        run.commits,
        {VELOCITY: example},
        configuration["segment_size"],
    )
    segments = [run.commits[index] for index in sorted(run.commits)]
    times = [sample["time"] for commit in segments for sample in commit["samples"]]
    write_array(group, TIME, np.array(times, np.float64))
    grid = zip(AXES, run.points.coordinates, run.points.weights, strict=True)
    for axis, points, weights in grid:
        write_array(group, axis, points)
        write_array(group, WEIGHTS[axis], weights)
    for name in run.state_arrays:
        path = run.folder.array_path(max(run.commits), name)
        write_array(group, name, np.load(path, allow_pickle=False))
    move_into_place(root, target, trajectory_card(attributes))
