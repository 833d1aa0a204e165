"""Examples from the trajectories of flows that are kept in folders."""

import os
from typing import Any

import numpy as np

from ... import datasets
from ...datasets import Trajectory, open_trajectory
from ...datasets.store._trajectory import AXES, VELOCITY
from ...operators._arguments import shown
from ._data import Data
from ._grid import Grid

COMPONENTS = ("u", "v", "w")
"""Of the velocity, the names of its channels."""


def from_trajectory(
    trajectory: str | os.PathLike[str] | Trajectory,
    *,
    times: Any = slice(None),
    num_frames: int = 1,
    num_targets: int = 1,
) -> Data:
    """Return the windows of a trajectory, frames and targets, and its grid.

    The channels are named u, v and w, those of earlier frames u(t-1), v(t-1), ...

    Args:
        trajectory: the folder of one, or what `open_trajectory` returns.
        times: which snapshots, a slice or a range of numbers that follow each other,
            such as a block of `blocks(range(len(trajectory)), ...)`.
        num_frames: as in `Data.of_trajectories`.
        num_targets: likewise.

    Raises:
        FileNotFoundError: there is none.
        ValueError: times that are not one after the other, or too few of them.

    Examples:
        >>> import tempfile
        >>> import jax, krylax as kx
        >>> from krylax.learned import training
        >>> flow = kx.datasets.channel_flow.Channel(180, (8, 16, 8))
        >>> state = flow.initial(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trajectory = kx.datasets.channel_flow.generate_trajectory(
        ...         flow, state, 6, f"{folder}/channel", interval=2, shape=(4, 9, 4),
        ...         progress=False,
        ...     )
        ...     training.from_trajectory(trajectory, times=slice(0, 4))
        Data(3 samples: inputs (3, 4, 9, 4), outputs (3, 4, 9, 4))
    """
    if not isinstance(trajectory, Trajectory):
        trajectory = open_trajectory(trajectory)
    # What says how many there are has then been compared with the array.
    num_times = trajectory[VELOCITY].shape[0]
    try:
        found = np.arange(num_times)[times]
    except IndexError:
        found = np.zeros(0)
    if found.ndim != 1 or not len(found) or np.any(np.diff(found) != 1):
        raise ValueError(
            "times must be snapshots that follow each other, such as slice(0, "
            f"{num_times}), got {shown(times)}"
        )
    fields = trajectory.read(VELOCITY, slice(int(found[0]), int(found[-1]) + 1))
    data = Data.of_trajectories(
        fields[None], num_frames=num_frames, num_targets=num_targets
    )
    data.input_names = tuple(
        f"{name}(t-{age})" if age else name
        for age in range(num_frames - 1, -1, -1)
        for name in COMPONENTS
    )
    data.output_names = COMPONENTS
    data.grid = Grid.of_channel(_points(trajectory))
    return data


def _points(trajectory: Trajectory) -> Any:
    x, y, z = (trajectory.coordinates[axis] for axis in AXES)
    along_x, along_y, along_z = (trajectory.weights[axis] for axis in AXES)
    Lx, Ly, Lz = trajectory.lengths
    weights = along_x, along_y, along_z
    return datasets.channel_flow.FilteredGrid(x, y, z, weights, (Lx, Ly, Lz))
