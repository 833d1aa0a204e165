"""What a data set will cost, before it is generated."""

import shutil
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ._family import AbstractFamily
from ._segment import default_preconditioner, default_solver
from ._space import published_bytes, sample_bytes

# One for the compilation without and one for that with a recycle space; three timed.
_WARM_UP = 2
_TIMED = 3


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
    preconditioner: Any = "default",
) -> Estimate:
    """Return the expected cost of a data set, by solving its first five systems.

    Args:
        family: the problem family.
        num_samples: how many samples.
        path: where it would be written.
        solver: as for `generate`.
        preconditioner: as for `generate`.
    """
    # The module must import without JAX, for a quick --help.
    from ..solvers.sequences import solve_sequence

    if isinstance(preconditioner, str):
        preconditioner = default_preconditioner()
    systems = (family.system(family.sample(i)) for i in range(_WARM_UP + _TIMED))
    solutions = solve_sequence(
        systems,
        default_solver() if solver is None else solver,
        preconditioner=preconditioner,
    )
    for solution in islice(solutions, _WARM_UP):
        solution.value.block_until_ready()
    start = time.perf_counter()
    for solution in solutions:
        solution.value.block_until_ready()
    seconds = (time.perf_counter() - start) / _TIMED
    published = published_bytes(family, num_samples)
    return Estimate(
        published_bytes=published,
        peak_bytes=published + num_samples * sample_bytes(family),
        free_bytes=shutil.disk_usage(_existing(path)).free,
        milliseconds_per_system=1e3 * seconds,
        seconds=num_samples * seconds,
    )


def _existing(path: Path) -> Path:
    candidates = [path.absolute(), *path.absolute().parents]
    return next(folder for folder in candidates if folder.exists())
