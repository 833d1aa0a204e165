"""Darcy flow on 64² cells: error over training time, and on 128² cells untrained.

1000 samples for training, 100 for the choice of the best model, 200 for the test, all
made by `krylax.datasets.generate`; training in float32 on one core. Each model has the
minutes of its row, for which the number of its steps is set by a measurement before.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from models import CASES, Case
from tables import number, table

import krylax as kx
from krylax.learned import training

TITLE = "Darcy flow"
RTOL = 1e-8
COUNTS = {"train": 1000, "valid": 100, "test": 200}
NUM_POINTS = 64
LEARNING_RATES = {"FNO": 1e-3, "IFactFormer": 1e-3}

MODELS: dict[str, tuple[Case, dict[str, Any]]] = {
    "FNO": (CASES["FNO, 64²"], {}),
    "IFactFormer-m": (
        CASES["IFactFormer-m, 32²"]._replace(shape=(64, 64)),
        {"downsample": True, "quadrature": True},
    ),
}
# Model and minutes.
ROWS = {f"{name}, {n} min": (name, n) for n in (30, 150) for name in MODELS}
PARTS = tuple(ROWS)
FAST_PARTS = ("FNO, 30 min",)


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Train a model, or go on, and test it."""
    name, minutes = ROWS[part]
    counts, n = ({k: 8 for k in COUNTS}, 16) if is_fast else (COUNTS, NUM_POINTS)
    data = {stream: samples(folder, n, stream, counts[stream]) for stream in counts}
    fine = samples(folder, 2 * n, "test", counts["test"])
    case, more = MODELS[name]
    if is_fast:
        more = {"num_modes": (4, 4), "width": 8}
        case = case._replace(batch=4, accumulate=1)
    model = case.make(**more)

    def settings(num_steps: int) -> training.Settings:
        return settings_of(case, num_steps, counts["train"])

    steps = 4
    if not is_fast:
        path = folder / f"{part}.steps"
        steps = planned_steps(path, minutes, model, data["train"], settings)
    result = training.train(
        model,
        data["train"],
        data["valid"],
        settings(steps),
        folder=folder / part,
    )
    surrogate = result.surrogate
    assert surrogate is not None
    training.save(folder / f"{part}.surrogate", surrogate)
    found = training.evaluate(surrogate, data["test"])
    on_fine = training.evaluate(surrogate, fine)
    return {
        "parameters": training.num_parameters(model),
        "num_steps": steps,
        "test": {name: float(found[name]) for name in ("relative_l2", "h1", "vrmse")},
        "fine": float(on_fine["relative_l2"]),
        "curve": curve(result.history, minutes / steps),
    }


def samples(folder: Path, n: int, stream: str, count: int) -> training.Data:
    """The samples of a stream on n² cells, generated where they are not yet there."""
    place = folder / f"darcy{n}-{stream}-{count}"
    if not place.exists():
        family = kx.datasets.Darcy(num_points=(n, n), stream=stream)
        kx.datasets.generate(family, count, place, rtol=RTOL)
    return training.from_dataset(place, inputs=["coefficient"], outputs=["solution"])


def settings_of(case: Case, num_steps: int, num_samples: int) -> training.Settings:
    """How a model is trained."""
    return training.Settings(
        num_steps=num_steps,
        batch_size=case.batch,
        accumulate=case.accumulate,
        learning_rate=LEARNING_RATES[case.cls.__name__],
        weight_decay=1e-4,
        augment="square",
        validate_every=max(1, min(num_samples // case.batch, num_steps)),
        progress=False,
    )


def planned_steps(
    path: Path,
    minutes: float,
    model: Any,
    data: training.Data,
    settings: Callable[[int], training.Settings],
    grid: Any = None,
) -> int:
    """The steps that fit into the minutes; kept, as a training goes on with its own."""
    if not path.exists():
        # Of the seconds on the clock those of this process, which others do not touch;
        # the first validations compile.
        trial = replace(settings(50), validate_every=10)
        wall, own = time.perf_counter(), time.process_time()
        at = training.train(model, data, data[:1], trial, grid=grid).history["seconds"]
        share = (time.process_time() - own) / (time.perf_counter() - wall)
        per_step = min(share, 1.0) * (at[-1] - at[1]) / 30
        path.write_text(json.dumps(max(1, int(60 * minutes / per_step))))
    return json.loads(path.read_text())


def curve(history: dict[str, Any], minutes_per_step: float) -> dict[str, list[float]]:
    """The validations over the minutes of the row, some thirty of them."""
    every = max(1, len(history["validated"]) // 30)
    minutes = history["validated"][::every] * minutes_per_step
    return {
        "minutes": minutes.tolist(),
        "validation": history["validation"][::every].tolist(),
    }


def markdown(found: dict[str, Any]) -> str:
    """A line per training."""
    header = [
        "model, training",
        "parameters",
        "steps",
        "relative L²",
        "H¹",
        "VRMSE",
        "relative L² at 128²",
        "over 64²",
    ]
    lines = []
    for name, part in found.items():
        test = part["test"]
        lines.append(
            [
                name,
                str(part["parameters"]),
                str(part["num_steps"]),
                *[number(test[key]) for key in ("relative_l2", "h1", "vrmse")],
                number(part["fine"]),
                number(part["fine"] / test["relative_l2"]),
            ]
        )
    return table(header, lines)


def draw(found: dict[str, Any], folder: Path) -> None:
    """The validations over the time of training."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for part, of in found.items():
        axes.semilogy(of["curve"]["minutes"], of["curve"]["validation"], label=part)
    axes.set(xlabel="minutes on one core", ylabel="relative L², validation")
    axes.legend()
    figure.savefig(folder / "darcy.png", dpi=90)
    plt.close(figure)
