"""Surrogates of turbulent channel flow, and large-eddy simulation on the same grid.

The models are given fluctuations that the mean flow has carried for Δ (`frozen.py`),
and predict those of the next snapshot, at the end by `turbulence.loss`; "as published"
is the model without options, of whole velocities at rest, by the relative L² alone.

Each model is trained for 15 minutes to map a snapshot to the next one (`snapshots.py`),
and rolled out for 400 of them, 24 h/u_τ, from three times that were not trained on.
Beside them are persistence, frozen turbulence, which is the step without a model, and
eddy viscosities on the same grid.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import matplotlib as mpl
import numpy as np
import snapshots
import turbulence
from darcy import planned_steps
from frozen import Frame
from matplotlib.colors import Normalize
from tables import number, table

from krylax.datasets import channel_flow
from krylax.learned import neural_operators as no
from krylax.learned import training

TITLE = "Turbulent channel flow"
MINUTES = 15
BATCHES = {no.IFactFormer: 2, no.FNO: 4, no.IFNO: 4}
LEARNING_RATES = {no.IFactFormer: 2e-3, no.FNO: 1e-3, no.IFNO: 1e-3}
NUM_STEPS = 400
NUM_STARTS = 3
MAX_GROWTH = 3.0
"""Of the largest velocity, in what is not called a blow-up."""
NUM_CORRELATED = 10
NEAR_WALL = 4
"""The points 13.5 wall units from a wall."""
RE_TAU = 180
CORRELATED = 0.8
LES_DT = 2e-3

AS_PUBLISHED = "IFactFormer-m as published"


class Phase(NamedTuple):
    """A part of a training: of the steps, and of the largest learning rate."""

    share: float
    loss: Any
    noise: float
    rate: float = 1.0


RECIPE = (Phase(0.85, "vrmse", 0.1), Phase(0.15, turbulence.loss, 0.05, rate=0.25))
"""Noise is in standard deviations of the inputs.

