"""Snapshots of turbulence in the minimal box, filtered to 16 x 33 x 8 points.

One run of `datasets.channel_flow`, 48 x 96 x 32 cells at Re_τ = 180, from the start
field of `validation/channel_flow`; after 3 h/u_τ every 60th step, 11 wall units. It is
a trajectory in the folder, so that it can be stopped and taken up.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from krylax.datasets import channel_flow
from krylax.learned import neural_operators as no
from krylax.learned import training

sys.path.append(str(Path(__file__).parents[1] / "channel_flow"))

from start import read_start

INTERVAL = 60
SHAPE = (16, 33, 8)
NUM_SNAPSHOTS = 900
SPIN_UP = 3.0
"""In h/u_τ."""
GAP = 10
"""Snapshots between blocks: 0.6 h/u_τ, in which the flow passes the box three times."""
FRACTIONS = (0.75, 0.05, 0.2)


def channel(*, is_fast: bool) -> Any:
    """The simulated channel."""
    return channel_flow.preset("180-toy" if is_fast else "180-minimal")


def snapshots(folder: Path, *, is_fast: bool) -> np.ndarray:
    """Return (times, 3, *SHAPE) in float32, simulated as far as they are missing."""
    flow = channel(is_fast=is_fast)
    count, spin_up = (48, 0.05) if is_fast else (NUM_SNAPSHOTS, SPIN_UP)
    trajectory = channel_flow.generate_trajectory(
        flow,
        read_start(flow),
        count,
        folder / "snapshots",
        interval=INTERVAL,
        # The first one is an interval behind the spin-up.
        spin_up=round(spin_up / float(flow.dt)) + INTERVAL,
        shape=SHAPE,
    )
    return trajectory.read("velocity")


def split(fields: np.ndarray) -> tuple[np.ndarray, ...]:
    """Blocks in time for training, the choice of the best model, and the test."""
    gap = GAP if len(fields) > 200 else 1
    return training.blocks(fields, FRACTIONS, gap=gap)


def mean_profile(fields: np.ndarray) -> np.ndarray:
    """The mean profile (3, 1, ny, 1) of snapshots, that of u, even in y."""
    mean = fields[:, 0].mean((0, 1, 3))
    profile = np.zeros((3, 1, len(mean), 1), fields.dtype)
    profile[0, 0, :, 0] = (mean + mean[::-1]) / 2
    return profile


def grid(*, is_fast: bool) -> no.Grid:
    """The points of the snapshots; weights on the walls are zero."""
    return no.Grid.of_channel(channel(is_fast=is_fast).filtered_grid(SHAPE))
