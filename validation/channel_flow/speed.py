"""Seconds of a step, by grid, precision and eddy viscosity."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from start import read_start
from tables import table

from krylax.datasets import channel_flow

TITLE = "Time of a step"
PARTS = ("float64", "float32", "eddy_viscosities")
FAST_PARTS = ("eddy_viscosities",)
REPEATS, STEPS = 7, 20


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return rows of a name, a grid and milliseconds."""
    del folder
    if part == "eddy_viscosities":
        models = (None, "smagorinsky", "dynamic_smagorinsky", "wale")
        flows = {
            str(model): channel_flow.Channel(180, (16, 31, 8), dt=1e-3, subgrid=model)
            for model in models
        }
    else:
        names = ("180-toy", "180-minimal", "180-quarter")
        flows = {name: channel_flow.preset(name, dtype=part) for name in names}
    rows = []
    for name, flow in flows.items():
        state = jax.block_until_ready(flow.run(read_start(flow), STEPS))
        clock, processor = [], []
        for _ in range(2 if is_fast else REPEATS):
            start = time.perf_counter(), time.process_time()
            state = jax.block_until_ready(flow.run(state, STEPS))
            clock.append((time.perf_counter() - start[0]) / STEPS)
            processor.append((time.process_time() - start[1]) / STEPS)
        shape = " x ".join(map(str, flow.grid.shape))
        rows.append([name, shape, float(np.median(clock)), float(np.median(processor))])
        print(rows[-1], flush=True)
    return {"rows": rows}


def markdown(found: dict[str, Any]) -> str:
    """Return one table."""
    lines = [
        [f"{name}, {part}" if "float" in part else name.replace("None", "no model"),
         shape, f"{1e3 * clock:.1f}", f"{1e3 * processor:.1f}"]
        for part, of in found.items()
        for name, shape, clock, processor in of["rows"]
    ]  # fmt: skip
    return (
        "Medians on one core, in milliseconds; of the processor they say more where "
        "the machine is shared.\n\n"
        + table(["flow", "cells", "clock", "processor"], lines)
    )
