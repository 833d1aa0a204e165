"""Solves one segment: from sample numbers to arrays and a record per sample.

The one place of the generator that runs JAX.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ..families._family import AbstractFamily, stacked_samples
from ..store._segments import Criterion, Segment, Solved
from ._shared_preconditioner import SharedPreconditioner, mean_parameters
from ._shared_start import SharedStart
from ._solve_method import SolveMethod

# Systems per call of the compiled program: enough that the call costs nothing, few
# enough that a progress bar moves.
CHUNK = 16
_RESIDUALS = ("relative_residual", "attainable")
_STATISTICS: tuple[str, ...] = ("num_steps", "num_matvecs", *_RESIDUALS)


@dataclass(frozen=True)
class Work:
    """What is the same for every segment of a run.

    Attributes:
        family: the problem family.
        method: how its systems are solved.
    """

    family: AbstractFamily
    method: SolveMethod

    @property
    def solver(self) -> Any:
        """That of the method."""
        return self.method.solver

    @property
    def preconditioner(self) -> Any:
        """That of the method."""
        return self.method.preconditioner

    @property
    def start(self) -> SharedStart | None:
        """That of the method."""
        return self.method.start

    @property
    def recycle(self) -> Literal["chain", "frozen"]:
        """That of the method."""
        return self.method.recycle

    @property
    def criterion(self) -> Criterion:
        """When one of its samples may be published."""
        return Criterion.of(self.family, self.solver.rtol)

    def applied_preconditioner(self) -> Any:
        """Return what `solve` gets: an operator, a factory, or None."""
        if isinstance(self.preconditioner, SharedPreconditioner):
            return self.preconditioner.operator(self.family)
        return self.preconditioner

    def applied_start(self) -> Any:
        """Return what `solve_batch` starts from; made once in a process."""
        return "zero" if self.start is None else _galerkin_start(self)

    def first_carry(self) -> Any:
        """Return the space that segments begin with; made once in a process."""
        return _family_space(self) if self.solver.has_carry else None


@dataclass(frozen=True)
class Assembly:
    """A family's `system` as a function that equals that of an equal family.

    Compiled programs are kept by it, and a worker gets a new copy with each segment.
    """

    family: AbstractFamily

    def __call__(self, parameters: dict[str, Any]) -> tuple[Any, Any]:
        """Return (A, b)."""
        return self.family.system(parameters)


def solve_segment(
    work: Work,
    segment: Segment,
    drawn: Mapping[int, Mapping[str, np.ndarray]],
    on_samples: Callable[[int], None] | None = None,
) -> Solved:
    """Return the solved segment; what it recycles first is the family's space.

    Args:
        work: the family and the method.
        segment: the samples, in solve order.
        drawn: parameters by sample; those that are missing are drawn here.
        on_samples: called with the number of samples solved since its last call.
    """
    parameters = stacked_samples(work.family, segment.ids, drawn)
    chunks: list[np.ndarray] = []
    records: list[dict[str, Any]] = []
    carry = work.first_carry()
    start = time.perf_counter()
    for first in range(0, len(segment.ids), CHUNK):
        part = slice(first, first + CHUNK)
        chunk = {name: values[part] for name, values in parameters.items()}
        solved, carry = solve_chunk(work, chunk, carry)
        entries = records_of(solved)
        now = time.perf_counter()
        seconds = round((now - start) / len(entries), 6)
        records += [{**entry, "wall_seconds": seconds} for entry in entries]
        start = now
        chunks.append(_values_or_nan(work, solved["value"], entries))
        if on_samples is not None:
            on_samples(len(entries))
    return Solved(segment, {**parameters, "solution": np.concatenate(chunks)}, records)


def solve_chunk(
    work: Work, parameters: dict[str, np.ndarray], carry: Any
) -> tuple[dict[str, np.ndarray], Any]:
    """Return values and statistics of at most 16 systems, by name, and the carry.

    Args:
        work: the family and the method.
        parameters: of the systems, along a first axis.
        carry: that of the chunk before.
    """
    # The rest of the generator must import without JAX, for a quick --help.
    from ...solvers.sequences import solve_batch

    count = len(next(iter(parameters.values())))
    # One program for all chunks: the last one is filled up with its last system.
    rows = np.minimum(np.arange(CHUNK), count - 1)
    filled = {name: values[rows] for name, values in parameters.items()}
    solution = solve_batch(
        Assembly(work.family),
        filled,
        work.solver,
        preconditioner=work.applied_preconditioner(),
        carry=carry,
        recycle=work.recycle,
        start=work.applied_start(),
    )
    found = {"value": solution.value, "status": solution.status}
    found |= {name: getattr(solution.stats, name) for name in _STATISTICS}
    kept = {name: np.asarray(values)[:count] for name, values in found.items()}
    return kept, solution.carry


def records_of(solved: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return what `solve_chunk` says of its systems, a record each."""
    names = ("status", *_STATISTICS)
    rows = zip(*(solved[name].tolist() for name in names), strict=True)
    entries = [dict(zip(names, row, strict=True)) for row in rows]
    for entry in entries:
        for name in _RESIDUALS:
            if not np.isfinite(entry[name]):
                entry[name] = None
    return entries


@lru_cache(maxsize=4)
def _galerkin_start(work: Work) -> Any:
    # See solve_chunk.
    from ...solvers.sequences import GalerkinStart, pod_basis

    assert work.start is not None
    plain = Work(work.family, replace(work.method, start=None, solver=_tightened(work)))
    count, values, carry = work.start.num_samples, [], plain.first_carry()
    for first in range(0, count, CHUNK):
        parameters = stacked_samples(
            work.family, range(first, min(first + CHUNK, count))
        )
        solved, carry = solve_chunk(plain, parameters, carry)
        is_good = np.array([plain.criterion.is_met(e) for e in records_of(solved)])
        values.append(np.where(_along(is_good, solved["value"]), solved["value"], 0))
    solutions = np.concatenate(values)[:count]
    return GalerkinStart(pod_basis(solutions, count))


def _tightened(work: Work) -> Any:
    """The solver to a hundredth: sums of solutions shall still meet its tolerance."""
    eps = np.finfo(work.family.array_types()["solution"].dtype).eps
    rtol = work.solver.rtol
    return replace(work.solver, rtol=min(rtol, max(rtol / 100, 100 * float(eps))))


@lru_cache(maxsize=4)
def _family_space(work: Work) -> Any:
    # See solve_chunk.
    from ...solvers.sequences import learned_space

    A, _ = work.family.system(mean_parameters(work.family, CHUNK))
    preconditioner = work.applied_preconditioner()
    return learned_space(A, work.solver, preconditioner=preconditioner)


def _along(flags: np.ndarray, values: np.ndarray) -> np.ndarray:
    return flags.reshape(-1, *[1] * (values.ndim - 1))


def _values_or_nan(
    work: Work, values: np.ndarray, entries: list[dict[str, Any]]
) -> np.ndarray:
    example = work.family.array_types()["solution"]
    values = np.array(values).reshape(len(entries), *example.shape)
    bad = [not work.criterion.is_met(entry) for entry in entries]
    values[bad] = np.nan
    return values
