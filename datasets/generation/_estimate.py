"""What a data set will cost, before it is generated."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..families._family import AbstractFamily, stacked_samples
from ..store._space import free_bytes, published_bytes, sample_bytes
from ._plan import plan
from ._shared_start import SharedStart
from ._sizes import check_memory
from ._solve_method import SolveMethod
from ._solve_segment import Work, solve_chunk

_TIMED = 16  # a whole chunk


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a data set.

    Attributes:
        published_bytes: size of the finished data set, uncompressed.
        peak_bytes: disk needed while it is generated.
        free_bytes: disk free now.
        milliseconds_per_system: measured on a few systems.
        seconds: for all systems with one worker, sorting and publication aside.
    """

    published_bytes: int
    peak_bytes: int
    free_bytes: int
    milliseconds_per_system: float
    seconds: float


def estimate(
    family: AbstractFamily,
    num_samples: int,
    path: Path,
    solver: Any = None,
    preconditioner: Any = None,
    *,
    start: SharedStart | None = None,
    recycle: Literal["chain", "frozen"] = "chain",
) -> Estimate:
    """Return the expected cost of a data set, by solving its first systems.

    Args:
        family: the problem family.
        num_samples: how many samples.
        path: where it would be written.
        solver: a krylax solver; if None the method is that of `plan`.
        preconditioner: an operator, a factory, or None.
        start: as in `generate`.
        recycle: as in `generate`.

    Raises:
        ValueError: the systems do not fit into the memory.
    """
    check_memory(family)
    given = SolveMethod(solver, preconditioner, start, recycle)
    work = plan(family).work if solver is None else Work(family, given)
    parameters = stacked_samples(family, range(_TIMED))
    # The first call compiles.
    _, carry = solve_chunk(work, parameters, work.first_carry())
    began = time.perf_counter()
    solve_chunk(work, parameters, carry)
    seconds = (time.perf_counter() - began) / _TIMED
    each = sample_bytes(family)
    published = published_bytes(each, num_samples)
    return Estimate(
        published_bytes=published,
        peak_bytes=published + num_samples * each,
        free_bytes=free_bytes(path),
        milliseconds_per_system=1e3 * seconds,
        seconds=num_samples * seconds,
    )
