"""Runs segments one after another here, or side by side in other processes.

Workers are spawned, never forked (a fork copies JAX's locked threads), receive only
the family, the method and a segment's samples, and send arrays back: this process is
the only one that writes. They see the same environment as this process, so the same
thread limits, on which the last bits of large reductions depend.
"""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import connection, get_context, parent_process
from typing import Any

from ..store._segments import Segment, Solved
from ._draws import Draws
from ._solve_segment import Work, solve_segment

# One segment waits in each worker's queue, so that none idles while we write.
_SEGMENTS_PER_WORKER = 2
# What a worker must share with this process to compute the same numbers.
_SETTINGS = ("jax_enable_x64", "jax_platforms", "jax_default_matmul_precision")


def solve_all(
    work: Work,
    segments: Iterable[Segment],
    draws: Draws,
    num_workers: int,
    on_samples: Callable[[int], None],
) -> Iterator[Solved]:
    """Yield every segment once it is solved, in any order.

    Args:
        work: the family and the method.
        segments: taken one by one, only when a worker is free.
        draws: samples that are drawn already.
        num_workers: 1 solves in this process.
        on_samples: called with the number of samples solved since its last call.
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
    running: set[Future[Solved]] = set()
    with _pool(num_workers) as pool:
        try:
            while True:
                room = num_workers * _SEGMENTS_PER_WORKER - len(running)
                for segment in itertools.islice(segments, room):
                    drawn = draws.take(segment.ids)
                    running.add(pool.submit(solve_segment, work, segment, drawn))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    solved = future.result()
                    on_samples(len(solved.segment.ids))
                    yield solved
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pool(num_workers: int) -> ProcessPoolExecutor:
    # The rest of the generator must import without JAX, for a quick --help.
    import jax

    settings = tuple(jax.config.values[name] for name in _SETTINGS)
    return ProcessPoolExecutor(
        num_workers,
        mp_context=get_context("spawn"),
        initializer=_start_worker,
        initargs=settings,
    )


def _start_worker(*settings: Any) -> None:
    # Ctrl-C reaches the whole process group; workers then end without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Several processes may share one GPU; by default each would take most of it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # See _pool.
    import jax

    for name, value in zip(_SETTINGS, settings, strict=True):
        jax.config.update(name, value)


def _end_with_parent() -> None:
    # A parent that was killed cannot shut its pool down; its workers would wait for
    # ever for the next segment.
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
