"""Table 1 and the appendix: families, preconditioners and tolerances.

The appendix's Tables 3-6 and 9 (Darcy), 10-13 and 15 (Thermal), 17-20 and 22 (Poisson)
give times and iterations at the sizes below.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import methods
from problems import of_family
from rivals.row import Problem, rearranged
from tables import mark_missed, number, ratio, table

from krylax.datasets import (
    ConvectionDiffusion,
    Darcy,
    HelmholtzScattering,
    Poisson,
    SKRReleased,
    Thermal,
)
from krylax.solvers import SSOR, BlockJacobi, IncompleteCholesky, IncompleteLU, Jacobi
from krylax.solvers.sequences import greedy_order

TITLE = "GMRES(40) against GCRO-DR(40,20), by preconditioner and tolerance"
HEADER = (
    "preconditioner",
    "tolerance",
    "GMRES: steps",
    "products",
    "ms",
    "GCRO-DR: steps",
    "products",
    "ms",
    "ratio: steps",
    "products",
    "time",
    "paper: steps",
    "time",
)
LOOSE = (1e-2, 1e-5, 1e-8)
TIGHT = (1e-5, 1e-8, 1e-11)
FAST_RTOLS = (1e-5,)


class Part(NamedTuple):
    """A family, and what the paper prints for its counterpart.

    Attributes:
        title: for the table.
        family: of the full size.
        fast_family: for a smoke run.
        num_systems: how many.
        rtols: tolerances.
        paper: by preconditioner, for each tolerance the ratios of iterations and time.
    """

    title: str
    family: Any
    fast_family: Any
    num_systems: int = 8
    rtols: tuple[float, ...] = LOOSE
    paper: Mapping[str, list[tuple[float, float]]] = MappingProxyType({})


PARTS = {
    "released-48": Part(
        "As released (not a PDE), beside the paper's Darcy of n = 2500",
        SKRReleased(48),
        SKRReleased(12),
        16,
        paper={
            "none": [(19.7, 2.2), (21.8, 2.6), (21.9, 2.8)],
            "Jacobi": [(21.4, 2.1), (22.4, 2.6), (22.4, 2.6)],
            "block Jacobi": [(17.0, 1.8), (21.0, 2.4), (21.8, 2.7)],
            "SSOR": [(18.3, 1.6), (21.7, 2.1), (22.1, 2.3)],
            "ILU(0)": [(4.7, 1.0), (4.7, 1.0), (5.1, 1.0)],
        },
    ),
    "released-98": Part(
        "As released (not a PDE), beside the paper's Darcy of n = 10⁴",
        SKRReleased(98),
        SKRReleased(14),
        4,
        paper={
            "none": [(16.7, 2.5), (13.7, 2.1), (11.1, 1.8)],
            "Jacobi": [(19.1, 2.8), (18.8, 2.7), (15.7, 2.4)],
            "block Jacobi": [(24.5, 3.7), (26.2, 4.0), (24.6, 4.0)],
            "SSOR": [(24.9, 3.3), (25.9, 3.6), (24.8, 3.5)],
            "ILU(0)": [(17.8, 4.0), (24.3, 5.5), (25.9, 5.9)],
        },
    ),
    "darcy": Part("Darcy", Darcy((64, 64)), Darcy((12, 12))),
    "poisson": Part(
        "Poisson, one matrix, beside the paper's of n = 7153",
        Poisson((84, 84)),
        Poisson((12, 12)),
        rtols=TIGHT,
        paper={
            "none": [(3.9, 1.0), (4.7, 1.2), (5.0, 1.3)],
            "Jacobi": [(3.9, 0.9), (4.7, 1.1), (5.0, 1.3)],
            "block Jacobi": [(3.5, 1.0), (4.0, 1.1), (4.1, 1.2)],
            "SSOR": [(3.6, 1.0), (4.1, 1.1), (4.3, 1.2)],
            "ICC(0)": [(1.5, 0.8), (2.1, 0.8), (2.1, 0.9)],
        },
    ),
    "thermal": Part(
        "Thermal, one matrix, beside the paper's of n = 2755",
        Thermal((53, 53)),
        Thermal((12, 12)),
        rtols=TIGHT,
        paper={
            "none": [(10.1, 1.9), (11.8, 2.4), (12.6, 2.6)],
            "Jacobi": [(9.5, 1.8), (9.4, 1.9), (10.4, 2.2)],
            "block Jacobi": [(5.4, 1.4), (6.5, 1.4), (7.0, 1.6)],
            "SSOR": [(4.4, 0.9), (5.7, 1.3), (6.1, 1.5)],
            "ICC(0)": [(5.4, 1.4), (6.5, 1.4), (7.0, 1.6)],
        },
    ),
    "helmholtz": Part(
        "Waves in a cavity, k = 12",
        HelmholtzScattering((48, 48)),
        HelmholtzScattering((28, 28)),
    ),
    "convection-diffusion": Part(
        "Convection and diffusion",
        ConvectionDiffusion((64, 64)),
        ConvectionDiffusion((12, 12), peclet=(6, 60)),
    ),
}
FAST_PARTS = ("released-48", "poisson")


def measure_part(name: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return both methods' outcomes for every preconditioner and tolerance."""
    del folder
    part = PARTS[name]
    family = part.fast_family if is_fast else part.family
    problem = of_family(family, 3 if is_fast else part.num_systems, 0.0)
    # The chain takes the order of the systems; GMRES does not care.
    problem = rearranged(problem, greedy_order(problem.features))
    rows = []
    for label, (ours, pc_type, options) in _preconditioners(problem).items():
        for rtol in FAST_RTOLS if is_fast else part.rtols:
            asked = problem._replace(rtol=rtol)
            rows.append(
                {
                    "preconditioner": label,
                    "rtol": rtol,
                    "gmres": methods.gmres(asked, pc_type, **options),
                    "recycled": methods.recycled(asked, ours),
                }
            )
    return {"title": part.title, "problem": problem.name, "rows": rows}


