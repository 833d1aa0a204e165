"""Table 31: many systems in sorted, contiguous chunks, each of which starts cold.

The paper gives each of 72 processes a chunk of 100. Here the chunks are solved one
after the other, since what is compared is the time per system on one core.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import methods
import numpy as np
from problems import of_family
from rivals.row import Problem, rearranged
from tables import mark_missed, ratio, table

from krylax.datasets import HelmholtzScattering, SKRReleased
from krylax.solvers import Jacobi
from krylax.solvers.sequences import greedy_order

TITLE = "Sorted chunks of 100 systems"
PAPER = (
    "The paper, Helmholtz of n = 10⁴ (as released, wavenumbers below 1), SOR, 72 "
    "chunks side by side: 3734, 4906 and 5715 steps of GMRES to 1e-3, 1e-5 and 1e-7, "
    "126, 148 and 167 of GCRO-DR; in time ratios of 6.7 to 8.0."
)
HEADER = (
    "tolerance",
    "GMRES: systems",
    "steps",
    "ms per system",
    "GCRO-DR: systems",
    "steps",
    "products",
    "ms per system",
    "ratio: steps",
    "products",
    "time",
)


class Part(NamedTuple):
    """A family, how many systems of it, and every which one GMRES solves."""

    title: str
    family: Any
    fast_family: Any
    num_systems: int = 200
    chunk_size: int = 100
    stride: int = 10
    rtols: tuple[float, ...] = (1e-3, 1e-5, 1e-7)


PARTS = {
    "released": Part("As released (not a PDE)", SKRReleased(48), SKRReleased(12)),
    "helmholtz": Part(
        "Waves in a cavity, k = 12",
        HelmholtzScattering((48, 48)),
        HelmholtzScattering((28, 28)),
    ),
}
FAST_PARTS = ("released",)


def measure_part(name: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return both methods' outcomes for each tolerance."""
    del folder
    part = PARTS[name]
    if is_fast:
        part = part._replace(
            family=part.fast_family, num_systems=6, chunk_size=3, stride=3
        )
    problem = of_family(part.family, part.num_systems, 0.0)
    problem = rearranged(problem, greedy_order(problem.features))
    sampled = rearranged(problem, np.arange(0, part.num_systems, part.stride))
    rows = []
    for rtol in part.rtols:
        found: list[dict[str, Any]] = []
        for chunk in _chunks(problem._replace(rtol=rtol), part.chunk_size):
            # One program for all chunks and tolerances.
            is_compiled = bool(rows or found)
            found.append(methods.recycled(chunk, Jacobi(), is_compiled=is_compiled))
        rows.append(
            {
                "rtol": rtol,
                "gmres": methods.gmres(sampled._replace(rtol=rtol), "jacobi"),
                "recycled": _together(found),
            }
        )
    return {"title": part.title, "problem": problem.name, "rows": rows}


def _chunks(problem: Problem, size: int) -> Iterator[Problem]:
    for start in range(0, len(problem.matrices), size):
        yield rearranged(problem, np.arange(start, start + size))


def _together(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The outcome of chunks of equal size."""
    sums = ("missed", "num_systems")
    return {key: float(np.mean([part[key] for part in found])) for key in found[0]} | {
        key: sum(part[key] for part in found) for key in sums
    }


def markdown(found: dict[str, Any]) -> str:
    """Return a table per family."""
    sections = [PAPER]
    for part in found.values():
        lines = [_line(row) for row in part["rows"]]
        sections += [
            f"{part['title']}: {part['problem']}, Jacobi",
            table(HEADER, lines),
        ]
    return "\n\n".join(sections)


def _line(row: dict[str, Any]) -> list[str]:
    gmres, ours = row["gmres"], row["recycled"]
    keys = ("steps", "matvecs", "milliseconds")
    cells = [f"{row['rtol']:.0e}", str(gmres["num_systems"]) if gmres else ""]
    cells += [mark_missed(gmres, key) for key in ("steps", "milliseconds")]
    cells += [str(ours["num_systems"])]
    cells += [mark_missed(ours, key) for key in keys]
    return cells + [ratio(gmres, ours, key) for key in keys]
