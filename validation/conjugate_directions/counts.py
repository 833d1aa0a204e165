"""Steps, products, work and seconds on the scenes, beside the classical methods."""

from pathlib import Path
from typing import Any

import numpy as np
import scenes
from tables import number, table

from krylax.learned import conjugate_directions as cd

TITLE = "Pressure systems of flows that were not trained on"
RTOL = 1e-8
MAX_STEPS = 5000
MAX_UNMASKED = 500

# Scene, points per axis, axes, number of systems.
CASES = {
    **{f"{scene}-64": (scene, 64, 2, 30) for scene in scenes.SCENES},
    "plume-3d-32": ("plume", 32, 3, 30),
    "plume-3d-64": ("plume", 64, 3, 3),
    "plume-128": ("plume", 128, 2, 30),
    "obstacle-3d-32": ("obstacle", 32, 3, 30),
    "plume-3d-128": ("plume", 128, 3, 1),
}
PARTS = tuple(CASES)
FAST_PARTS = ("obstacle-64",)


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """All methods on the systems of a scene."""
    del folder
    scene, size, rank, count = CASES[part]
    if is_fast:
        size, count = 16, 1
    family = scenes.family(scene, (size,) * rank)
    problems = scenes.systems(family, count)
    name = f"from64-{rank}d"
    net = cd.load(name)
    chosen = scenes.methods({name: net})
    if rank == 3 and size > 64:
        # An hour otherwise.
        chosen = [m for m in chosen if m.name in ("CG", "CG, Multigrid", name)]
    rows = [scenes.measure(method, problems, RTOL, MAX_STEPS) for method in chosen]
    if size <= 64 and rank == 2:
        # Three systems, as most of them take all steps.
        alone = scenes.unmasked(name, net)
        rows.append(scenes.measure(alone, problems[:3], RTOL, MAX_UNMASKED))
    if rank == 2:
        rows += scenes.measure_scipy(problems, RTOL)
        rows += scenes.measure_petsc(problems, RTOL)
    return {"num_systems": count, "rows": rows}


def markdown(found: dict[str, Any]) -> str:
    """A table per scene and size."""
    parts = []
    for name, part in found.items():
        header = [
            f"{name}, {part['num_systems']} systems",
            "steps, median",
            "most",
            "missed",
            "products",
            "work of M, flop",
            "work of M, seconds",
            "set-up, ms",
            "solve, ms",
            "100 solves, s",
        ]
        parts.append(table(header, map(_line, part["rows"])))
    return "\n\n".join(parts)


def _line(row: dict[str, Any]) -> list[str]:
    def figure(key: str) -> str:
        return number(row[key]) if key in row else ""

    products = number(float(np.median(row["products"]))) if "products" in row else ""
    return [
        row["name"],
        number(float(np.median(row["steps"]))),
        str(max(row["steps"])),
        str(row["missed"]),
        products,
        figure("work_flops"),
        figure("work_seconds"),
        number(1e3 * row["setup"]),
        number(1e3 * row["seconds"]),
        number(row["setup"] + 100 * row["seconds"]),
    ]
