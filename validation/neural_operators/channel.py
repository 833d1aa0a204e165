"""Surrogates of turbulent channel flow, and large-eddy simulation on the same grid.

Each model is trained for 15 minutes to map a snapshot to the next one (`snapshots.py`),
and rolled out for 400 of them, 24 h/u_τ, from three times that were not trained on.
Beside them are persistence, the mean profile, and eddy viscosities on the same grid.
"""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import snapshots
from darcy import planned_steps
from tables import number, table

from krylax.datasets import channel_flow
from krylax.learned import neural_operators as no
from krylax.learned import training

TITLE = "Turbulent channel flow"
MINUTES = 15
BATCH = 4
NUM_STEPS = 400
LATE = slice(200, 401)
"""Snapshots of a rollout whose profiles are compared."""
NUM_STARTS = 3
LES_DT = 2e-3

SMALL = {"width": 48, "num_heads": 4, "head_width": 24, "num_iterations": 6}
MODELS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "IFactFormer-m": (no.IFactFormer, {**SMALL, "mixing": "parallel"}, 3),
    "IFactFormer-o": (no.IFactFormer, {**SMALL, "mixing": "chained"}, 2),
    "FNO": (no.FNO, {"num_modes": (6, 8, 4), "width": 24, "num_layers": 4}, 2),
    "IFNO": (no.IFNO, {"num_modes": (6, 8, 4), "width": 24, "num_iterations": 6}, 2),
}
ROWS = {
    f"{name}, seed {seed}": (name, seed)
    for name, (*_, seeds) in MODELS.items()
    for seed in range(seeds)
}
SUBGRID = ("smagorinsky", "dynamic_smagorinsky", "wale")
PARTS = ("persistence and mean", *SUBGRID, *ROWS)
FAST_PARTS = ("persistence and mean", "wale", "IFactFormer-m, seed 0")


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """One row."""
    fields = snapshots.snapshots(folder, is_fast=is_fast)
    truth = profiles(fields)
    blocks = snapshots.split(fields)
    steps = 4 if is_fast else NUM_STEPS
    if part in SUBGRID:
        return les(part, truth, steps, is_fast=is_fast)
    if part not in ROWS:
        return baselines(blocks, truth)
    name, seed = ROWS[part]
    step, trained = surrogate(name, seed, blocks, folder, is_fast=is_fast)
    found = {**trained, **one_step(step, blocks[2], truth)}
    starts = np.linspace(0, len(blocks[2]) - 1, NUM_STARTS, dtype=int)
    roll = jax.jit(lambda u: no.rollout(step, u, num_steps=steps))
    found["rollouts"] = []
    for i in starts:
        begin = time.perf_counter()
        result = jax.block_until_ready(roll(blocks[2][i]))
        seconds = (time.perf_counter() - begin) / steps
        late = np.asarray(result.values)[LATE if not is_fast else slice(1, None)]
        found["rollouts"].append(
            {
                "first_nonfinite": int(result.first_nonfinite),
                "seconds": seconds,
                **differences(profiles(late), truth),
            }
        )
    return found


def surrogate(
    name: str, seed: int, blocks: Any, folder: Path, *, is_fast: bool
) -> tuple[training.Surrogate, dict[str, Any]]:
    """Train a model, or go on, and return it with what its training was."""
    cls, arguments, _ = MODELS[name]
    model = cls(3, 3, 3, **arguments, key=jax.random.key(seed))
    data, valid = (training.Data.of_trajectories(block[None]) for block in blocks[:2])
    grid = snapshots.grid(is_fast=is_fast)

    def settings(num_steps: int) -> training.Settings:
        return training.Settings(
            num_steps=num_steps,
            batch_size=BATCH,
            learning_rate=1e-3,
            augment=snapshots.symmetries,
            validate_every=min(num_steps, 200),
            seed=seed,
            progress=False,
        )

    part = f"{name}, seed {seed}"
    num_steps = 4
    if not is_fast:
        path = folder / f"{name}.steps"
        num_steps = planned_steps(path, MINUTES, model, data, settings, grid)
    place = folder / f"channel-{part}"
    result = training.train(
        model, data, valid, settings(num_steps), grid=grid, folder=place
    )
    assert result.surrogate is not None
    return result.surrogate, {
        "parameters": training.num_parameters(model),
        "num_steps": num_steps,
        "validation": np.asarray(result.history["validation"]).tolist(),
    }


