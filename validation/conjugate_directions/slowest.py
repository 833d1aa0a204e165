"""The slowest right-hand side, looked for by gradient ascent.

What is made large is the error in the A-norm that 8 steps leave, over that of the
start, as a function of the error at the start, from several starts.
"""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scenes
from tables import table

from krylax.learned import conjugate_directions as cd

TITLE = "The slowest right-hand side"
RTOL = 1e-8
UNROLLED = 8
NUM_STEPS = 60
PARTS = ("plume", "obstacle")
FAST_PARTS = ("plume",)


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Steps for frames, for noise, and for what the ascent finds."""
    del folder
    size, count, num_steps = (16, 2, 2) if is_fast else (64, 6, NUM_STEPS)
    problems = scenes.systems(scenes.family(part, (size, size)), count)
    net = cd.load("from64-2d")
    (method,) = (m for m in scenes.methods({"net": net}) if m.name == "net")
    A = problems[0][0]
    found = []
    for seed in range(count):
        e = jax.random.normal(jax.random.key(seed), (size, size))
        found.append(
            (A, A.mv(_ascended(A, net, jnp.where(A.is_fluid, e, 0), num_steps)))
        )
    noise = [
        (
            A,
            jnp.where(
                A.is_fluid, jax.random.normal(jax.random.key(seed), (size, size)), 0
            ),
        )
        for seed in range(count)
    ]
    kinds = {"frames": problems, "noise": noise, "ascended": found}
    return {
        kind: scenes.measure(method, chosen, RTOL, 2000)["steps"]
        for kind, chosen in kinds.items()
    }


@eqx.filter_jit
def _ascended(A: Any, net: Any, e: Any, num_steps: int) -> Any:
    optimizer = optax.adam(0.05)

    def loss(e: Any) -> Any:
        return -jnp.log(cd.unrolled_loss(cd.Masked(net), A, e, UNROLLED) + 1e-30)

    def step(carry: Any, _: None) -> Any:
        e, moments = carry
        updates, moments = optimizer.update(jax.grad(loss)(e), moments)
        e = e + updates
        return (e / jnp.max(jnp.abs(e)), moments), None

    (e, _), _ = jax.lax.scan(step, (e, optimizer.init(e)), length=num_steps)
    return e


def markdown(found: dict[str, Any]) -> str:
    """A line per scene."""
    lines = []
    for scene, part in found.items():
        typical = float(np.median(part["frames"]))
        worst = max(part["ascended"])
        lines.append(
            [
                scene,
                f"{typical:.0f}",
                f"{np.median(part['noise']):.0f}",
                str(worst),
                f"{worst / typical:.2g}",
            ]
        )
    header = [
        "scene",
        "frames, median",
        "noise, median",
        "slowest found",
        "over median",
    ]
    return table(header, lines)
