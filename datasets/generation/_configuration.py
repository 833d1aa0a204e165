"""The configuration of a data set: what decides its bytes, and nothing else.

Nothing about the run is in it: not the number of workers, a host, a path or a time.
"""

from typing import Any

from ..families._family import AbstractFamily
from ..store._record import record
from ._solve_method import SolveMethod


def configuration(
    family: AbstractFamily,
    num_samples: int,
    method: SolveMethod,
    *,
    ordering: str,
    segment_size: int,
) -> dict[str, Any]:
    """Return the data set's configuration as plain JSON values."""
    return {
        "format_version": family.format_version,
        "family": record(family),
        "num_samples": int(num_samples),
        **method.record(),
        "ordering": ordering,
        "segment_size": int(segment_size),
    }
