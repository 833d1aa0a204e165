"""Examples from a trajectory in a folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import krylax as kx
from krylax.datasets.store._publish_trajectory import (
    FinishedTrajectory,
    Points,
    publish_trajectory,
)
from krylax.datasets.store._segments import Segment, Solved
from krylax.datasets.store._working_folder import WorkingFolder
from krylax.learned import training

FIELDS = np.random.default_rng(0).random((6, 3, 4, 5, 2), np.float32)
X, Y, Z = np.arange(4) + 0.5, np.array([0.0, 0.1, 1.0, 1.9, 2.0]), np.arange(2) + 0.5
CONFIGURATION: dict[str, Any] = {
    "format_version": 1,
    "flow": {"type": "Channel"},
    "state": {"type": "State", "time": 0.0, "sha256": "0"},
    "spin_up": 0,
    "interval": 1,
    "num_snapshots": 6,
    "shape": [4, 5, 2],
    "dtype": "float32",
    "segment_size": 6,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trajectory of random numbers."""
    target = tmp_path_factory.mktemp("trajectory") / "flow"
    records = [{"time": float(i), "wall_seconds": 0.0} for i in range(6)]
    with WorkingFolder(target.with_name("flow.partial")) as folder:
        solved = Solved(Segment(0, tuple(range(6))), {"velocity": FIELDS}, records)
        commit = folder.commit(solved, "0")
        weights = (np.ones(4), np.array([0, 0.5, 1, 0.5, 0]), np.ones(2))
        run = FinishedTrajectory(
            folder,
            CONFIGURATION,
            {0: commit},
            Points((X, Y, Z), weights, (4.0, 2.0, 2.0)),
            [],
            {"title": "noise", "equation": "none"},
        )
        publish_trajectory(run, target)
    return target


def test_windows_are_those_of_the_fields(path: Path):
    data = training.from_trajectory(path, num_frames=2, num_targets=2)
    assert len(data) == 3
    assert data.input_names == ("u(t-1)", "v(t-1)", "w(t-1)", "u", "v", "w")
    assert data.output_names == ("u", "v", "w")
    assert np.array_equal(data.inputs[1], FIELDS[1:3].reshape(6, 4, 5, 2))
    assert np.array_equal(data.outputs[1], FIELDS[3:5])


def test_grid_is_periodic_along_the_walls_and_has_no_weight_on_them(path: Path):
    grid = training.from_trajectory(path).grid
    assert grid is not None
    assert grid.periodic == (True, False, True)
    assert [float(length) for length in grid.lengths] == [4.0, 2.0, 2.0]
    assert np.array_equal(grid.coordinates[1], Y)
    assert np.asarray(grid.weights[1]).tolist() == [0, 0.5, 1, 0.5, 0]


def test_blocks_in_time_are_kept_apart(path: Path):
    trajectory = kx.datasets.open_trajectory(path)
    past, later = training.blocks(range(len(trajectory)), (0.4, 0.6), gap=1)
    with pytest.raises(TypeError, match=r"got a Trajectory, .* range\(len\(trajectory"):
        training.blocks(trajectory, (0.5, 0.5))
    parts = [training.from_trajectory(trajectory, times=t) for t in (past, later)]
    assert np.array_equal(parts[0].inputs, FIELDS[:1])
    assert np.array_equal(parts[1].inputs, FIELDS[3:5])


@pytest.mark.parametrize(
    "times", [[0, 2, 3], slice(0, 6, 2), slice(6, 9), 3, [6, 7], [0.5], "x"]
)
def test_times_that_do_not_follow_each_other_are_refused(path: Path, times: Any):
    with pytest.raises(ValueError, match="times must be snapshots that follow"):
        training.from_trajectory(path, times=times)


def test_a_trajectory_that_is_too_short_is_refused(path: Path):
    with pytest.raises(ValueError, match="too short for 6 frames and 1 target"):
        training.from_trajectory(path, num_frames=6)
