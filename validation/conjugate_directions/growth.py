"""How the steps of a network grow with the grid, beside the bound of its light cone.

A step reaches R + 1 cells far, R the receptive radius. Until it has reached an open
wall at a distance of D cells from a point source, the residual of a closed box sums to
that of the source, so that at least (D / (R + 1)) - 1 steps are needed.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import scenes
from tables import table

import krylax as kx
from krylax.learned import conjugate_directions as cd

matplotlib.use("Agg")

from matplotlib import pyplot as plt

TITLE = "Growth with the grid"
RTOL = 1e-4
SIZES = (32, 64, 128, 256)
PARTS = tuple(str(size) for size in SIZES)
FAST_PARTS = ("32",)
NAMES = ("CG", "CG, Multigrid", "from64-2d")


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """The steps from a point source at the closed end of the box, to 1e-4 and 1e-8."""
    del folder, is_fast
    size = int(part)
    A = kx.operators.MaskedPoisson(
        np.full((size, size), 2),
        1 / size,
        boundary=["neumann", ("neumann", "dirichlet")],
    )
    b = np.zeros((size, size))
    b[size // 2, 0] = 1
    net = cd.load("from64-2d")
    chosen = [m for m in scenes.methods({"from64-2d": net}) if m.name in NAMES]
    rows = {
        f"{rtol:g}": [scenes.measure(m, [(A, b)], rtol, 5000) for m in chosen]
        for rtol in (RTOL, 1e-8)
    }
    bound = size / (net.receptive_radius + 1) - 1
    return {"rows": rows, "bound": bound}


def markdown(found: dict[str, Any]) -> str:
    """A line per size."""
    header = ["points per axis"]
    for rtol in ("0.0001", "1e-08"):
        header += [f"{name}, to {float(rtol):g}" for name in NAMES]
    lines = []
    for size, part in found.items():
        rows = [*part["rows"]["0.0001"], *part["rows"]["1e-08"]]
        steps = [str(row["steps"][0]) for row in rows]
        lines.append([size, *steps, f"{max(part['bound'], 1):.0f}"])
    return table([*header, "least possible"], lines)


def draw(found: dict[str, Any], folder: Path) -> None:
    """Steps over the number of points per axis, to 1e-4."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    sizes = [int(size) for size in found]
    for i, name in enumerate(NAMES):
        steps = [part["rows"]["0.0001"][i]["steps"][0] for part in found.values()]
        axes.loglog(sizes, steps, "o-", base=2, label=name)
    bounds = [max(part["bound"], 1) for part in found.values()]
    axes.loglog(sizes, bounds, "k--", base=2, label="light cone of the network")
    axes.axvline(64, color="grey", linewidth=0.8)
    axes.text(66, 1.1, "trained here", color="grey")
    axes.set_xlabel("points per axis")
    axes.set_ylabel("steps to a relative residual of 1e-4")
    figure.legend(loc="outside upper center", ncols=4)
    figure.savefig(folder / "growth.png", dpi=120)
    plt.close(figure)
