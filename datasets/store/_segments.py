"""A segment: the piece of the solve order that is solved, kept and retried as one.

Its cuts are part of a data set's configuration and never of the number of workers: any
number of workers, and a resumed run, compute the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Int

from ..families._family import AbstractFamily, is_single

# Of `solvers.Status`, which is not imported, as it would import JAX.
CONVERGED, ATTAINED = 0, 9
_RECORDED_PACKAGES = ("krylax", "jax", "jaxlib", "numpy", "scipy", "zarr")


@dataclass(frozen=True)
class Segment:
    """A piece of the sorted order: unit of recycling, work, file, commit and retry.

    Attributes:
        index: its place in the order, from 0.
        ids: the samples to solve, in this order.
    """

    index: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Solved:
    """A solved segment.

    Attributes:
        segment: which one.
        arrays: per name (parameters, solution) the samples in the segment's order;
            the solution of a failed sample is NaN.
        records: per sample status, num_steps, num_matvecs, relative_residual and
            attainable (None when they are not finite), wall_seconds.
    """

    segment: Segment
    arrays: dict[str, np.ndarray]
    records: list[dict[str, Any]]


def cut(order: Int[np.ndarray, " samples"], segment_size: int) -> list[Segment]:
    """Return the order cut into segments of `segment_size`, the last one shorter."""
    starts = range(0, len(order), segment_size)
    pieces = [order[start : start + segment_size].tolist() for start in starts]
    return [Segment(index, tuple(ids)) for index, ids in enumerate(pieces)]


@dataclass(frozen=True)
class Criterion:
    """When a sample may be published.

    Attributes:
        rtol: largest true relative residual of a sample that converged.
        takes_attained: whether a residual at rounding level is enough too. It is in 32
            bits: rounding the exact solution to them leaves a residual of that size.
    """

    rtol: float
    takes_attained: bool

    @classmethod
    def of(cls, family: AbstractFamily, rtol: float) -> "Criterion":
        """Return that of a family's data set."""
        return cls(rtol, is_single(family))

    def is_met(self, entry: dict[str, Any]) -> bool:
        """Return whether the sample with this record may be published."""
        residual = entry["relative_residual"]
        if residual is None:
            return False
        if entry["status"] == CONVERGED:
            return residual <= self.rtol
        if entry["status"] != ATTAINED or not self.takes_attained:
            return False
        return entry["attainable"] is not None and residual <= entry["attainable"]


# Reading the versions takes as long as solving a segment of small systems.
@lru_cache(maxsize=1)
def versions() -> Mapping[str, str]:
    """Return the versions of the packages that decide a data set's bytes."""
    return {name: version(name) for name in _RECORDED_PACKAGES}