Trained by the second loss from the beginning, IFactFormer-m had an error of one step of
0.26 instead of 0.21, and v' and w' of its rollouts were off by 63 and 85 %.
"""
PUBLISHED_RECIPE = (Phase(1.0, "relative_l2", 0.0),)
SMALL = {"width": 32, "num_heads": 4, "head_width": 16, "num_iterations": 4}
OPTIONS = {"quadrature": True, "periodic_rotary": True}
PARALLEL, CHAINED = {**SMALL, "mixing": "parallel"}, {**SMALL, "mixing": "chained"}
MODELS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "IFactFormer-m": (no.IFactFormer, {**PARALLEL, **OPTIONS}, 3),
    "IFactFormer-o": (no.IFactFormer, {**CHAINED, **OPTIONS}, 2),
    AS_PUBLISHED: (no.IFactFormer, PARALLEL, 1),
    "FNO": (no.FNO, {"num_modes": (6, 8, 4), "width": 24, "num_layers": 4}, 2),
    "IFNO": (no.IFNO, {"num_modes": (6, 8, 4), "width": 24, "num_iterations": 6}, 2),
}
ROWS = {
    f"{name}, seed {seed}": (name, seed)
    for name, (*_, seeds) in MODELS.items()
    for seed in range(seeds)
}
SUBGRID = ("smagorinsky", "dynamic_smagorinsky", "wale")
FROZEN = "frozen turbulence"
PARTS = ("persistence", FROZEN, *SUBGRID, *ROWS)
FAST_PARTS = ("persistence", FROZEN, "wale", "IFactFormer-m, seed 0")


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """One row."""
    fields = snapshots.snapshots(folder, is_fast=is_fast)
    blocks = snapshots.split(fields)
    truth = Truth.of(fields, snapshots.grid(is_fast=is_fast))
    steps = 4 if is_fast else NUM_STEPS
    if part in SUBGRID:
        return les(part, truth, steps, is_fast=is_fast)
    if part == "persistence":
        return baselines(blocks, truth)
    if part == FROZEN:
        frame = Frame.of(blocks[0], snapshots.channel(is_fast=is_fast))
        step, trained = lambda u: frame.given(u) + frame.mean, {}
    else:
        step, trained = trained_step(*ROWS[part], blocks, folder, is_fast=is_fast)
    return {
        **trained,
        **short(step, blocks[2], truth),
        "rollouts": long(step, blocks[2], truth, steps),
    }


class Truth(NamedTuple):
    """The statistics of all snapshots, and the points they are on."""

    profiles: dict[str, np.ndarray]
    spectra: dict[str, np.ndarray]
    y: np.ndarray
    lengths: tuple[float, float]

    @classmethod
    def of(cls, fields: np.ndarray, grid: no.Grid) -> Self:
        """Return those of snapshots."""
        y = np.asarray(grid.coordinates[1])
        lengths = (float(grid.lengths[0]), float(grid.lengths[2]))
        spectra = turbulence.spectra(fields, y, RE_TAU)
        return cls(turbulence.profiles(fields), spectra, y, lengths)

    def compared(self, fields: np.ndarray) -> dict[str, Any]:
        """Return how far the statistics of fields are from these."""
        profiles = turbulence.profiles(fields)
        spectra = turbulence.spectra(fields, self.y, RE_TAU)
        return {
            **turbulence.differences(profiles, self.profiles),
            "spectra": turbulence.spectral_error(spectra, self.spectra),
            "divergence": turbulence.divergence(fields, self.y, self.lengths),
            "kept": _listed({**profiles, **spectra}),
        }


def _listed(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: np.round(q, 5).tolist() for name, q in arrays.items()}


def short(step: Any, block: np.ndarray, truth: Truth) -> dict[str, Any]:
    """The error of one step, and the correlation with the truth after more of them."""
    later = turbulence.fluctuations(block, truth.profiles)
    predict = jax.jit(lambda u: jax.lax.map(step, u))
    count = min(NUM_CORRELATED, len(block) // 2)
    state, errors, correlated = block[: len(block) - count], [], []
    for i in range(1, count + 1):
        state = np.asarray(predict(state))
        moved = turbulence.fluctuations(state, truth.profiles)
        target = later[i : i + len(state)]
        errors.append(turbulence.relative_error(moved, target))
        correlated.append(float(turbulence.correlation(moved, target).mean()))
    return {"one_step": errors[0], "errors": errors, "correlation": correlated}


def long(
    step: Any, block: np.ndarray, truth: Truth, num_steps: int
) -> list[dict[str, Any]]:
    """The late statistics of rollouts from the beginning, the middle and the end."""
    roll = jax.jit(lambda u: no.rollout(step, u, num_steps=num_steps))
    roll(block[0])
    rows = []
    for i in np.linspace(0, len(block) - 1, NUM_STARTS, dtype=int):
        begin = time.perf_counter()
        values = np.asarray(roll(block[i]).values)
        taken = (time.perf_counter() - begin) / num_steps
        largest = np.abs(values).max((1, 2, 3, 4))
        beyond = np.flatnonzero(~(largest < MAX_GROWTH * largest[0]))
        late = values[num_steps // 2 :]
        rows.append(
            {
                "blown_up": int(beyond[0]) if len(beyond) else None,
                "seconds": taken,
                **truth.compared(late),
                "plane": np.round(values[-1][0, :, NEAR_WALL], 3).tolist(),
            }
        )
    return rows


def trained_step(
    name: str, seed: int, blocks: Any, folder: Path, *, is_fast: bool
) -> tuple[Any, dict[str, Any]]:
    """Train a model, or go on, and return its map of velocities, and its training."""
    cls, arguments, _ = MODELS[name]
    model = cls(3, 3, 3, **arguments, key=jax.random.key(seed))
    recipe = RECIPE
    frame = Frame.of(blocks[0], snapshots.channel(is_fast=is_fast))
    if name == AS_PUBLISHED:
        recipe, frame = PUBLISHED_RECIPE, Frame.at_rest(blocks[0])
    data, valid = (
        training.Data(np.asarray(frame.given(block[:-1])), block[1:] - frame.mean)
        for block in blocks[:2]
    )
    grid = snapshots.grid(is_fast=is_fast)
    steps = 8
    if not is_fast:
        path = folder / f"{name}.steps"
        settings = partial(_settings, cls, seed, PUBLISHED_RECIPE[0])
        steps = planned_steps(path, MINUTES, model, data, settings, grid)
    validation: list[float] = []
    result: Any = None
    trained = model
    for i, phase in enumerate(recipe):
        result = training.train(
            trained,
            data,
            valid,
            _settings(cls, seed, phase, round(phase.share * steps)),
            grid=grid,
            folder=folder / f"channel-{name}, seed {seed}-{i}",
        )
        trained = result.model
        validation += np.asarray(result.history["validation"]).tolist()
    surrogate = result.surrogate
    return lambda u: surrogate(frame.given(u)) + frame.mean, {
        "parameters": training.num_parameters(model),
        "num_steps": steps,
        "validation": validation,
    }


def _settings(cls: Any, seed: int, phase: Phase, num_steps: int) -> training.Settings:
    return training.Settings(
        num_steps=num_steps,
        batch_size=BATCHES[cls],
        learning_rate=phase.rate * LEARNING_RATES[cls],
        ema=0.99,
        loss=phase.loss,
        noise=phase.noise,
        augment=channel_flow.random_symmetry,
        validate_every=min(num_steps, 200),
        seed=seed,
        progress=False,
    )


def baselines(blocks: Any, truth: Truth) -> dict[str, Any]:
    """Persistence, and how far the test block is from all snapshots."""
    return {
        **short(lambda u: u, blocks[2], truth),
        **truth.compared(blocks[2]),
        "truth": _listed({**truth.profiles, **truth.spectra}),
        "y": truth.y.tolist(),
        "plane": np.round(blocks[2][-1][0, :, NEAR_WALL], 3).tolist(),
    }


def les(part: str, truth: Truth, num_steps: int, *, is_fast: bool) -> dict[str, Any]:
    """The eddy viscosity of a name on the grid of the snapshots."""
    n = snapshots.SHAPE
    fine = snapshots.channel(is_fast=is_fast)
    flow = channel_flow.Channel(
        RE_TAU,
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
    late = np.stack(fields)[num_steps // 2 :]
    return {
        "seconds": seconds,
        **truth.compared(late),
        "plane": np.round(fields[-1][0, :, NEAR_WALL], 3).tolist(),
    }


def markdown(found: dict[str, Any]) -> str:
    """A line per row; of rollouts the worst of three."""
    names = ("U", "u", "v", "w", "-uv", "spectra", "divergence")
    header = [
        "",
        "parameters",
        "steps of training",
        "one step",
        "correlated, Δ",
        "blows up at",
        *names,
        "ms per Δ",
    ]
    lines = []
    for part, of in found.items():
        rows = of.get("rollouts", [of])
        ends = [row.get("blown_up") for row in rows]
        lines.append(
            [
                part.replace("_", " "),
                *[str(of.get(key, "")) for key in ("parameters", "num_steps")],
                number(of["one_step"]) if "one_step" in of else "",
                number(time_of(of["correlation"])) if "correlation" in of else "",
                ", ".join(str(end) for end in ends if end is not None),
                *[number(max(row[name] for row in rows)) for name in names],
                number(1e3 * np.median([row["seconds"] for row in rows]))
                if "seconds" in rows[0]
                else "",
            ]
        )
    return table(header, lines)


def time_of(correlation: list[float]) -> float:
    """The steps, between whole ones, after which a correlation is below 0.8."""
    values = np.array([1.0, *correlation])
    below = np.flatnonzero(values < CORRELATED)
    if not len(below):
        return float(len(correlation))
    i = int(below[0])
    return float(i - 1 + (values[i - 1] - CORRELATED) / (values[i - 1] - values[i]))


def draw(found: dict[str, Any], folder: Path) -> None:
    """Profiles, spectra and a plane near the wall: of the first seed, first rollout."""
    if "persistence" not in found:
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    base = found["persistence"]
    rows = {
        part.removesuffix(", seed 0").replace("_", " "): of.get("rollouts", [of])[0]
        for part, of in found.items()
        if part != "persistence" and ", seed 1" not in part and ", seed 2" not in part
    }
    y = np.array(base["y"])
    half = len(y) // 2 + 1
    wall_units = RE_TAU * (y - y[0])[:half]
    labels = {"U": "U⁺", "u": "u′⁺", "v": "v′⁺", "w": "w′⁺", "-uv": "−u′v′⁺"}
    spectra = [name for name in base["truth"] if "," in name]
    figure, axes = plt.subplots(2, 5, figsize=(16, 7), layout="constrained")
    for ax, (name, label) in zip(axes[0], labels.items(), strict=True):
        for part, row in rows.items():
            ax.plot(wall_units, row["kept"][name][:half], label=part)
        ax.plot(wall_units, base["truth"][name][:half], "k--", label="simulation")
        ax.set(xlabel="y⁺", title=label)
    for ax, name in zip(axes[1], spectra, strict=False):
        for row in rows.values():
            energy = row["kept"][name]
            ax.loglog(np.arange(1, 1 + len(energy)), energy)
        energy = base["truth"][name]
        ax.loglog(np.arange(1, 1 + len(energy)), energy, "k--")
        ax.set(xlabel="waves in the box", title=f"energy of u′: {name}")
        ticks = [k for k in (1, 2, 4, 8) if k <= len(energy)]
        ax.set_xticks(ticks, map(str, ticks))
        ax.minorticks_off()
    axes[1, 4].axis("off")
    handles, names = axes[0, 0].get_legend_handles_labels()
    axes[1, 4].legend(handles, names, loc="center")
    figure.savefig(folder / "channel-profiles.png", dpi=65)
    plt.close(figure)
    planes = {"simulation": base["plane"]} | {
        k: row["plane"] for k, row in rows.items()
    }
    figure, axes = plt.subplots(
        2, -(-len(planes) // 2), figsize=(13, 4), layout="constrained", squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    scale = Normalize(3, 17)
    for ax, (part, plane) in zip(axes.flat, planes.items(), strict=False):
        ax.imshow(np.array(plane).T, origin="lower", norm=scale)
        ax.set_title(part, fontsize=9)
    figure.colorbar(plt.cm.ScalarMappable(scale), ax=axes, label="u⁺ at y⁺ = 13.5")
    figure.savefig(folder / "channel-planes.png", dpi=90)
    plt.close(figure)
