"""The published training: the errors of its own short runs, and what a step costs."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from equations import EQUATIONS, Equation
from tables import table

from krylax.learned.gaussian_process._joint import train_joint
from krylax.learned.gaussian_process._joint_objective import JointEnvelope

TITLE = "The published training, GP-HM"
ENVELOPES: dict[str, JointEnvelope] = {"StM": "matern52", "GM": "gaussian"}


@dataclass(frozen=True)
class Setting:
    """A run of the published code.

    Attributes:
        equation: what is solved.
        num_points: per axis.
        max_frequency: in cycles per unit.
        num_steps: theirs.
        error, seconds: theirs, by envelope.
        change_point: of the rows with a second process.
        weight: λ.
        num_timed: steps that are timed here.
    """

    equation: Equation
    num_points: int
    max_frequency: float
    num_steps: int
    error: dict[str, float]
    seconds: dict[str, float]
    change_point: float | None = None
    weight: float = 200.0
    num_timed: int = 1000


P, UNIT = EQUATIONS, {name: replace(e, length=1.0) for name, e in EQUATIONS.items()}

# Errors and seconds of runs as logged in the repository of the authors,
# xuangu-fang/Gaussian-Process-Slover-for-High-Freq-PDE: the first two at its head, the
# others in its history (6e8cc85 and 561e340). The logs of the runs on the unit interval
# do not say how many points they have.
RUNS = {
    "p1-100": Setting(P["p1"], 400, 20, 100, {"StM": 0.27562065}, {"StM": 4.9965}),
    "p6-100": Setting(P["p6"], 400, 20, 100, {"StM": 0.46758844}, {"StM": 9.0589}),
    "p7-1000": Setting(P["p7"], 200, 20, 1000, {"StM": 0.25561261}, {"StM": 17.5492}),
    "unit-p1": Setting(UNIT["p1"], 200, 30, 1000, {"StM": 0.16586167}, {"StM": 10.6}),
    "unit-p2": Setting(
        UNIT["p2"],
        200,
        30,
        1000,
        {"StM": 0.98904217, "GM": 0.99193679},
        {"StM": 11.1, "GM": 8.79},
    ),
    "unit-p3": Setting(UNIT["p3"], 200, 30, 1000, {"StM": 0.01106699}, {"StM": 10.6}),
    "unit-p4": Setting(UNIT["p4"], 200, 30, 1000, {"StM": 0.15929623}, {"StM": 11.1}),
    "unit-p7": Setting(
        UNIT["p7"],
        200,
        30,
        1000,
        {"StM": 0.99677305, "GM": 0.99814452},
        {"StM": 22.5, "GM": 17.2},
    ),
    "unit-a1": Setting(UNIT["a1"], 200, 30, 1000, {"StM": 0.16585479}, {"StM": 10.7}),
    "unit-a2": Setting(UNIT["a2"], 200, 30, 1000, {"StM": 0.01106616}, {"StM": 10.6}),
    "unit-a3": Setting(UNIT["a3"], 200, 30, 1000, {"StM": 0.56105803}, {"StM": 22.7}),
    "unit-advection": Setting(
        P["advection"], 200, 40, 1000, {"StM": 0.9996307}, {"StM": 15.0}
    ),
}
# The configurations of its head, with errors and seconds of runs of as many steps on as
# many points, of which there are none for "p2" and "p5".
ROWS = {
    "p1": Setting(
        P["p1"],
        400,
        20,
        100_000,
        {"GM": 3.99e-7, "StM": 6.53e-7},
        {"GM": 1329, "StM": 1665},
    ),
    "p2": Setting(P["p2"], 900, 30, 1_000_000, {}, {}, change_point=0.5),
    "p3": Setting(
        P["p3"],
        400,
        20,
        100_000,
        {"GM": 1.52e-6, "StM": 5.47e-6},
        {"GM": 1329, "StM": 1663},
    ),
    "p4": Setting(
        P["p4"],
        900,
        50,
        100_000,
        {"GM": 1.55e-6, "StM": 8.98e-7},
        {"GM": 6043, "StM": 7451},
    ),
    "p5": Setting(P["p5"], 400, 100, 1_000_000, {}, {}, change_point=0.01),
    "p6": Setting(
        P["p6"],
        400,
        20,
        100_000,
        {"GM": 6.46e-5, "StM": 6.87e-5},
        {"GM": 5586, "StM": 8209},
        num_timed=300,
    ),
    "p7": Setting(
        P["p7"],
        200,
        20,
        1_000_000,
        {"GM": 1.06e-3, "StM": 1.02e-3},
        {"GM": 6132, "StM": 6627},
    ),
    "a1": Setting(
        P["a1"],
        400,
        20,
        100_000,
        {"GM": 7.71e-7, "StM": 4.90e-6},
        {"GM": 1998, "StM": 2333},
    ),
    "a2": Setting(
        P["a2"],
        400,
        20,
        100_000,
        {"GM": 4.24e-6, "StM": 4.76e-6},
        {"GM": 1996, "StM": 2319},
    ),
    "a3": Setting(
        P["a3"],
        200,
        30,
        3_000_000,
        {"GM": 2.58e-3, "StM": 5.68e-3},
        {"GM": 15926, "StM": 18244},
    ),
    "advection": Setting(
        P["advection"],
        200,
        40,
        1_000_000,
        {"GM": 1.35e-3, "StM": 1.43e-4},
        {"GM": 9654, "StM": 11152},
        weight=500.0,
    ),
}
PARTS = ("runs", *ROWS)
FAST_PARTS = ("runs", "p1")


def measure_part(name: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return the errors of the runs, or the seconds of a row, by envelope."""
    del folder
    if name == "runs":
        runs = {"unit-p3": RUNS["unit-p3"]} if is_fast else RUNS
        return {
            "runs": [
                {"run": run, "envelope": e, **_errors(setting, e)}
                for run, setting in runs.items()
                for e in setting.error
            ]
        }
    setting = ROWS[name]
    num_steps = 20 if is_fast else setting.num_timed
    return {"row": name, **{e: _seconds(setting, e, num_steps) for e in ENVELOPES}}