def _preconditioners(problem: Problem) -> dict[str, tuple[Any, str, dict[str, str]]]:
    """Ours, PETSc's name and PETSc's options; the same matrices on both sides.

    Blocks are the lines of the grid, which both invert exactly; both sweep forth and
    back with omega = 1.
    """
    num_lines = round(problem.b[0].size ** 0.5)
    blocks = {"pc_bjacobi_blocks": str(num_lines), "sub_pc_type": "lu"}
    found: dict[str, tuple[Any, str, dict[str, str]]] = {
        "none": (None, "none", {}),
        "Jacobi": (Jacobi(), "jacobi", {}),
        "block Jacobi": (BlockJacobi(num_lines), "bjacobi", blocks),
        "SSOR": (SSOR(), "sor", {}),
    }
    if problem.is_definite:
        return found | {"ICC(0)": (IncompleteCholesky(), "icc", {})}
    return found | {"ILU(0)": (IncompleteLU(), "ilu", {})}


def markdown(found: dict[str, Any]) -> str:
    """Return a table per family."""
    return "\n\n".join(_family_table(name, part) for name, part in found.items())


def _family_table(name: str, part: dict[str, Any]) -> str:
    lines = []
    places: dict[str, int] = {}
    for row in part["rows"]:
        label = row["preconditioner"]
        place = places[label] = places.get(label, -1) + 1
        printed = PARTS[name].paper.get(label)
        paper = [number(x) for x in printed[place]] if printed else ["", ""]
        lines.append(_line(row, [] if part["is_fast"] else paper))
    return f"{part['title']}: {part['problem']}\n\n{table(HEADER, lines)}"


def _line(row: dict[str, Any], paper: list[str]) -> list[str]:
    keys = ("steps", "matvecs", "milliseconds")
    gmres, ours = row["gmres"], row["recycled"]
    cells = [row["preconditioner"], f"{row['rtol']:.0e}"]
    cells += [mark_missed(gmres, key) for key in keys]
    cells += [mark_missed(ours, key) for key in keys]
    cells += [ratio(gmres, ours, key) for key in keys]
    return cells + paper
