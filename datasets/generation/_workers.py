"""Runs segments one after another here, or side by side in other processes.

Workers are spawned, never forked (a fork copies JAX's locked threads), receive only
the family, the method and a segment's samples, and send arrays back: this process is
the only one that writes. They see the same environment as this process, so the same
thread limits, on which the last bits of large reductions depend.

Each has one pipe. The pools of the standard library have semaphores too, which stay
behind in the system when this process is killed.
"""

import itertools
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from typing import Any

from ..store._segments import Segment, Solved
from ._draws import Draws
from ._solve_segment import Work, solve_segment

# What a worker must share with this process to compute the same numbers.
_SETTINGS = ("jax_enable_x64", "jax_platforms", "jax_default_matmul_precision")
# They are for this process, which ends its workers.
_KEPT_FROM_WORKERS = (signal.SIGINT, signal.SIGTERM)


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer."""


def solve_all(
    work: Work,
    segments: Iterable[Segment],
    draws: Draws,
    num_workers: int,
    on_samples: Callable[[int], None],
) -> Generator[Solved, None, None]:
    """Yield every segment once it is solved, in any order.

    Args:
        work: the family and the method.
        segments: taken one by one, only when a worker is free.
        draws: samples that are drawn already.
        num_workers: 1 solves in this process.
        on_samples: called with the number of samples solved since its last call.

    Raises:
        WorkerDiedError: a worker was killed, or did not come up.
    """
    if num_workers > 1:
        yield from _solve_pooled(work, iter(segments), draws, num_workers, on_samples)
        return
    for segment in segments:
        yield solve_segment(work, segment, draws.take(segment.ids), on_samples)


def _solve_pooled(
    work: Work,
    segments: Iterator[Segment],
    draws: Draws,
    num_workers: int,
    on_samples: Callable[[int], None],
) -> Iterator[Solved]:
    first = list(itertools.islice(segments, num_workers))
    workers: list[_Worker] = []
    try:
        # All at once, as each of them takes seconds to come up.
        for _ in first:
            workers.append(_started(work))
        busy = {}
        for worker, segment in zip(workers, first, strict=True):
            worker.send(segment, draws.take(segment.ids))
            busy[worker.pipe] = worker
        while busy:
            for pipe in connection.wait(list(busy)):
                worker = busy.pop(pipe)
                solved = worker.receive()
                # Before the answer is written, so that none idles meanwhile.
                for segment in itertools.islice(segments, 1):
                    worker.send(segment, draws.take(segment.ids))
                    busy[pipe] = worker
                on_samples(len(solved.segment.ids))
                yield solved
    finally:
        for worker in workers:
            worker.end()


@dataclass(frozen=True)
class _Worker:
    """A process that solves segments, and the pipe to it."""

    process: Any
    pipe: Any

    def send(self, segment: Segment, drawn: Any) -> None:
        try:
            self.pipe.send((segment, drawn))
        except OSError as error:
            raise WorkerDiedError(str(error)) from error

    def receive(self) -> Solved:
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(str(error)) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self) -> None:
        # It holds nothing that would be lost.
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _started(work: Work) -> _Worker:
    # The rest of the generator must import without JAX, for a quick --help.
    import jax

    settings = tuple(jax.config.values[name] for name in _SETTINGS)
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, settings), daemon=True)
    # Ctrl-C reaches the whole process group, also before a worker could ignore it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _KEPT_FROM_WORKERS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Any, work: Work, settings: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Several processes may share one GPU; by default each would take most of it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # See _started.
    import jax

    for name, value in zip(_SETTINGS, settings, strict=True):
        jax.config.update(name, value)
    while True:
        segment, drawn = pipe.recv()
        try:
            answer = solve_segment(work, segment, drawn)
        except Exception as error:  # it is raised where it can be read
            answer = _portable(error)
        pipe.send(answer)


def _portable(error: Exception) -> Exception:
    """Return an error that survives the pipe, with where it was raised as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    # A parent that was killed cannot end its workers; they would wait for ever for the
    # next segment.
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
