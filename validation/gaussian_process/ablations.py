"""What learning by evidence depends on: components, envelopes, scale of the weights.

From evenly spaced frequencies and no periodogram. In the scale of the weights the same
objective is made least over w ≥ 0, by the same method, in place of log w.
"""

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import paper_rows
from scipy.optimize import OptimizeResult, minimize
from tables import number, table

from krylax.learned.gaussian_process import (
    SpectralMixture,
    _evidence,
    _search,
    solve_pde,
)
from krylax.learned.gaussian_process._spectrum import broadband

TITLE = "Learning by evidence"
HIGHEST = {"P1": 20.0, "P2 sin 1": 20.0, "P3": 20.0, "P5": 100.0, "A1": 20.0}
PARTS = tuple(HIGHEST)
FAST_PARTS = ("P1",)
NUM_POINTS = 400
DEFAULT = {"count": 30, "envelope": "gaussian", "scale": "log"}
CASES = {
    "default": {},
    "5 components": {"count": 5},
    "15 components": {"count": 15},
    "60 components": {"count": 60},
    "Matérn 5/2": {"envelope": "matern52"},
    "Matérn 7/2": {"envelope": "matern72"},
    "Matérn 9/2": {"envelope": "matern92"},
    "weights, not their logarithms": {"scale": "linear"},
    "half of the range": {"range": 0.5},
    "twice the range": {"range": 2.0},
}
KEPT = 1e-6
"""Weight over the largest one above which a component counts."""


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Learn the kernel of a row in each case, and beside it by periodograms."""
    path = folder / f"ablations-{part}.rows"
    found = json.loads(path.read_text()) if path.exists() else {}
    (row,) = (row for row in paper_rows.ROWS if row.name == part)
    cases = (
        dict(list(CASES.items())[:1]) if is_fast else {"periodograms": None, **CASES}
    )
    for name, case in cases.items():
        if name not in found:
            found[name] = _measured(row, case)
            print(part, name, found[name], flush=True)
            path.write_text(json.dumps(found))
    path.unlink(missing_ok=True)
    return {"cases": found}


def _measured(row: Any, case: dict[str, Any] | None) -> dict[str, Any]:
    settings = DEFAULT | {"range": 1.0} | (case or {})
    options: dict[str, Any] = {}
    if case is not None:
        highest = settings["range"] * HIGHEST[row.name]
        options = {"learn": "evidence", "max_frequency": highest}
    start = time.perf_counter()
    with warnings.catch_warnings(), _changed(settings):
        warnings.simplefilter("ignore")
        solution = solve_pde(row.pde(), NUM_POINTS, **options)
    (kernel,) = solution.spectrum.kernels
    assert isinstance(kernel, SpectralMixture)
    order = np.argsort(-np.asarray(kernel.weights))
    weights = np.asarray(kernel.weights)[order]
    frequencies = np.asarray(kernel.frequencies)[order]
    return {
        "error": row.error(solution.on_grid(*row.test_points())),
        "num_functions": solution.report.ranks[0],
        "num_warnings": len(solution.report.warnings),
        "frequencies": frequencies[weights > KEPT * weights[0]].tolist(),
        "weights": weights[weights > KEPT * weights[0]].tolist(),
        "seconds": time.perf_counter() - start,
    }


@contextmanager
def _changed(settings: dict[str, Any]) -> Iterator[None]:
    """The start and the minimisation of the library, for one case."""

    def start(axis: Any, highest: float | None, _: Any) -> SpectralMixture:
        top = broadband(axis, highest, settings["envelope"]).frequencies[-1]
        count = settings["count"]
        frequencies = np.linspace(0, float(top), count)
        length = min(1 / (2 * np.pi * frequencies[1]), 0.2 * axis.length)
        return SpectralMixture(
            np.full(count, 1 / count), frequencies, length, settings["envelope"]
        )

    is_log = settings["scale"] == "log"
    least = minimize if is_log else _over_weights(settings["count"])
    with (
        mock.patch.object(_search, "broadband", start),
        mock.patch.object(_evidence, "minimize", least),
    ):
        yield


def _over_weights(count: int) -> Any:
    """SciPy's `minimize`, in w for the last variables, of which it is given log w."""

    def over_weights(function: Any, x0: np.ndarray, **options: Any) -> OptimizeResult:
        def of_weights(point: np.ndarray) -> tuple[float, np.ndarray]:
            point = point.copy()
            weights = point[-count:].copy()
            point[-count:] = np.log(weights)
            value, slope = function(point)
            return value, np.append(slope[:-count], slope[-count:] / weights)

        def raised(a: np.ndarray) -> np.ndarray:
            a = np.array(a)
            a[-count:] = np.exp(a[-count:])
            return a

        options["bounds"] = raised(options["bounds"])
        result = minimize(of_weights, raised(x0), **options)
        result.x[-count:] = np.log(result.x[-count:])
        return result

    return over_weights


def markdown(found: dict[str, Any]) -> str:
    """Return a table per row."""
    header = ["", "error", "functions", "frequencies, weights", "seconds"]
    sections = [
        f"From evenly spaced frequencies, 30 Gaussian ones by default, "
        f"on {NUM_POINTS} points. Components of more than {KEPT:g} of the largest "
        "weight, with their part of it. * is a warning."
    ]
    for part, of in found.items():
        lines = [
            [
                name,
                f"{m['error']:.1e}" + ("*" if m["num_warnings"] else ""),
                str(m["num_functions"]),
                _components(m),
                number(m["seconds"]),
            ]
            for name, m in of["cases"].items()
        ]
        sections += [f"{part}, up to {HIGHEST[part]:g}", table(header, lines)]
    return "\n\n".join(sections)


def _components(m: dict[str, Any]) -> str:
    pairs = zip(m["frequencies"], m["weights"], strict=True)
    shown = [f"{f:.2f} ({w / m['weights'][0]:.0e})" for f, w in pairs]
    more = f", {len(shown) - 6} more" if len(shown) > 6 else ""
    return ", ".join(shown[:6]) + more
