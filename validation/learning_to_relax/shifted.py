"""The paper's basic experiment: SOR on a small Laplacian with random shifts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import learners
import numpy as np
from plots import draw_regret
from shifted_laplacian import ARMS, count_steps, jacobi_radius, sample
from tables import table

TITLE = "Shifted Laplacian, n = 100"
# Trials and rounds; the paper's are 40 and 5000.
SIZES = {False: (40, 5000), True: (3, 240)}
FIRST_SEED = 1000
"""Settings were chosen on instances of other seeds, below it."""
TITLES = {
    "low": "Low variance, c = 0.6 Beta(2, 6) - 0.15",
    "high": "High variance, c = 0.6 Beta(1/2, 3/2) - 0.15",
    "drift": "The law changes half-way",
}
PARTS = tuple(TITLES)
FAST_PARTS = ("low", "drift")
FAST_LEARNERS = ("Uniform", "ChebCB")
"""What a smoke run spends its time on is compiling."""
HEADER = (
    "learner",
    "mean steps",
    "± over trials",
    "first 500",
    "last 1000",
    "/ best fixed",
    "last 1000",
    "/ instance-optimal",
    "last 1000",
    "trials below best fixed",
)
DRIFT_HEADER = (
    "learner",
    "mean steps",
    "before",
    "500 after",
    "from 500 to 1000",
    "all later",
)


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return the summaries of all rows of a part."""
    if part == "drift":
        low, high = (_runs(law, folder, is_fast=is_fast) for law in ("low", "high"))
        runs = {
            "low to high": _joined(low, high),
            "high to low": _joined(high, low),
        }
        tuners, windows = learners.drifting(), _drift_windows
    else:
        runs = {part: _runs(part, folder, is_fast=is_fast)}
        tuners, windows = learners.stationary(), _windows
    if is_fast:
        tuners = {n: t for n, t in tuners.items() if n.startswith(FAST_LEARNERS)}
    found = {name: _measured(these, tuners, windows) for name, these in runs.items()}
    num_trials, num_rounds = SIZES[is_fast]
    rounds = learners.curve_rounds(num_rounds).tolist()
    return {"trials": num_trials, "rounds": rounds, "found": found}


def _runs(law: str, folder: Path, *, is_fast: bool) -> learners.Runs:
    """The instances and costs of a law; what takes longest is kept in the folder."""
    num_trials, num_rounds = SIZES[is_fast]
    trials = [
        _trial(law, FIRST_SEED + trial, num_rounds, folder)
        for trial in range(num_trials)
    ]
    contexts, steps = (np.stack(arrays) for arrays in zip(*trials, strict=True))
    costs = steps.astype(float)
    return learners.Runs(costs[..., :-1], contexts, costs[..., -1])


def _trial(
    law: str, seed: int, num_rounds: int, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Contexts, and the steps of all arms and of Young's factor."""
    path = folder / "costs" / f"{law}-{seed}-{num_rounds}.npz"
    if path.exists():
        with np.load(path) as stored:
            return stored["contexts"], stored["steps"]
    instances = sample(law, num_rounds, seed)
    young = 2 / (1 + np.sqrt(1 - jacobi_radius(instances.shifts) ** 2))
    arms = np.tile(ARMS, (num_rounds, 1))
    omegas = np.concatenate([arms, young[:, None]], axis=1)
    steps = count_steps(instances, omegas).astype(np.int16)
    path.parent.mkdir(exist_ok=True, parents=True)
    # Renamed when complete, so that a run that is stopped leaves no half of a file.
    draft = path.with_suffix(".part")
    with draft.open("wb") as file:
        np.savez_compressed(file, contexts=instances.shifts, steps=steps)
    draft.rename(path)
    return instances.shifts, steps


def _joined(before: learners.Runs, after: learners.Runs) -> learners.Runs:
    """The first half of one and the second half of the other."""
    half = before.costs.shape[1] // 2
    pairs = zip(before, after, strict=True)
    return learners.Runs(
        *(np.concatenate([a[:, :half], b[:, half:]], axis=1) for a, b in pairs)
    )


def _measured(
    runs: learners.Runs,
    tuners: dict[str, Any],
    windows: Callable[[int], dict[str, slice]],
) -> dict[str, Any]:
    """The summaries of those that do not learn, and of the tuners."""
    paid = learners.references(runs)
    for seed, (name, tuner) in enumerate(tuners.items()):
        paid[name] = learners.play(tuner, runs, seed)
    spans = windows(runs.costs.shape[1])
    return {name: learners.summary(p, runs, spans) for name, p in paid.items()}


def _windows(num_rounds: int) -> dict[str, slice]:
    return {
        "all": slice(None),
        "first": slice(num_rounds // 10),
        "last": slice(-num_rounds // 5, None),
    }


def _drift_windows(num_rounds: int) -> dict[str, slice]:
    half, part = num_rounds // 2, num_rounds // 10
    return {
        "all": slice(None),
        "before": slice(half - 2 * part, half),
        "after": slice(half, half + part),
        "recovered": slice(half + part, half + 2 * part),
        "later": slice(half + part, None),
    }


def markdown(found: dict[str, Any]) -> str:
    """Return a table per law, and for each way of drift."""
    sections = []
    for part, measured in found.items():
        for name, rows in measured["found"].items():
            way = f": {name}" if part == "drift" else ""
            title = f"**{TITLES[part]}{way}** ({measured['trials']} trials)"
            lines = _drift_lines(rows) if part == "drift" else _lines(rows)
            header = DRIFT_HEADER if part == "drift" else HEADER
            sections += [title, table(header, lines)]
    if "drift" in found:
        sections += [
            "In the drift tables all columns but the first are ratios to instance-"
            "optimal: over the last 1000 before the change, the first 500 after it, "
            "the next 500, and all that come later than 500 after it."
        ]
    return "\n\n".join(sections)


def _lines(rows: dict[str, Any]) -> list[list[str]]:
    return [
        [
            name,
            number(row["windows"]["all"]["mean"]),
            number(row["spread"]),
            number(row["windows"]["first"]["mean"]),
            number(row["windows"]["last"]["mean"]),
            f"{row['windows']['all']['to_fixed']:.3f}",
            f"{row['windows']['last']['to_fixed']:.3f}",
            f"{row['windows']['all']['to_optimal']:.3f}",
            f"{row['windows']['last']['to_optimal']:.3f}",
            f"{row['below_fixed']:.0%}",
        ]
        for name, row in rows.items()
    ]


def _drift_lines(rows: dict[str, Any]) -> list[list[str]]:
    keys = ("before", "after", "recovered", "later")
    return [
        [name, number(row["windows"]["all"]["mean"])]
        + [f"{row['windows'][key]['to_optimal']:.3f}" for key in keys]
        for name, row in rows.items()
    ]


def draw(found: dict[str, Any], folder: Path) -> None:
    """Draw the regret of the learners."""
    draw_regret(found, folder / "regret.png")


def number(value: float) -> str:
    """One decimal below a thousand, none above."""
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"