def profiles(fields: np.ndarray) -> dict[str, np.ndarray]:
    """Mean profiles of snapshots (times, 3, nx, ny, nz), folded over the middle."""
    mean = fields.mean((0, 2, 4))
    rest = fields - mean[None, :, None, :, None]
    rms = np.sqrt((rest**2).mean((0, 2, 4)))
    stress = -(rest[:, 0] * rest[:, 1]).mean((0, 1, 3))
    found = {"U": mean[0], "u": rms[0], "v": rms[1], "w": rms[2]}
    folded = {name: (q + q[::-1]) / 2 for name, q in found.items()}
    return {**folded, "-uv": (stress - stress[::-1]) / 2}


def differences(found: Any, truth: Any) -> dict[str, float]:
    """Relative L² of each profile."""
    return {
        name: float(np.linalg.norm(found[name] - q) / np.linalg.norm(q))
        for name, q in truth.items()
    }


def one_step(step: Any, block: np.ndarray, truth: Any) -> dict[str, float]:
    """Relative L² of the fluctuations after a step, and of no step at all."""
    mean = np.zeros((3, 1, len(truth["U"]), 1), np.float32)
    mean[0, 0, :, 0] = truth["U"]
    predicted = np.asarray(jax.jit(lambda u: jax.lax.map(step, u))(block[:-1]))
    later = block[1:] - mean
    size = np.linalg.norm(later.reshape(len(later), -1), axis=1)
    errors = {"one_step": predicted - mean, "persistence": block[:-1] - mean}
    return {
        name: float(
            np.mean(np.linalg.norm((q - later).reshape(len(later), -1), axis=1) / size)
        )
        for name, q in errors.items()
    }


def baselines(blocks: Any, truth: Any) -> dict[str, Any]:
    """Persistence and the mean profile, and how far the test block is from all."""
    step = one_step(lambda u: u, blocks[2], truth)
    return {**step, "test block": differences(profiles(blocks[2]), truth)}


def les(part: str, truth: Any, num_steps: int, *, is_fast: bool) -> dict[str, Any]:
    """The eddy viscosity of a name on the grid of the snapshots."""
    n = snapshots.SHAPE
    fine = snapshots.channel(is_fast=is_fast)
    flow = channel_flow.Channel(
        180,
        (n[0], n[1] - 2, n[2]),
        lengths=fine.grid.lengths,
        dt=LES_DT,
        subgrid=part,
    )
    every = round(snapshots.INTERVAL * float(fine.dt) / LES_DT)
    state, fields = snapshots.read_start(flow), []
    flow.run(state, every)
    begin = time.perf_counter()
    for _ in range(num_steps):
        state = flow.run(state, every)
        fields.append(np.asarray(flow.filtered(state, n)))
    seconds = (time.perf_counter() - begin) / num_steps
    late = np.stack(fields)[LATE if not is_fast else slice(None)]
    return {"seconds": seconds, **differences(profiles(late), truth)}


def markdown(found: dict[str, Any]) -> str:
    """A line per row; of rollouts the worst of three."""
    names = ("U", "u", "v", "w", "-uv")
    header = ["", "one step", "no step", "not finite at", *names, "ms per snapshot"]
    lines = []
    for part, of in found.items():
        rows = of.get("rollouts", [of])
        ends = [row.get("first_nonfinite", -1) for row in rows]
        lines.append(
            [
                part.replace("_", " "),
                number(of["one_step"]) if "one_step" in of else "",
                number(of["persistence"]) if "persistence" in of else "",
                ", ".join(str(end) for end in ends if end >= 0),
                *[
                    number(max(row[name] for row in rows)) if name in rows[0] else ""
                    for name in names
                ],
                number(1e3 * np.median([row["seconds"] for row in rows]))
                if "seconds" in rows[0]
                else "",
            ]
        )
    return table(header, lines)
