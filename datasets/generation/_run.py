"""A run: from a configuration to a published data set, through a folder of commits."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from .._names import working_path
from ..store._dataset import Dataset, open_dataset
from ..store._describe import failures_text
from ..store._publish import Finished, publish
from ..store._record import configuration_hash, record_text
from ..store._segments import Segment, cut
from ..store._space import (
    check_free,
    is_out_of_space,
    out_of_space,
    published_bytes,
    sample_bytes,
)
from ..store._working_folder import WorkingFolder
from ._draws import Draws
from ._failures import all_failed
from ._order import solve_order
from ._progress import progress as progress_display
from ._same_run import opened, refuse_other, remove_leftovers, require_same_run
from ._solve_segment import Work
from ._workers import WorkerDiedError, solve_all


@dataclass
class Run:
    """The run that makes one data set.

    Attributes:
        target: the folder to publish.
        work: the family and the method.
        configuration: the data set's configuration.
        num_workers: processes that solve.
        progress: whether to show it.
        allow_failures: whether to publish if every sample failed.
        commits: the commit record of every segment that is solved.
    """

    target: Path
    work: Work
    configuration: dict[str, Any]
    num_workers: int
    progress: bool
    allow_failures: bool = False
    commits: dict[int, dict[str, Any]] = field(default_factory=dict)

    def open(self) -> Dataset:
        """Return the published data set.

        Raises:
            FileExistsError: it has another configuration.
        """
        dataset = opened(open_dataset, self.target)
        dataset.milliseconds_per_system = self._milliseconds()
        if dataset.configuration != self.configuration:
            refuse_other(self.target, dataset.configuration, self.configuration)
        remove_leftovers(working_path(self.target), self.configuration)
        return dataset

    def finish(self) -> None:
        """Solve what is not committed, and publish.

        Raises:
            FileExistsError: a run with another configuration is kept in its place.
            BlockingIOError: another process works on the same data set.
            OutOfSpaceError: the disk is full.
            RuntimeError: a worker process died, or every sample failed.
        """
        try:
            with WorkingFolder(working_path(self.target)) as folder:
                self._finish(folder)
        except OSError as error:
            if not is_out_of_space(error):
                raise
            raise self._out_of_space() from error
        except WorkerDiedError as error:
            raise RuntimeError(
                f"a worker process died (killed, out of memory, or a script without "
                f'an `if __name__ == "__main__":` guard); {self._committed()} of '
                f"{self.configuration['num_samples']} samples are committed: the same "
                f"call continues"
            ) from error

    def _finish(self, folder: WorkingFolder) -> None:
        # Another process may have published between our look and our lock.
        if not os.path.lexists(self.target):
            draws = Draws(self.work.family)
            order = self._order(folder, draws)
            self._solve(folder, order, draws)
            self._refuse_failures(folder.path)
            self._publish(folder, order)

    def _order(
        self, folder: WorkingFolder, draws: Draws
    ) -> Int[np.ndarray, " samples"]:
        stored = require_same_run(folder, self.configuration)
        order = folder.order() if stored == self.configuration else None
        if order is None:
            settings = self.configuration
            order = solve_order(draws, settings["num_samples"], settings["ordering"])
            folder.begin(self.configuration, order)
        segments = cut(order, self.configuration["segment_size"])
        names = list(self.work.family.array_types())
        digest = configuration_hash(self.configuration)
        self.commits = folder.recover(digest, segments, names)
        return order

    def _solve(
        self, folder: WorkingFolder, order: Int[np.ndarray, " samples"], draws: Draws
    ) -> None:
        segments = cut(order, self.configuration["segment_size"])
        missing = [s for s in segments if s.index not in self.commits]
        if not missing:
            return
        display = progress_display(len(order), self._committed(), self.progress)
        digest = configuration_hash(self.configuration)
        try:
            solving = solve_all(
                self.work,
                self._while_space_lasts(missing),
                draws,
                self.num_workers,
                display.update,
            )
            # Closed, because a traceback would keep it and its workers.
            with closing(solving):
                for solved in solving:
                    record = folder.commit(solved, digest)
                    self.commits[solved.segment.index] = record
        finally:
            display.close()

    def _refuse_failures(self, folder: Path) -> None:
        # Status names come with the solvers, which import JAX.
        from ...solvers import Status

        pairs = [
            (sample_id, Status(record["status"]).name)
            for commit in self.commits.values()
            for sample_id, record in zip(commit["ids"], commit["samples"], strict=True)
            if not self.work.criterion.is_met(record)
        ]
        if len(pairs) == self._committed() and not self.allow_failures:
            ids, reasons = map(list, zip(*sorted(pairs), strict=True))
            raise RuntimeError(all_failed(folder, failures_text(ids, reasons)))

    def _while_space_lasts(self, segments: list[Segment]) -> Iterator[Segment]:
        # Two, as one may be written while the next one is being solved.
        needed = 2 * sample_bytes(self.work.family) * self.configuration["segment_size"]
        for segment in segments:
            check_free(self.target.parent, needed)
            yield segment

    def _publish(
        self, folder: WorkingFolder, order: Int[np.ndarray, " samples"]
    ) -> None:
        family = self.work.family
        needed = published_bytes(sample_bytes(family), len(order))
        check_free(self.target.parent, needed)
        method = {
            "Solver": record_text(self.configuration["solver"]),
            "Preconditioner": record_text(
                self.configuration["preconditioner"] or "none"
            ),
        }
        run = Finished(
            folder=folder,
            family=family,
            configuration=self.configuration,
            order=order,
            commits=self.commits,
            criterion=self.work.criterion,
            method=method,
        )
        publish(run, self.target)

    def _out_of_space(self) -> OSError:
        num_samples = self.configuration["num_samples"]
        committed = self._committed()
        each = sample_bytes(self.work.family)
        rest = (num_samples - committed) * each
        needed = rest + published_bytes(each, num_samples)
        folder = working_path(self.target)
        return out_of_space(folder, committed, num_samples, needed)

    def _committed(self) -> int:
        return sum(len(commit["ids"]) for commit in self.commits.values())

    def _milliseconds(self) -> float | None:
        samples = [s for commit in self.commits.values() for s in commit["samples"]]
        if not samples:
            return None
        # The median leaves out the compilation in the first chunk of a process.
        return 1e3 * float(np.median([sample["wall_seconds"] for sample in samples]))
