"""The published configuration of IFactFormer on the full box, for a GPU, in 15 minutes.

4 minutes of simulation at Re_τ = 180 in the box 4π x 2 x 4π/3, filtered to 16 x 33 x
16 points; 4 minutes of training for each of m and o as published; rollouts. It has not
been run in full yet; on a CPU, `--fast` runs it in small sizes.

    python validation/neural_operators/gpu.py [--fast] [--minutes 4] [--out FOLDER]
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "benchmarks"), str(HERE.parent)]

import channel
import numpy as np
import snapshots
from darcy import planned_steps

from krylax.datasets import channel_flow
from krylax.learned import neural_operators as no
from krylax.learned import training

SHAPE = (16, 33, 16)
NAMES = ("IFactFormer-m", "IFactFormer-o")
SPIN_UP = 0.25
"""Of the minutes of the simulation."""
NUM_STEPS = 400


def simulated(flow: Any, shape: tuple[int, int, int], minutes: float) -> np.ndarray:
    """Snapshots (times, 3, *shape), as many as there is time for."""
    state = snapshots.read_start(flow)
    state = flow.run(state, snapshots.INTERVAL)
    begin, fields = time.monotonic(), []
    while (elapsed := (time.monotonic() - begin) / 60) < minutes or len(fields) < 48:
        state = flow.run(state, snapshots.INTERVAL)
        field = np.asarray(flow.filtered(state, shape), np.float32)
        if elapsed > SPIN_UP * minutes:
            fields.append(field)
    return np.stack(fields)


def measured(
    name: Any, fields: np.ndarray, grid: no.Grid, minutes: float, folder: Path
) -> dict[str, Any]:
    """A training and its rollout."""
    model = no.from_paper(name, key=jax.random.key(0))
    blocks = snapshots.split(fields)
    data, valid = (training.Data.of_trajectories(block[None]) for block in blocks[:2])

    def settings(num_steps: int) -> training.Settings:
        return training.Settings(
            num_steps=num_steps,
            batch_size=5,
            learning_rate=5e-4,
            weight_decay=0.01,
            augment=channel_flow.random_symmetry,
            validate_every=min(num_steps, 100),
            progress=False,
        )

    path = folder / f"{name}.steps"
    num_steps = planned_steps(path, minutes, model, data, settings, grid)
    result = training.train(model, data, valid, settings(num_steps), grid=grid)
    step, truth = result.surrogate, channel.Truth.of(fields, grid)
    assert step is not None
    found = {"num_steps": num_steps, **channel.short(step, blocks[2], truth)}
    return found | {"rollouts": channel.long(step, blocks[2], truth, NUM_STEPS)}


def main() -> None:
    """Simulate, train, and write the metrics alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="a toy box, some seconds")
    parser.add_argument("--minutes", type=float, default=4.0, help="of each part")
    parser.add_argument("--out", type=Path, default=Path("build/neural_operators"))
    given = parser.parse_args()
    if jax.default_backend() == "cpu" and not given.fast:
        parser.error("this is for a GPU, and JAX sees none; --fast runs anywhere")
    given.out.mkdir(parents=True, exist_ok=True)
    flow = channel_flow.preset("180-toy" if given.fast else "180-full")
    shape = (4, 9, 4) if given.fast else SHAPE
    minutes = 0.01 if given.fast else given.minutes
    fields = simulated(flow, shape, minutes)
    grid = no.Grid.of_channel(flow.filtered_grid(shape))
    found: dict[str, Any] = {"num_snapshots": len(fields)}
    for name in NAMES:
        found[name] = measured(name, fields, grid, minutes, given.out)
        (given.out / "gpu.json").write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
