"""Why IFactFormer-m: its mixing, or its norm? Kernels and rollouts of small models.

Both ways to mix the axes with both norms, two seeds each, trained alike on snapshots of
the channel (`snapshots.py`). Of the kernels K of each axis, at each length of the
training and as means over heads, iterations and samples:

    rank       the effective rank exp(-Σ p log p), p = σ / Σσ of the singular values,
    diagonal   Σ |K_ii| / Σ |K_ij| times the number of points: 1 for a constant kernel,
    distance   Σ |K_ij| |i - j| / Σ |K_ij| over that of a constant kernel.
"""

from pathlib import Path
from typing import Any

import channel
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import snapshots
from tables import number, table

from krylax.learned import neural_operators as no
from krylax.learned import training

TITLE = "Mixing and norm of the factorised transformer"
MODEL: dict[str, Any] = {
    "width": 32,
    "num_heads": 4,
    "head_width": 16,
    "num_iterations": 4,
}
LENGTHS = (0, 300, 1200)
BATCH = 4
NUM_STEPS = 400
NUM_SAMPLES = 8
AXES = "xyz"

ROWS: dict[str, tuple[Any, Any, int]] = {
    f"{mixing}, {norm}, seed {seed}": (mixing, norm, seed)
    for mixing in ("parallel", "chained")
    for norm in ("instance", "slab")
    for seed in (0, 1)
}
PARTS = tuple(ROWS)
FAST_PARTS = ("chained, slab, seed 0",)


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Train to each length, and look at the kernels; roll out the last model."""
    mixing, norm, seed = ROWS[part]
    fields = snapshots.snapshots(folder, is_fast=is_fast)
    blocks, grid = snapshots.split(fields), snapshots.grid(is_fast=is_fast)
    data, valid = (training.Data.of_trajectories(block[None]) for block in blocks[:2])
    model = no.IFactFormer(
        3, 3, 3, **MODEL, mixing=mixing, norm=norm, key=jax.random.key(seed)
    )
    found: dict[str, Any] = {"kernels": {}}
    lengths = (0, 2) if is_fast else LENGTHS
    unit = training.Data.of_trajectories(blocks[2][None])
    samples = (unit.inputs - unit.inputs.mean()) / unit.inputs.std()
    step: Any = None
    trained: Any = model
    for length in lengths:
        if length:
            # With a constant rate a shorter training is the beginning of a longer one.
            settings = training.Settings(
                num_steps=length,
                batch_size=BATCH,
                schedule="constant",
                augment=snapshots.symmetries,
                validate_every=min(length, 100),
                seed=seed,
                progress=False,
            )
            result = training.train(model, data, valid, settings, grid=grid)
            step, trained = result.surrogate, result.model
            found["validation"] = np.asarray(result.history["validation"]).tolist()
        kept = samples[:NUM_SAMPLES].astype(np.float32)
        found["kernels"][str(length)] = described(trained, kept, grid)
    truth = channel.profiles(fields)
    steps = 4 if is_fast else NUM_STEPS
    rolled = jax.jit(lambda u: no.rollout(step, u, num_steps=steps))(blocks[2][0])
    late = np.asarray(rolled.values)[slice(1, None) if is_fast else channel.LATE]
    found["first_nonfinite"] = int(rolled.first_nonfinite)
    found |= channel.differences(channel.profiles(late), truth)
    return found | channel.one_step(step, blocks[2], truth)


@eqx.filter_jit
def _kernels(model: no.IFactFormer, x: Any, grid: no.Grid) -> list[Any]:
    """The kernels of all iterations, (iterations, heads, n, n) for each axis."""
    kept: list[Any] = []

    def advance(v: Any, axes: Any) -> Any:
        for _ in range(model.num_iterations):
            kept.append(model.block.axial_kernels(model.block.norm(v), axes))
            v = v + model.block(v, axes) / model.num_iterations
        return v

    model.ends(x, grid, advance)
    return [jnp.stack(of_axis) for of_axis in zip(*kept, strict=True)]


def described(model: Any, samples: np.ndarray, grid: no.Grid) -> dict[str, Any]:
    """The measures of each axis."""
    found = [_kernels(model, x, grid) for x in samples]
    return {
        name: measures(np.stack([np.asarray(kernels[a]) for kernels in found]))
        for a, name in enumerate(AXES)
    }


def measures(K: np.ndarray) -> dict[str, float]:
    """Rank, diagonal and distance of kernels (..., n, n)."""
    n = K.shape[-1]
    sizes = np.linalg.svd(K.astype(np.float64), compute_uv=False)
    p = sizes / sizes.sum(-1, keepdims=True)
    rank = np.exp(-np.sum(p * np.log(np.maximum(p, 1e-300)), axis=-1))
    absolute = np.abs(K)
    total = absolute.sum((-2, -1))
    apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    diagonal = n * np.trace(absolute, axis1=-2, axis2=-1) / total
    distance = (absolute * apart).sum((-2, -1)) / total / apart.mean()
    named = {"rank": rank, "diagonal": diagonal, "distance": distance}
    return {name: float(np.mean(values)) for name, values in named.items()}


def markdown(found: dict[str, Any]) -> str:
    """A line per model, and one per model, axis and length for the kernels."""
    names = ("U", "u", "v", "w", "-uv")
    header = ["mixing, norm", "validation", "one step", "not finite at", *names]
    lines = [
        [
            part,
            number(min(of["validation"])),
            number(of["one_step"]),
            str(of["first_nonfinite"]) if of["first_nonfinite"] >= 0 else "",
            *[number(of[name]) for name in names],
        ]
        for part, of in found.items()
    ]
    kernels = [
        [part, length, axis, *[number(value) for value in values.values()]]
        for part, of in found.items()
        for length, axes in of["kernels"].items()
        for axis, values in axes.items()
    ]
    more = ["mixing, norm", "steps", "axis", "rank", "diagonal", "distance"]
    return table(header, lines) + "\n\n" + table(more, kernels)
