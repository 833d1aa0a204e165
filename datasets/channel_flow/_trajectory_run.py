"""A run of a channel: snapshots in segments that are committed, each with its state.

A segment begins with the state at the end of the one before, so that a run that was
killed goes on to the same bytes, and counts only if all before it do.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._names import working_path
from ..generation._progress import Progress
from ..generation._progress import progress as progress_display
from ..generation._same_run import (
    opened,
    refuse_other,
    remove_leftovers,
    require_same_run,
)
from ..store._commits import SNAPSHOT
from ..store._publish_trajectory import (
    FinishedTrajectory,
    Points,
    publish_trajectory,
)
from ..store._record import configuration_hash
from ..store._segments import Segment, Solved, cut
from ..store._space import check_free, is_out_of_space, out_of_space, published_bytes
from ..store._trajectory import VELOCITY, Trajectory, open_trajectory
from ..store._working_folder import WorkingFolder
from ._channel import Channel
from ._saved_state import state_arrays, state_names, state_of_arrays
from ._state import State


@dataclass
class TrajectoryRun:
    """The run that makes one trajectory.

    Attributes:
        target: the folder to publish.
        flow: the channel.
        state: at the start.
        configuration: what decides the bytes.
        progress: whether to show it.
        commits: the commit record of every segment that is simulated.
    """

    target: Path
    flow: Channel
    state: State
    configuration: dict[str, Any]
    progress: bool
    commits: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def snapshot_bytes(self) -> int:
        """Of a snapshot, with its share of the state that is kept with a segment."""
        shape, dtype = self.configuration["shape"], self.configuration["dtype"]
        kept = sum(values.nbytes for values in self.state.velocity)
        size = min(self.configuration["segment_size"], self._num_snapshots)
        return 3 * int(np.prod(shape)) * np.dtype(dtype).itemsize + kept // size + 1

    def open(self) -> Trajectory:
        """Return the published trajectory.

        Raises:
            FileExistsError: it has another configuration.
        """
        trajectory = opened(open_trajectory, self.target)
        if trajectory.configuration != self.configuration:
            refuse_other(self.target, trajectory.configuration, self.configuration)
        remove_leftovers(working_path(self.target), self.configuration)
        return trajectory

    def finish(self) -> None:
        """Simulate what is not committed, and publish.

        Raises:
            FileExistsError: a run with another configuration is kept in its place.
            BlockingIOError: another process works on the same trajectory.
            OutOfSpaceError: the disk is full.
            FloatingPointError: the flow is no longer finite.
        """
        partial = working_path(self.target)
        try:
            with WorkingFolder(partial) as folder:
                # Another process may have published before we had the lock.
                if not os.path.lexists(self.target):
                    segments = self._recover(folder)
                    self._simulate(folder, segments)
                    self._publish(folder)
        except OSError as error:
            if not is_out_of_space(error):
                raise
            raise self._out_of_space(partial) from error
        except FloatingPointError as error:
            raise FloatingPointError(
                f"{error}; {self._committed()} of {self._num_snapshots} snapshots are "
                f"committed in {partial}, and another dt or dtype needs another path"
            ) from error

    def _recover(self, folder: WorkingFolder) -> list[Segment]:
        order = np.arange(self._num_snapshots)
        if require_same_run(folder, self.configuration) != self.configuration:
            folder.begin(self.configuration, order)
        segments = cut(order, self.configuration["segment_size"])
        digest = configuration_hash(self.configuration)
        names = [VELOCITY, *state_names()]
        self.commits = folder.recover(digest, segments, names, SNAPSHOT, is_chain=True)
        return segments

    def _simulate(self, folder: WorkingFolder, segments: list[Segment]) -> None:
        committed = len(self.commits)
        if committed == len(segments):
            return
        state = self._state_after(folder, committed)
        digest = configuration_hash(self.configuration)
        display = progress_display(
            self._num_snapshots, self._committed(), self.progress, "snapshots", "taken"
        )
        try:
            for segment in segments[committed:]:
                self._require_room(2 * self.snapshot_bytes * len(segment.ids))
                solved, state = self._simulated(segment, state, display)
                self.commits[segment.index] = folder.commit(solved, digest)
        finally:
            display.close()

    def _state_after(self, folder: WorkingFolder, committed: int) -> State:
        if not committed:
            return self.state

        def read(name: str) -> np.ndarray:
            path = folder.array_path(committed - 1, name)
            return np.load(path, allow_pickle=False)

        return state_of_arrays(read)

    def _simulated(
        self, segment: Segment, state: State, display: Progress
    ) -> tuple[Solved, State]:
        settings, flow = self.configuration, self.flow
        kept, records = [], []
        for index in segment.ids:
            begin = time.perf_counter()
            if index:
                state = flow.run(state, settings["interval"])
            else:
                state = flow.restarted(flow.run(state, settings["spin_up"]))
            found = flow.filtered(state, settings["shape"])
            kept.append(_rounded(np.asarray(found), settings["dtype"]))
            state, now = self._timed(state, index)
            seconds = round(time.perf_counter() - begin, 6)
            records.append({"time": now, "wall_seconds": seconds})
            display.update(1)
        arrays = {VELOCITY: np.stack(kept), **state_arrays(state)}
        return Solved(segment, arrays, records), state

    def _timed(self, state: State, index: int) -> tuple[State, float]:
        """The state at the time of a snapshot, which is that of so many steps.

        A sum of steps in float32 is off by up to a hundredth of them.
        """
        settings = self.configuration
        num_steps = settings["spin_up"] + index * settings["interval"]
        now = float(self.state.time) + num_steps * float(self.flow.dt)
        rounded = jnp.asarray(now, state.time.dtype)
        return eqx.tree_at(lambda s: s.time, state, rounded), now

    def _publish(self, folder: WorkingFolder) -> None:
        self._require_room(published_bytes(self.snapshot_bytes, self._num_snapshots))
        at = self.flow.filtered_grid(self.configuration["shape"])
        run = FinishedTrajectory(
            folder=folder,
            configuration=self.configuration,
            commits=self.commits,
            points=Points((at.x, at.y, at.z), at.weights, at.lengths),
            state_arrays=state_names(),
            card=_card(self.flow),
        )
        publish_trajectory(run, self.target)

    def _require_room(self, needed: int) -> None:
        check_free(self.target.parent, needed)

    def _out_of_space(self, partial: Path) -> OSError:
        committed, each = self._committed(), self.snapshot_bytes
        rest = (self._num_snapshots - committed) * each
        needed = rest + published_bytes(each, self._num_snapshots)
        return out_of_space(partial, committed, self._num_snapshots, needed)

    def _committed(self) -> int:
        return sum(len(commit["ids"]) for commit in self.commits.values())

    @property
    def _num_snapshots(self) -> int:
        return self.configuration["num_snapshots"]


def _rounded(snapshot: np.ndarray, dtype: str) -> np.ndarray:
    """A snapshot in the dtype that is kept.

    Raises:
        FloatingPointError: it holds numbers beyond it.
    """
    with np.errstate(over="ignore"):
        kept = snapshot.astype(dtype)
    if not np.all(np.isfinite(kept)):
        raise FloatingPointError(
            f"a snapshot has velocities to {np.max(np.abs(snapshot)):.3g}, beyond what "
            f"{dtype} holds"
        )
    return kept


def _card(flow: Channel) -> dict[str, str]:
    re_tau = 1 / float(flow.viscosity)
    Lx, Ly, Lz = flow.grid.lengths
    nx, ny, nz = flow.grid.shape
    return {
        "title": f"turbulent channel flow, Re_tau = {re_tau:.6g}",
        "equation": "du/dt + div(u u) + grad p = nu lap u + f, div u = 0",
        "domain": f"{Lx:g} x {Ly:g} x {Lz:g} in half the distance of the walls",
        "boundary": "u = 0 at y = 0 and y = 2, periodic in x and z",
        "discretisation": f"second order on a staggered grid of {nx} x {ny} x {nz} "
        "cells, Runge-Kutta of third order; snapshots are means over coarse cells",
    }
