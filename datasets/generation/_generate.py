"""Generates a data set: plan, order, solve in segments, commit, publish.

A run can be killed at any moment and continued by the same call; any number of
workers, and any number of interruptions, publish the same bytes.
"""

import os
from pathlib import Path
from typing import Any, Literal
from warnings import warn

import numpy as np

from .._names import check_name, check_target, working_path
from .._optional import require
from ..families._family import AbstractFamily, check_choice, require_family
from ..store._dataset import Dataset, open_dataset
from ..store._describe import failures
from ..store._record import record
from ..store._working_folder import has_commits, holds_run, stored_configuration
from ._configuration import configuration
from ._failures import FailedSamplesWarning, all_failed
from ._method_request import MethodRequest
from ._order import ORDERINGS, Ordering
from ._place import require_place
from ._run import Run
from ._same_run import opened, refuse_other
from ._shared_start import SharedStart
from ._sizes import check_disk, check_memory
from ._solve_segment import Work

# Numbers of samples are kept in int64.
_MOST = 2**62


def generate(
    family: AbstractFamily,
    num_samples: int,
    path: str | os.PathLike[str],
    solver: Any = None,
    *,
    preconditioner: Any = "default",
    start: SharedStart | Literal["default"] | None = "default",
    recycle: Literal["default", "chain", "frozen"] = "default",
    rtol: float | None = None,
    ordering: Ordering = "greedy",
    segment_size: int = 128,
    num_workers: int = 1,
    resume: bool = True,
    allow_failures: bool = False,
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
    is at most solver.rtol; otherwise its solution is NaN, its id is listed, and a
    `FailedSamplesWarning` says so. If all samples failed, nothing is published. In 32
    bits a sample is good too if its residual is `attained`, that is rounding; for
    smaller ones make the family in float64, with
    `Refinement(CG(rtol=1e-4), rtol=1e-8)` if the iterations are to stay in 32 bits.

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
        rtol: tolerance for the plan, None for 1e-8, and in 32 bits 1e-5; a given solver
            has its own.
        ordering: greedy (nearest neighbour), two_opt (greedy, then improved), hilbert
            (curve), kd (tree), or none (by id).
        segment_size: systems that recycle from one another; part of the data set's
            identity, as each segment begins with the space of the family's mean.
        num_workers: processes; more than 1 need the calling script's
            `if __name__ == "__main__":` guard, as multiprocessing does.
        resume: False refuses to continue an interrupted run.
        allow_failures: True publishes whatever failed, and without a warning.
        progress: False for silence; else a bar on a terminal, log lines elsewhere.

    Raises:
        TypeError: no family.
        ValueError: bad arguments, more than fits into the memory, or float64 while
            `jax_enable_x64` is off.
        FileExistsError: `path` holds something else, or a data set or run with
            another configuration; the message lists the differences. There is a file
            where a folder above it would be.
        PermissionError: `path` may not be written.
        BlockingIOError: another process works on the same data set.
        OutOfSpaceError: the disk is full, or would be; nothing committed is lost.
        RuntimeError: a worker process died, or every sample failed; nothing committed
            is lost.

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
    require_family(family)
    _check(num_samples, ordering, segment_size, num_workers)
    request = MethodRequest(solver, preconditioner, start, recycle, rtol)
    is_published = os.path.lexists(target)
    if is_published:
        stored = opened(open_dataset, target).configuration
    else:
        require_place(target)
        stored = stored_configuration(working_path(target))
        _refuse_to_resume(target, resume)
        check_disk(family, num_samples, target)
        check_memory(
            family,
            num_samples,
            ordering=ordering,
            segment_size=segment_size,
            num_workers=num_workers,
        )
    _refuse_earlier(target if is_published else working_path(target), family, stored)
    if solver is None and (is_published or has_commits(working_path(target))):
        # Before a plan is made, which takes a while.
        asked = {
            "family": record(family),
            "num_samples": int(num_samples),
            "ordering": ordering,
            "segment_size": int(segment_size),
        }
        _refuse_different(
            target if is_published else working_path(target), asked, stored
        )
    method = request.method(family, stored, announce=progress)
    settings = configuration(
        family, num_samples, method, ordering=ordering, segment_size=segment_size
    )
    run = Run(
        target, Work(family, method), settings, num_workers, progress, allow_failures
    )
    if not is_published:
        _check_family(family)
        run.finish()
    dataset = run.open()
    if dataset.failed and not allow_failures:
        _complain(dataset)
    return dataset


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
        if not integer or not 1 <= value <= _MOST:
            raise ValueError(
                f"{name} must be a positive integer of at most {_MOST}, got {value!r}"
            )
    check_choice(ordering, ORDERINGS, "ordering")


def _check_family(family: AbstractFamily) -> None:
    for name in [*family.array_types(), *family.coordinates()]:
        check_name(name, "the name of an array")
    # Fails here, not in a worker, when float64 is off or the system is not valid.
    family.system(family.sample(0))


def _complain(dataset: Dataset) -> None:
    if len(dataset.failed) == len(dataset):
        raise RuntimeError(all_failed(dataset.path, failures(dataset)))
    warn(
        f"{len(dataset.failed)} of {len(dataset)} samples of {dataset.path} failed and "
        f"have no solution ({failures(dataset)}); allow_failures=True "
        "(--allow-failures) accepts that",
        FailedSamplesWarning,
        stacklevel=3,
    )


def _refuse_earlier(
    place: Path, family: AbstractFamily, stored: dict[str, Any] | None
) -> None:
    """Refuse what an earlier krylax made of a family whose systems were others."""
    if stored is None or stored.get("family", {}).get("type") != type(family).__name__:
        return
    theirs, ours = stored["format_version"], family.format_version
    if theirs != ours:
        raise FileExistsError(
            f"{place} has format {theirs}, in which the samples of {family.name} are "
            f"other systems than in format {ours}: what is published can be opened, "
            "verified and read, but neither continued nor made again; choose another "
            "path, or delete it if it is not needed"
        )


def _refuse_different(
    place: Path, asked: dict[str, Any], stored: dict[str, Any] | None
) -> None:
    """Refuse what differs whatever the method is."""
    if stored is not None and {**stored, **asked} != stored:
        refuse_other(place, stored, {**stored, **asked})


def _refuse_to_resume(target: Path, resume: bool) -> None:
    partial = working_path(target)
    if not resume and holds_run(partial):
        raise FileExistsError(
            f"{partial} holds an interrupted run: continue it with resume=True "
            f"(--resume), or delete that folder"
        )
