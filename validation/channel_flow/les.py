"""Large-eddy simulations on a coarse grid of the minimal box, beside one without model.

All start from the committed field and run as long, on the grid that filtered fields of
16 x 33 x 8 points have. What they are to be compared with is the box in `box.py`.
"""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from box import folded
from start import read_start
from tables import table

from krylax.datasets import channel_flow

TITLE = "Eddy viscosities on 16 x 31 x 8 cells"
PARTS = ("none", "smagorinsky", "dynamic_smagorinsky", "wale")
FAST_PARTS = ("wale",)
SHAPE = (16, 31, 8)
# In h/u_τ.
SPIN_UP, DURATION = 10, 60


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return statistics and the seconds of a step."""
    del folder
    subgrid = None if part == "none" else part
    flow = channel_flow.Channel(180, SHAPE, dt=2e-3, subgrid=subgrid)
    state = read_start(flow)
    spin_up, duration = (1, 1) if is_fast else (SPIN_UP, DURATION)
    state = flow.restarted(flow.run(state, round(spin_up / float(flow.dt))))
    steps = round(duration / float(flow.dt))
    start = time.process_time()
    state = jax.block_until_ready(flow.run(state, steps))
    seconds = (time.process_time() - start) / steps
    found = flow.statistics(state)
    return {
        "milliseconds": 1e3 * seconds,
        "re_tau": float(found.re_tau),
        "bulk_velocity": float(found.bulk_velocity),
        "axis": float(folded(found.U)[-1]),
        "peaks": {
            name: float(jnp.max(getattr(found, name)))
            for name in ("u_rms", "v_rms", "w_rms", "reynolds_stress", "subgrid_stress")
        },
        "stress_error": float(np.max(np.abs(found.total_stress - (1 - found.y)))),
    }


def markdown(found: dict[str, Any]) -> str:
    """Return a line per model."""
    header = [
        "model", "U_b", "U on the axis", "peak of u_rms", "v_rms", "w_rms", "-u'v'",
        "of the model", "stress - (1 - y)", "ms per step",
    ]  # fmt: skip
    lines = [
        [
            part.replace("_", " "),
            f"{of['bulk_velocity']:.2f}",
            f"{of['axis']:.2f}",
            *(f"{value:.2f}" for value in of["peaks"].values()),
            f"{100 * of['stress_error']:.1f} %",
            f"{of['milliseconds']:.2f}",
        ]
        for part, of in found.items()
    ]
    return table(header, lines)
