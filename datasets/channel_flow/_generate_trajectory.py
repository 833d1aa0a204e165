"""`generate_trajectory`: its arguments, checked, and what became of earlier calls."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...operators._arguments import require_count, require_flag, shown
from .._names import check_target
from .._optional import require
from ..generation._place import require_place
from ..generation._sizes import check_room
from ..store._trajectory import Trajectory
from ._channel import Channel
from ._saved_state import flow_record, state_record
from ._state import State
from ._trajectory_run import TrajectoryRun

_FORMAT_VERSION = 1
_DTYPES = ("float16", "float32", "float64")


def generate_trajectory(
    flow: Channel,
    state: State,
    num_snapshots: int,
    path: str | os.PathLike[str],
    *,
    interval: int,
    spin_up: int = 0,
    shape: Sequence[int] | None = None,
    dtype: Any = "float32",
    segment_size: int = 50,
    progress: bool = True,
) -> Trajectory:
    """Return a trajectory of filtered velocities, simulated and kept in a folder.

    The folder `path` appears when all is done; until then the run lives in
    `<path>.partial`, and the same call continues it after an interruption. A finished
    trajectory is opened. Segments of snapshots are committed one after the other, each
    with the state at its end, so that a run that was killed publishes the same bytes.
    As for `generate`, these depend on the versions of the packages and on the number of
    threads.

    Args:
        flow: the channel.
        state: to begin with; its statistics are left out.
        num_snapshots: how many.
        path: the folder to write; its name of letters, digits, dot, _ and -.
        interval: steps from one snapshot to the next.
        spin_up: steps before the first snapshot.
        shape: points of the snapshots, as of `Channel.filtered`; by default all cells,
            and the walls.
        dtype: of the snapshots: float16, float32 or float64.
        segment_size: snapshots that are committed together, at least; part of the
            trajectory's identity.
        progress: False for silence; else a bar on a terminal, log lines elsewhere.

    Returns: the snapshots, (times, 3, *shape), and their grid; `final_state` has the
    state at the last one, to go on from.

    Raises:
        TypeError: no channel, or no state.
        ValueError: bad arguments; a state of another grid.
        FloatingPointError: the flow stops being finite; what is committed is kept.
        FileExistsError: `path` holds something else, or a trajectory or a run with
            another configuration; the message lists the differences.
        PermissionError: `path` may not be written.
        BlockingIOError: another process works on the same trajectory.
        OutOfSpaceError: the disk is full, or would be; nothing committed is lost.

    Examples:
        >>> import tempfile
        >>> import jax, krylax as kx
        >>> channel = kx.datasets.channel_flow
        >>> flow = channel.Channel(180, (8, 16, 8))
        >>> state = flow.initial(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trajectory = channel.generate_trajectory(
        ...         flow, state, 3, f"{folder}/channel", interval=2, shape=(4, 9, 4),
        ...         progress=False,
        ...     )
        ...     trajectory["velocity"].shape
        (3, 3, 4, 9, 4)

    Cost: a segment of snapshots in memory; on the disk twice the published size until
    publication, and a state of the flow per segment.
    """
    require("zarr", "data")
    target = check_target(path)
    if not isinstance(flow, Channel):
        raise TypeError(f"flow must be a Channel, got {shown(flow)}")
    flow._require_fitting(state)
    flow.require_finite(state)
    configuration = _configuration(
        flow,
        state,
        spin_up=spin_up,
        interval=interval,
        num_snapshots=num_snapshots,
        shape=shape,
        dtype=dtype,
        segment_size=segment_size,
    )
    require_flag(progress, "progress")
    run = TrajectoryRun(target, flow, state, configuration, progress)
    if not os.path.lexists(target):
        require_place(target)
        check_room(run.snapshot_bytes, configuration["num_snapshots"], target)
        run.finish()
    return run.open()


def _configuration(
    flow: Channel,
    state: State,
    *,
    spin_up: int,
    shape: Sequence[int] | None,
    dtype: Any,
    **counts: int,
) -> dict[str, Any]:
    """Return what decides the bytes, as plain JSON values."""
    for name, value in counts.items():
        require_count(value, name)
    require_count(spin_up, "spin_up", 0)
    nx, ny, nz = flow.grid.shape
    coarse = flow._coarse_shape((nx, ny + 2, nz) if shape is None else shape)
    return {
        "format_version": _FORMAT_VERSION,
        "flow": flow_record(flow),
        "state": state_record(state),
        "spin_up": int(spin_up),
        **{name: int(value) for name, value in counts.items()},
        "shape": list(coarse),
        "dtype": _dtype_name(dtype),
    }


def _dtype_name(dtype: Any) -> str:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    return name
