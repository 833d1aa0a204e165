"""Trained networks with CG beside them on 200 systems unlike those of the training."""

from pathlib import Path
from typing import Any

import numpy as np
import scenes
from rooms import Rooms
from tables import table

from krylax.datasets import Porous
from krylax.learned import conjugate_directions as cd

TITLE = "Never more steps than CG"
RTOL = 1e-8
MAX_STEPS = 5000
NUM_SYSTEMS = 25
KINDS = ("rooms", "porous", *scenes.SCENES)
PARTS = tuple(KINDS)
FAST_PARTS = ("rooms",)


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """CG, the bare network and the safeguarded one on systems of a kind."""
    del folder
    size, count = (16, 2) if is_fast else (64, NUM_SYSTEMS)
    points = (size, size)
    if part == "rooms":
        rooms = Rooms(points, stream="test")
        problems = [rooms.system(rooms.sample(i)) for i in range(count)]
    elif part == "porous":
        pores = Porous(points, solid=0.35, width=1 / size, stream="test")
        problems = [pores.system(pores.sample(i)) for i in range(count)]
    else:
        problems = scenes.systems(scenes.family(part, points), count)
    net = cd.load("from64-2d")
    wanted = ("CG", "from64-2d", "from64-2d, safeguarded")
    methods = [m for m in scenes.methods({"from64-2d": net}) if m.name in wanted]
    rows = [scenes.measure(m, problems, RTOL, MAX_STEPS) for m in methods]
    return {"rows": rows, "num_systems": count}


def markdown(found: dict[str, Any]) -> str:
    """How often each takes more steps than CG, and how many fewer."""
    header = [
        "systems",
        "number",
        "CG, median",
        "network",
        "missed",
        "safeguarded",
        "missed",
        "network above CG",
        "safeguarded above CG",
    ]
    lines = []
    for kind, part in found.items():
        cg, bare, safe = part["rows"]
        steps = [np.array(row["steps"]) for row in (cg, bare, safe)]
        lines.append(
            [
                kind,
                str(part["num_systems"]),
                f"{np.median(steps[0]):.0f}",
                f"{np.median(steps[1]):.0f}",
                str(bare["missed"]),
                f"{np.median(steps[2]):.0f}",
                str(safe["missed"]),
                str(int(np.sum(steps[1] > steps[0]))),
                str(int(np.sum(steps[2] > steps[0]))),
            ]
        )
    return table(header, lines)