def _train(setting: Setting, envelope: str, **more: Any) -> None:
    train_joint(
        setting.equation.pde,
        setting.num_points,
        envelope=ENVELOPES[envelope],
        max_frequency=setting.max_frequency,
        boundary_weight=setting.weight,
        **more,
    )


def _errors(setting: Setting, envelope: str) -> dict[str, Any]:
    """The errors at the steps where they measure theirs; they log the least."""
    steps = [1 + k * setting.num_steps // 20 for k in range(20)]
    errors: list[float] = []
    _train(
        setting,
        envelope,
        num_steps=steps[-1],
        report_at=steps,
        observe=lambda solution: errors.append(setting.equation.error(solution)),
    )
    return {"steps": steps, "errors": errors}


def _seconds(setting: Setting, envelope: str, num_steps: int) -> dict[str, Any]:
    """Wall-clock and processor time of the steps of each process."""
    change = setting.change_point
    first = num_steps if change is None else int(num_steps * change) + 1
    pairs = [(1, first)] + ([] if change is None else [(first + 1, num_steps)])
    clocks: list[tuple[tuple[float, float], ...]] = []
    errors: list[float] = []

    def observe(solution: Any) -> None:
        before = _clock()
        errors.append(setting.equation.error(solution))
        clocks.append((before, _clock()))

    begin = _clock()
    _train(
        setting,
        envelope,
        num_steps=num_steps,
        change_point=change,
        report_at=[step for pair in pairs for step in pair],
        observe=observe,
    )
    stages = [
        {
            "num_steps": stop - start,
            "wall": clocks[2 * i + 1][0][0] - clocks[2 * i][1][0],
            "cpu": clocks[2 * i + 1][0][1] - clocks[2 * i][1][1],
        }
        for i, (start, stop) in enumerate(pairs)
    ]
    # What comes before the first step ends is compilation.
    compiled = clocks[0][0][0] - begin[0]
    if change is not None:
        compiled += clocks[2][0][0] - clocks[1][1][0]
    return {"stages": stages, "compile": compiled, "error": errors[-1]}


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def markdown(found: dict[str, Any]) -> str:
    """Return the tables of the runs and of the rows."""
    runs = [_run_line(run) for part in found.values() for run in part.get("runs", [])]
    rows = [
        _row_line(ROWS[name], e, found[name][e])
        for name in ROWS
        if name in found
        for e in ENVELOPES
    ]
    run_header = ["run", "kernel", "grid", "steps", "theirs", "ours", "difference"]
    row_header = [
        "row",
        "kernel",
        "grid",
        "compile, s",
        "steps timed",
        "s per 1000 steps, wall",
        "s per 1000 steps, processor",
        "their steps",
        "**ours for these, h**",
        "theirs, h",
        "their error",
    ]
    return "\n\n".join(
        [
            "Relative error of short runs, least of 20 checkpoints",
            table(run_header, runs),
            "Seconds of the steps, and hours for as many as theirs",
            table(row_header, rows),
        ]
    )


def _run_line(run: dict[str, Any]) -> list[str]:
    setting, envelope = RUNS[run["run"]], run["envelope"]
    ours, theirs = min(run["errors"]), setting.error[envelope]
    return [
        _label(setting),
        envelope,
        _grid(setting),
        str(setting.num_steps),
        f"{theirs:.6f}",
        f"{ours:.6f}",
        f"{100 * (ours / theirs - 1):+.4f} %",
    ]


def _row_line(setting: Setting, envelope: str, part: dict[str, Any]) -> list[str]:
    change = setting.change_point
    parts = [1.0] if change is None else [change, 1 - change]
    wall, cpu = (
        sum(
            share * stage[clock] / stage["num_steps"]
            for share, stage in zip(parts, part["stages"], strict=True)
        )
        for clock in ("wall", "cpu")
    )
    seconds = setting.seconds.get(envelope)
    error = setting.error.get(envelope)
    return [
        _label(setting),
        envelope,
        _grid(setting),
        f"{part['compile']:.1f}",
        str(sum(stage["num_steps"] for stage in part["stages"])),
        f"{1000 * wall:.1f}",
        f"{1000 * cpu:.1f}",
        f"{setting.num_steps:,}",
        f"{cpu * setting.num_steps / 3600:.2f}",
        "" if seconds is None else f"{seconds / 3600:.2f}",
        "" if error is None else f"{error:.1e}",
    ]


def _label(setting: Setting) -> str:
    equation = setting.equation
    end = "1" if equation.length == 1 else "2π"
    second = "" if setting.change_point is None else ", two processes"
    return f"{equation.kind}, {equation.text}, [0, {end}]{second}"


def _grid(setting: Setting) -> str:
    return " x ".join([str(setting.num_points)] * setting.equation.num_axes)
