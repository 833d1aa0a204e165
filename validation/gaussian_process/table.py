"""The rows by each setting of the solver, and by its rivals.

    python validation/gaussian_process/table.py PART [ROW ...] [--points N]

prints rows without writing anything. As a stage (`paper`, `further`), each row is
written as soon as it is done, so that a part that was stopped goes on where it was.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)
sys.path.append(str(Path(__file__).parents[1]))

import further_rows
import oracles
import paper_rows
from rows import Row, Setting, squared_exponential
from tables import number, table

from krylax import Status
from krylax.learned.gaussian_process import solve_pde

MOST_POINTS = 300_000
"""Of a grid that is chosen, so that no row takes longer than a minute or so."""
SETTINGS = {
    "gaussian": Setting("Gaussian"),
    "matern": Setting("Matérn", {"kernel": "matern"}),
    "se": Setting("squared exponential", {"kernel": squared_exponential(length=0.02)}),
    "auto": Setting("grid chosen", {"max_points": MOST_POINTS}, is_grid_fixed=False),
}
RIVALS = {"chebyshev": "Chebyshev", "differences": "differences"}
FAST_ROWS, NUM_FAST = ("P2 sin 1", "diffusion 1-D"), 100
LOGGED = ("gaussian", "student", "squared_exponential", "matern")


class Table:
    """A stage: some rows by each setting and each rival, a part each.

    Args:
        name: of the stage.
        title: of its section.
        rows: what is solved.
        settings: how, by the name of the part.
    """

    def __init__(
        self, name: str, title: str, rows: list[Row], settings: list[str]
    ) -> None:
        self.name, self.TITLE = name, title
        self.rows, self.settings = rows, settings
        self.PARTS = [*settings, *RIVALS]
        self.FAST_PARTS = [settings[0], "chebyshev"]

    def measure_part(self, part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
        """Return what is measured of each row, by its name."""
        path = folder / f"{self.name}-{part}.rows"
        found = json.loads(path.read_text()) if path.exists() else {}
        for row in self.rows:
            if row.name not in found and (row.name in FAST_ROWS or not is_fast):
                found[row.name] = measure(row, part, NUM_FAST if is_fast else None)
                print(part, row.name, summary(found[row.name]), flush=True)
                path.write_text(json.dumps(found))
        path.unlink(missing_ok=True)
        return {"rows": found}

    def markdown(self, found: dict[str, Any]) -> str:
        """Return the tables of errors, of seconds, and of what was warned of."""
        measured = {part: of["rows"] for part, of in found.items()}
        rows = [r for r in self.rows if any(r.name in m for m in measured.values())]
        parts = [part for part in self.PARTS if part in measured]
        titles = {p: SETTINGS[p].title for p in self.settings} | RIVALS
        header = [titles[part] for part in parts]
        has_logged = any(row.logged is not None for row in self.rows)
        logged = ["GM, logged", "StM, logged", "SE, logged", "Matérn, logged"]
        more = logged if has_logged else []
        errors = [
            [
                row.name,
                row.equation,
                str(row.num_points),
                f"{row.target:.0e}" if row.target else "",
                *(_error(measured[part].get(row.name), row.target) for part in parts),
                *(_logged(row, 0) if has_logged else []),
            ]
            for row in rows
        ]
        seconds = [
            [
                row.name,
                *(_seconds(measured[part].get(row.name)) for part in parts),
                *(_logged(row, 1) if has_logged else []),
            ]
            for row in rows
        ]
        sections = [
            "Relative error in the 2-norm at uniform points, 300 per axis (50 in three "
            "dimensions). An error above the target is **bold**; * is a warning, that "
            "of the solver itself.",
            table(["row", "equation", "N", "target", *header, *more], errors),
            "Seconds of the clock, in parentheses of the processor; compilation is in "
            "them, and every row is in the process of the one above it.",
            table(["row", *header, *more], seconds),
            self._steps(rows, measured),
            *(f"{row.name}: {row.note}" for row in rows if row.note),
        ]
        return "\n\n".join(sections)

    def _steps(self, rows: list[Row], measured: dict[str, Any]) -> str:
        """Return what the solver says of itself."""
        lines = []
        for row in rows:
            for part in self.settings:
                of = measured.get(part, {}).get(row.name)
                if of is not None and part in ("gaussian", "auto"):
                    lines.append([row.name, SETTINGS[part].title, *_report(of)])
        header = ["row", "setting", "grid", "functions", "rounds", "steps"]
        header += ["residual between points", "status", "warnings"]
        return table(header, lines)


def _report(of: dict[str, Any]) -> list[str]:
    if "failure" in of:
        return ["", "", "", "", "", "", of["failure"]]
    return [
        " x ".join(map(str, of["num_points"])),
        " x ".join(map(str, of["ranks"])),
        str(of["num_rounds"]),
        str(of["num_steps"]),
        f"{of['residual_off_grid']:.1e}",
        of["status"],
        "; ".join(of["warnings"]),
    ]


def _error(of: dict[str, Any] | None, target: float | None) -> str:
    if not of:
        return ""
    if "failure" in of:
        return "**fails**"
    text = f"{of['error']:.1e}"
    if target is not None and not of["error"] <= target:
        text = f"**{text}**"
    return text + ("*" if of.get("warnings") else "")


def _seconds(of: dict[str, Any] | None) -> str:
    return f"{number(of['wall'])} ({number(of['cpu'])})" if of else ""


def _logged(row: Row, index: int) -> list[str]:
    cells = []
    for kind in LOGGED:
        pair = getattr(row.logged, kind, None)
        value = pair and pair[index]
        cells.append("" if value is None else (f"{value:.1e}", f"{value:.0f}")[index])
    return cells


def summary(of: dict[str, Any]) -> str:
    """Return a line about a row."""
    keys = ("error", "residual", "residual_off_grid")
    figures = [f"{key} {of[key]:.1e}" for key in keys if key in of]
    keys = ("num_points", "ranks", "num_rounds", "num_steps", "status", "failure")
    figures += [f"{key} {of[key]}" for key in keys if key in of]
    if "wall" in of:
        figures.append(f"{of['wall']:.1f} s, of the processor {of['cpu']:.1f}")
    return "; ".join([*figures, *of.get("warnings", [])]) or "none"


def measure(row: Row, part: str, num_points: int | None = None) -> dict[str, Any]:
    """Return what a row gives by a setting or a rival, or how it fails."""
    points = row.num_points if num_points is None else num_points
    start, cpu = time.perf_counter(), time.process_time()
    try:
        if part in RIVALS:
            found = oracles.measure(row, points, part)
        else:
            found = solve(row, SETTINGS[part], points)
    # What is raised is the result of the row.
    except Exception as error:
        found = {"failure": f"{type(error).__name__}: {error}".splitlines()[0]}
    seconds = time.perf_counter() - start, time.process_time() - cpu
    return found | {"wall": seconds[0], "cpu": seconds[1]} if found else found


def solve(row: Row, setting: Setting, num_points: int) -> dict[str, Any]:
    """Return the error, and what the solution says of itself."""
    points = num_points if setting.is_grid_fixed else None
    with warnings.catch_warnings():
        # They are in the report too.
        warnings.simplefilter("ignore")
        solution = solve_pde(row.pde(), points, **setting.options)
    report = solution.report
    return {
        "error": row.error(solution.on_grid(*row.test_points())),
        "status": Status(report.status).name,
        "num_steps": int(report.num_steps),
        "num_rounds": report.num_rounds,
        "num_points": list(report.num_points),
        "ranks": list(report.ranks),
        "residual": float(report.residual),
        "residual_off_grid": float(report.residual_off_grid),
        "warnings": list(report.warnings),
    }


PAPER = Table("paper", "The rows of the paper", paper_rows.ROWS, list(SETTINGS))
FURTHER = Table(
    "further", "Further rows", further_rows.ROWS, ["gaussian", "matern", "auto"]
)


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description="Some rows, by one setting.")
    parser.add_argument("part", choices=[*SETTINGS, *RIVALS])
    parser.add_argument("names", nargs="*", help="of rows; all unless given")
    parser.add_argument("--points", type=int, help="per axis, for all of them")
    arguments = parser.parse_args()
    for row in [*paper_rows.ROWS, *further_rows.ROWS]:
        if row.name in arguments.names or not arguments.names:
            found = measure(row, arguments.part, arguments.points)
            print(f"{row.name}: {summary(found)}", flush=True)


if __name__ == "__main__":
    main()
