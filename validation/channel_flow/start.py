"""The start field of the minimal box: how it is made, and how it is read.

    python validation/channel_flow/start.py

A flow that is turbulent already takes 3 h/u_τ to become another grid's, one that is not
takes 15. The field is of 24 x 48 x 16 cells, float16: 110 kB.
"""

from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np

from krylax.datasets import channel_flow

PATH = Path(__file__).with_name("start_180_minimal.npz")
COARSE = "180-toy"
SPIN_UP = 20.0
"""In h/u_τ."""


def read_start(flow: Any) -> Any:
    """Return the field on the grid of a channel of any box."""
    coarse = channel_flow.preset(COARSE)
    with np.load(PATH) as found:
        state = coarse.state(found["u"], found["v"], found["w"])
    return flow.interpolated(state, coarse)


def make_start(path: Path = PATH) -> None:
    """Simulate the spin-up and write the field."""
    flow = channel_flow.preset(COARSE)
    state = flow.initial(jax.random.key(0))
    while float(state.time) < SPIN_UP:
        state = flow.run(flow.restarted(state), 1000)
        found = flow.statistics(state)
        print(
            f"t {float(state.time):.1f}, Re_τ {float(found.re_tau):.1f}, "
            f"U_b {float(found.bulk_velocity):.2f}, "
            f"-u'v' {float(jnp.max(found.reynolds_stress)):.2f}",
            flush=True,
        )
    fields: Any = {
        name: np.asarray(q).astype(np.float16)
        for name, q in zip("uvw", state.velocity, strict=True)
    }
    np.savez(path, **fields)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    make_start()
