"""Generates a data set: plan, order, solve in segments, commit, publish.

A run can be killed at any moment and continued by the same call; any number of
workers, and any number of interruptions, publish the same bytes.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from .._names import check_name, check_target, working_path
from .._optional import require
from ..families._family import AbstractFamily, check_choice
from ..store._dataset import Dataset, open_dataset
from ..store._publish import Finished, publish
from ..store._record import configuration_hash, differences, record, record_text
from ..store._segments import Segment, cut
from ..store._space import (
    check_free,
    is_out_of_space,
    out_of_space,
    published_bytes,
    sample_bytes,
)
from ..store._working_folder import (
    WorkingFolder,
    is_working_folder,
    stored_configuration,
)
from ._configuration import configuration, method_from_record
from ._order import ORDERINGS, Ordering, solve_order
from ._plan import plan
from ._progress import progress as progress_display
from ._shared_start import SharedStart
from ._solve_segment import Work
from ._workers import solve_all


def generate(
    family: AbstractFamily,
    num_samples: int,
    path: str | os.PathLike[str],
    solver: Any = None,
    *,
    preconditioner: Any = "default",
    start: SharedStart | Literal["default"] | None = "default",
    recycle: Literal["default", "chain", "frozen"] = "default",
    rtol: float = 1e-8,
    ordering: Ordering = "greedy",
    segment_size: int = 128,
    num_workers: int = 1,
    resume: bool = True,
    progress: bool = True,
) -> Dataset:
    """Return the data set of the family's samples 0 to num_samples - 1.

    Solved in order of similarity, recycling within a segment, and published in id
    order with each sample's status, steps and true residual. The folder `path`
    appears when all is done; until then the run lives in `<path>.partial`, and the
    same call continues it after an interruption. A finished data set is opened.

    The bytes do not depend on the number of workers or on interruptions. They do
    depend on the versions of the packages and, in their last bits, on how many threads
    this process gives to JAX and BLAS: continue a run with as many cores as it began
    with, or set NPROC=1 and OPENBLAS_NUM_THREADS=1 as the command line does.

    A sample is published as good only if it converged and its true relative residual
    is at most solver.rtol; otherwise its solution is NaN and its id is listed.

    Args:
        family: the problem family, such as `Darcy()`.
        num_samples: how many samples, at least 1.
        path: the folder to write; its name of letters, digits, dot, _ and -.
        solver: a krylax solver. None for that of `plan`, which tries a few; an
            interrupted run, and a finished data set, keep theirs.
        preconditioner: an operator, a factory, a `SharedPreconditioner`, or None;
            "default" is that of the plan, or Jacobi() for a given solver.
        start: a `SharedStart`, or None for zero; "default" is that of the plan, or zero
            for a given solver.
        recycle: "chain" hands what a system taught to the next one of its segment;
            "frozen" starts every system from the space of the family's mean, so that
            neither order nor segments matter; "default" is that of the plan, or chain.
        rtol: tolerance for the plan; a given solver has its own.
        ordering: greedy (nearest neighbour), two_opt (greedy, then improved), hilbert
            (curve), kd (tree), or none (by id).
        segment_size: systems that recycle from one another; part of the data set's
            identity, as each segment begins with the space of the family's mean.
        num_workers: processes; more than 1 need the calling script's
            `if __name__ == "__main__":` guard, as multiprocessing does.
        resume: False refuses to continue an interrupted run.
        progress: False for silence; else a bar on a terminal, log lines elsewhere.

    Raises:
        ValueError: bad arguments, or float64 while `jax_enable_x64` is off.
        FileExistsError: `path` holds something else, or a data set or run with
            another configuration; the message lists the differences.
        BlockingIOError: another process works on the same data set.
        OutOfSpaceError: the disk is full; nothing committed is lost.
        RuntimeError: a worker process died; nothing committed is lost.

    Examples:
        >>> import tempfile
        >>> import jax
        >>> jax.config.update("jax_enable_x64", True)
        >>> from krylax.datasets import Darcy, generate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     darcy = Darcy(num_points=(8, 8))
        ...     dataset = generate(darcy, 2, f"{folder}/darcy8", progress=False)
        ...     dataset["solution"].shape
        (2, 8, 8)

    Cost:
        Disk: twice the published size until publication, as segments are kept.
    """
    require("zarr", "data")
    target = check_target(path)
    _check(num_samples, ordering, segment_size, num_workers)
    check_choice(recycle, ("default", "chain", "frozen"), "recycle")
    stored = stored_configuration(working_path(target))
    if os.path.lexists(target):
        stored = open_dataset(target).configuration
    work = _work(family, solver, preconditioner, start, recycle, rtol, stored, progress)
    run = _Run(
        target,
        work,
        configuration(
            family,
            num_samples,
            work.solver,
            work.preconditioner,
            start=work.start,
            recycle=work.recycle,
            ordering=ordering,
            segment_size=segment_size,
        ),
        num_workers,
        progress,
    )
    if not os.path.lexists(target):
        _refuse_to_resume(target, resume)
        _check_family(family)
        run.finish()
    return run.open()


@dataclass
class _Run:
    target: Path
    work: Work
    configuration: dict[str, Any]
    num_workers: int
    progress: bool
    commits: dict[int, dict[str, Any]] = field(default_factory=dict)

    def open(self) -> Dataset:
        dataset = open_dataset(self.target)
        dataset.milliseconds_per_system = self._milliseconds()
        _refuse_other(self.target, dataset.configuration, self.configuration)
        _remove_leftovers(working_path(self.target), self.configuration)
        return dataset

    def finish(self) -> None:
        try:
            with WorkingFolder(working_path(self.target)) as folder:
                self._finish(folder)
        except OSError as error:
            if not is_out_of_space(error):
                raise
            raise self._out_of_space() from error
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"a worker process died (killed, out of memory, or a script without "
                f'an `if __name__ == "__main__":` guard); {self._committed()} of '
                f"{self.configuration['num_samples']} samples are committed: the same "
                f"call continues"
            ) from error

    def _finish(self, folder: WorkingFolder) -> None:
        # Another process may have published between our look and our lock.
        if not os.path.lexists(self.target):
            order = self._order(folder)
            self._solve(folder, order)
            self._publish(folder, order)

    def _order(self, folder: WorkingFolder) -> Int[np.ndarray, " samples"]:
        digest = configuration_hash(self.configuration)
        stored = folder.configuration()
        if stored is not None and folder.has_commits():
            _refuse_other(folder.path, stored, self.configuration)
        if stored != self.configuration:
            settings = self.configuration
            order = solve_order(
                self.work.family, settings["num_samples"], settings["ordering"]
            )
            folder.begin(self.configuration, order)
        self.commits = folder.recover(digest)
        return folder.order()

    def _solve(self, folder: WorkingFolder, order: Int[np.ndarray, " samples"]) -> None:
        segments = cut(order, self.configuration["segment_size"])
        missing = [s for s in segments if s.index not in self.commits]
        if not missing:
            return
        display = progress_display(len(order), self._committed(), self.progress)
        digest = configuration_hash(self.configuration)
        try:
            for solved in solve_all(
                self.work, self._with_space(missing), self.num_workers, display.update
            ):
                record = folder.commit(solved, digest)
                self.commits[solved.segment.index] = record
        finally:
            display.close()

    def _with_space(self, segments: list[Segment]) -> Iterator[Segment]:
        # Two, as one may be written while the next one is being solved.
        needed = 2 * sample_bytes(self.work.family) * self.configuration["segment_size"]
        for segment in segments:
            check_free(self.target.parent, needed)
            yield segment

    def _publish(
        self, folder: WorkingFolder, order: Int[np.ndarray, " samples"]
    ) -> None:
        family = self.work.family
        check_free(self.target.parent, published_bytes(family, len(order)))
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
            rtol=self.configuration["solver"]["rtol"],
            method=method,
        )
        publish(run, self.target)

    def _out_of_space(self) -> OSError:
        num_samples = self.configuration["num_samples"]
        committed = self._committed()
        family = self.work.family
        rest = (num_samples - committed) * sample_bytes(family)
        needed = rest + published_bytes(family, num_samples)
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


def _check(
    num_samples: int, ordering: str, segment_size: int, num_workers: int
) -> None:
    numbers = {
        "num_samples": num_samples,
        "segment_size": segment_size,
        "num_workers": num_workers,
    }
    for name, value in numbers.items():
        integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not integer or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    check_choice(ordering, ORDERINGS, "ordering")


def _work(
    family: AbstractFamily,
    solver: Any,
    preconditioner: Any,
    start: Any,
    recycle: Any,
    rtol: float,
    stored: dict[str, Any] | None,
    progress: bool,
) -> Work:
    """What is given, what an earlier run chose, or what the plan finds."""
    is_default = isinstance(preconditioner, str)
    if is_default and preconditioner != "default":
        raise ValueError(
            "preconditioner must be an operator, a factory such as "
            f'krylax.solvers.Jacobi(), None or "default", got {preconditioner!r}'
        )
    if isinstance(start, str) and start != "default":
        raise ValueError(
            f'start must be a SharedStart, None or "default", got {start!r}'
        )
    given: dict[str, Any] = {}
    if not isinstance(start, str):
        given["start"] = start
    if recycle != "default":
        given["recycle"] = recycle
    if solver is not None:
        # The module must import without JAX, for a quick --help.
        from ...solvers import Jacobi

        chosen = Jacobi() if is_default else preconditioner
        return Work(family, solver, chosen, **given)
    if is_default and stored is not None and stored["family"] == record(family):
        with suppress(ValueError):
            kept = Work(family, *map(method_from_record, _method_of(stored)))
            return replace(kept, solver=replace(kept.solver, rtol=rtol), **given)
    found = plan(family, rtol=rtol, preconditioner=preconditioner)
    if progress:
        print(f"krylax: {found.reason}", file=sys.stderr, flush=True)
    return replace(found.work, **given)


def _method_of(stored: dict[str, Any]) -> list[Any]:
    return [stored[name] for name in ("solver", "preconditioner", "start", "recycle")]


def _check_family(family: AbstractFamily) -> None:
    for name in [*family.array_types(), *family.coordinates()]:
        check_name(name, "the name of an array")
    # Fails here, not in a worker, when float64 is off or the system is not valid.
    family.system(family.sample(0))


def _refuse_to_resume(target: Path, resume: bool) -> None:
    partial = working_path(target)
    if not resume and stored_configuration(partial) is not None:
        raise FileExistsError(
            f"{partial} holds an interrupted run: continue it with resume=True "
            f"(--resume), or delete that folder"
        )


def _refuse_other(path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    lines = differences(theirs, ours)
    if lines:
        raise FileExistsError(
            f"{path} exists with another configuration (there -> asked for):\n  "
            + "\n  ".join(lines)
            + "\nchoose another path, or delete it if it is not needed"
        )


def _remove_leftovers(partial: Path, configuration: dict[str, Any]) -> None:
    # A run killed between publishing and tidying up leaves its working folder.
    if not is_working_folder(partial):
        return
    if stored_configuration(partial) not in (None, configuration):
        return
    try:
        with WorkingFolder(partial) as folder:
            folder.remove()
    except BlockingIOError:
        # The process that published is tidying up itself.
        return
