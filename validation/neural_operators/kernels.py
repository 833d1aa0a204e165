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
import matplotlib as mpl
import numpy as np
import snapshots
from tables import number, table

from krylax.datasets import channel_flow
from krylax.learned import neural_operators as no
from krylax.learned import training

TITLE = "Mixing and norm of the factorised transformer"
LENGTHS = (0, 300, 1200)
MODEL: dict[str, Any] = channel.SMALL
BATCH = 2
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
    mean = snapshots.mean_profile(blocks[0])
    data, valid, test = (
        training.Data.of_trajectories((block - mean)[None]) for block in blocks
    )
    model = no.IFactFormer(
        3, 3, 3, **MODEL, mixing=mixing, norm=norm, key=jax.random.key(seed)
    )
    found: dict[str, Any] = {"kernels": {}}
    lengths = (0, 2) if is_fast else LENGTHS
    kept = test.inputs / data.inputs.std((0, 2, 3, 4))[:, None, None, None]
    kept = kept[:NUM_SAMPLES].astype(np.float32)
    surrogate: Any = None
    trained: Any = model
    for length in lengths:
        if length:
            # With a constant rate a shorter training is the beginning of a longer one.
            settings = training.Settings(
                num_steps=length,
                batch_size=BATCH,
                schedule="constant",
                loss="vrmse",
                augment=channel_flow.random_symmetry,
                validate_every=min(length, 100),
                seed=seed,
                progress=False,
            )
            result = training.train(model, data, valid, settings, grid=grid)
            surrogate, trained = result.surrogate, result.model
            found["validation"] = np.asarray(result.history["validation"]).tolist()
        found["kernels"][str(length)] = described(trained, kept, grid)
    found["drawn"] = {
        name: np.round(np.asarray(K[-1, 0]), 4).tolist()
        for name, K in zip(AXES, _kernels(trained, kept[0], grid), strict=True)
    }
    truth = channel.Truth.of(fields, grid)
    steps = 4 if is_fast else NUM_STEPS

    def step(u: Any) -> Any:
        return surrogate(u - mean) + mean

    found["rollouts"] = channel.long(step, blocks[2], truth, steps)
    return found | channel.short(step, blocks[2], truth)


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
    header = ["mixing, norm", "validation", "one step", "blows up at", *names]
    lines = [
        [
            part,
            number(min(of["validation"])),
            number(of["one_step"]),
            ", ".join(
                str(row["blown_up"])
                for row in of["rollouts"]
                if row["blown_up"] is not None
            ),
            *[number(max(row[name] for row in of["rollouts"])) for name in names],
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


def draw(found: dict[str, Any], folder: Path) -> None:
    """The kernels of the last iteration and first head, trained, of the first seed."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    parts = [part for part in found if part.endswith("seed 0")]
    figure, axes = plt.subplots(
        len(AXES),
        max(len(parts), 1),
        figsize=(2.6 * max(len(parts), 1), 7),
        layout="constrained",
        squeeze=False,
    )
    for column, part in zip(axes.T, parts, strict=True):
        column[0].set_title(part.removesuffix(", seed 0"), fontsize=10)
        for ax, (name, K) in zip(column, found[part]["drawn"].items(), strict=True):
            size = np.abs(K).max()
            ax.imshow(K, cmap="RdBu", vmin=-size, vmax=size)
            ax.set(xticks=[], yticks=[], ylabel=f"K_{name}")
    figure.savefig(folder / "kernels.png", dpi=80)
    plt.close(figure)
