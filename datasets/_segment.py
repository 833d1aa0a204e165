"""Solves one segment: from sample numbers to arrays and a record per sample.

The one place of the generator that runs JAX.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from ._family import AbstractFamily
from ._plan import Segment

_RECORDED_PACKAGES = ("krylax", "jax", "jaxlib", "numpy", "scipy", "zarr")


@dataclass(frozen=True)
class Work:
    """What is the same for every segment of a run.

    Attributes:
        family: the problem family.
        solver: a krylax solver.
        preconditioner: an operator, a factory, or None.
    """

    family: AbstractFamily
    solver: Any
    preconditioner: Any


@dataclass(frozen=True)
class Solved:
    """A solved segment.

    Attributes:
        segment: which one.
        arrays: per name (parameters, solution) the samples in the segment's order;
            the solution of a failed sample is NaN.
        records: per sample status, num_steps, num_matvecs, relative_residual (None
            when it is not finite), wall_seconds.
    """

    segment: Segment
    arrays: dict[str, np.ndarray]
    records: list[dict[str, Any]]


def solve_segment(
    work: Work, segment: Segment, on_sample: Callable[[], None] | None = None
) -> Solved:
    """Return the solved segment, from a cold recycle space.

    Args:
        work: family, solver and preconditioner.
        segment: the samples, in solve order.
        on_sample: called after each sample, for a progress bar.
    """
    # The rest of the generator must import without JAX, for a quick --help.
    from ..solvers.sequences import solve_sequence

    family = work.family
    parameters = [family.sample(sample_id) for sample_id in segment.ids]
    systems = (family.system(entry) for entry in parameters)
    solutions, records = [], []
    start = time.perf_counter()
    for solution in solve_sequence(
        systems, work.solver, preconditioner=work.preconditioner
    ):
        entry = _record(solution)
        now = time.perf_counter()
        records.append({**entry, "wall_seconds": round(now - start, 6)})
        start = now
        solutions.append(_value_or_nan(family, solution, entry, work.solver.rtol))
        if on_sample is not None:
            on_sample()
    arrays = {name: np.stack([p[name] for p in parameters]) for name in parameters[0]}
    return Solved(segment, {**arrays, "solution": np.stack(solutions)}, records)


def is_good(entry: dict[str, Any], rtol: float) -> bool:
    """Return whether a sample may be published: converged, with a true residual."""
    residual = entry["relative_residual"]
    return entry["status"] == 0 and residual is not None and residual <= rtol


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide a data set's bytes."""
    return {name: version(name) for name in _RECORDED_PACKAGES}


def default_solver() -> Any:
    """Return the solver of a data set for which none is named."""
    # See solve_segment.
    from ..solvers import GCRODR

    return GCRODR(rtol=1e-8, restart=40, num_recycled=20)


def default_preconditioner() -> Any:
    """Return the preconditioner of a data set for which none is named."""
    # See solve_segment.
    from ..solvers import Jacobi

    return Jacobi()


def _record(solution: Any) -> dict[str, Any]:
    stats = solution.stats
    residual = float(stats.relative_residual)
    return {
        "status": int(solution.status),
        "num_steps": int(stats.num_steps),
        "num_matvecs": int(stats.num_matvecs),
        "relative_residual": residual if np.isfinite(residual) else None,
    }


def _value_or_nan(
    family: AbstractFamily, solution: Any, entry: dict[str, Any], rtol: float
) -> np.ndarray:
    example = family.array_types()["solution"]
    if not is_good(entry, rtol):
        return np.full(example.shape, np.nan, example.dtype)
    return np.asarray(solution.value).reshape(example.shape)
