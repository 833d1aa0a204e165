"""The pressure in the loop: 50 steps of a smoke plume, as one compiled program."""

import time
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
import scenes
from tables import number, table

import krylax as kx
from krylax.learned import conjugate_directions as cd

matplotlib.use("Agg")

from matplotlib import pyplot as plt

TITLE = "Pressure in the loop"
RTOL = 1e-6
NUM_FRAMES = 50
PARTS = ("64", "128")
FAST_PARTS = ("64",)


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Seconds per step of the flow with each solver of the pressure."""
    size, length = (16, 2) if is_fast else (int(part), NUM_FRAMES)
    family = scenes.family("obstacle", (size, size))
    state = family.initial_state(0)
    net = cd.load("from64-2d")
    flexible = kx.solvers.FlexibleCG(RTOL, truncation=2)
    solvers: dict[str, Any] = {
        "CG": (kx.solvers.CG(RTOL), None),
        "CG, Multigrid": (kx.solvers.CG(RTOL), kx.solvers.Multigrid()),
        "from64-2d": (flexible, cd.Masked(net)),
        "from64-2d, safeguarded": (flexible, cd.Safeguarded(net)),
    }
    rows = []
    for name, (solver, M) in solvers.items():

        def step(state: Any, _: None, solver: Any = solver, M: Any = M) -> Any:
            steps = []

            def pressure(A: Any, b: Any) -> Any:
                sol = kx.solve(A, b, solver, preconditioner=M)
                steps.append(sol.stats.num_steps)
                return sol.value

            state, _ = family.advance(state, pressure)
            return state, steps[0]

        run = jax.jit(lambda s, step=step: jax.lax.scan(step, s, length=length))
        jax.block_until_ready(run(state))
        start = time.perf_counter()
        end, steps = jax.block_until_ready(run(state))
        seconds = (time.perf_counter() - start) / length
        rows.append(
            {
                "name": name,
                "milliseconds": 1e3 * seconds,
                "steps": float(np.mean(np.asarray(steps))),
            }
        )
        if name == "from64-2d":
            _draw(
                np.asarray(end.density),
                np.asarray(end.cells),
                folder / f"smoke-{part}.png",
            )
    return {"rows": rows}


def markdown(found: dict[str, Any]) -> str:
    """A line per solver."""
    header = ["solver"]
    for size in found:
        header += [f"{size}², ms per step", "steps of the solver"]
    lines = []
    parts = list(found.values())
    for i, row in enumerate(parts[0]["rows"]):
        line = [row["name"]]
        for part in parts:
            line += [
                number(part["rows"][i]["milliseconds"]),
                number(part["rows"][i]["steps"]),
            ]
        lines.append(line)
    return table(header, lines)


def _draw(density: np.ndarray, cells: np.ndarray, path: Path) -> None:
    """The smoke after the last step, solid cells grey."""
    figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
    smoke = np.where(cells == 1, np.nan, density)
    axes.set_facecolor("grey")
    axes.imshow(smoke.T, origin="lower", cmap="magma", extent=(0, 1, 0, 1))
    axes.set_title(f"smoke after {NUM_FRAMES} steps")
    figure.savefig(path, dpi=120)
    plt.close(figure)
