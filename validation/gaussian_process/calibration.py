"""Error bars against errors: over grids, over random solutions, and of parameters.

A bar is the interval of ± 1.96 standard deviations. Errors are at points drawn at
random, the same for all.
"""

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import paper_rows
from scipy.stats import spearmanr
from tables import number, table

from krylax.learned.gaussian_process import (
    PDE,
    Dirichlet,
    Initial,
    Observations,
    infer_parameters,
    solve_pde,
)

TITLE = "Error bars"
GRIDS = {
    "P1": (150, 210, 220, 240, 300, 400),
    "P2 sin 1": (24, 34, 40, 60, 100, 400),
    "P3": (200, 220, 230, 250, 300, 400),
    "P4": (400, 410, 430, 450, 500, 900),
    "P5": (150, 162, 170, 180, 200, 400),
    "A1": (150, 210, 220, 240, 300, 400),
}
NUM_DRAWS = 50
NUM_RANDOM = 10
RANDOM_GRIDS = (24, 40, 80, 160)
UNRESOLVED = 1e-3


def over_grids(found: dict[str, Any], keep: Callable[[], None], is_fast: bool) -> None:
    """Median bar and root mean square of the error, for each row on each grid."""
    rows = {row.name: row for row in paper_rows.ROWS}
    for name, grids in GRIDS.items():
        for num_points in grids[-1:] if is_fast else grids:
            row = rows[name]
            (low, high), *_ = row.domain
            x = np.random.default_rng(0).uniform(low, high, 1000)
            found.setdefault(
                f"{name}, {num_points}",
                _compared(row.pde(), num_points, row.exact, x),
            )
            keep()
        if is_fast:
            break


def over_draws(found: dict[str, Any], keep: Callable[[], None], is_fast: bool) -> None:
    """The same for u'' = f, of which u is a draw of the process.

    A Matérn 7/2 kernel of length 0.1 by 2000 random frequencies; hyper-parameters are
    estimated.
    """
    for num_points in RANDOM_GRIDS[:1] if is_fast else RANDOM_GRIDS:
        for seed in range(1 if is_fast else NUM_RANDOM):
            for learn in ("auto", "evidence"):
                u, f = _draw(seed)
                pde = PDE(
                    [(0.0, 1.0)], lambda x, v, f=f: v(2) - f(x[0]), [Dirichlet(u)]
                )
                x = np.random.default_rng(1).uniform(0, 1, 300)
                options = {"kernel": "matern", "learn": learn}
                found.setdefault(
                    f"{learn}, {num_points}, {seed}",
                    _compared(pde, num_points, u, x, **options),
                )
                keep()


def _draw(seed: int) -> tuple[Any, Any]:
    rng, count = np.random.default_rng(seed), 2000
    s = 2 * np.pi * jnp.asarray(rng.standard_t(7, count) / (2 * np.pi * 0.1))
    phase = jnp.asarray(rng.uniform(0, 2 * np.pi, count))

    def total(x: Any, weights: Any) -> Any:
        waves = jnp.cos(s * jnp.asarray(x)[..., None] + phase)
        return np.sqrt(2 / count) * jnp.sum(weights * waves, axis=-1)

    return lambda x: total(x, 1.0), lambda x: total(x, -(s**2))


def _compared(
    pde: PDE, num_points: int, u: Any, x: np.ndarray, **options: Any
) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solution = solve_pde(pde, num_points, **options)
    error = np.abs(np.asarray(solution.mean(x[:, None])) - np.asarray(u(x)))
    std = np.asarray(solution.std(x[:, None]))
    return {
        "error": float(np.sqrt(np.mean(error**2))),
        "std": float(np.median(std)),
        "coverage": float(np.mean(error <= 1.96 * std)),
        "residual": float(solution.report.residual_off_grid),
        "num_warnings": len(solution.report.warnings),
    }


def heat(points: np.ndarray) -> tuple[np.ndarray, dict[str, Any], float]:
    """u_t = κ u_xx with κ = 0.1."""
    x, t = points.T
    u = np.sin(np.pi * x) * np.exp(-0.1 * np.pi**2 * t)
    u += 0.5 * np.sin(3 * np.pi * x) * np.exp(-0.9 * np.pi**2 * t)

    def first(x: Any, _: Any) -> Any:
        return jnp.sin(np.pi * x) + 0.5 * jnp.sin(3 * np.pi * x)

    equation = {
        "residual": lambda x, u, k: u(0, 1) - k * u(2, 0),
        "conditions": [Initial(first), Dirichlet(0.0)],
        "parameters": 0.2,
    }
    return u, equation, 0.1


def heat_from_anywhere(points: np.ndarray) -> tuple[np.ndarray, dict[str, Any], float]:
    """The same without its initial values."""
    u, equation, k = heat(points)
    condition = Dirichlet(0.0, faces=[(0, "low"), (0, "high")])
    return u, equation | {"conditions": [condition]}, k


def wave(points: np.ndarray) -> tuple[np.ndarray, dict[str, Any], float]:
    """u_tt = c² u_xx with c = 2."""
    x, t = points.T
    equation = {
        "residual": lambda x, u, c: u(0, 2) - c**2 * u(2, 0),
        "conditions": [
            Initial(lambda x, _: jnp.sin(np.pi * x)),
            Initial(0.0, order=1),
            Dirichlet(0.0),
        ],
        "parameters": 1.7,
    }
    return np.sin(np.pi * x) * np.cos(2 * np.pi * t), equation, 2.0


INFERENCES = {
    "diffusivity": heat,
    "diffusivity, no initial values": heat_from_anywhere,
    "wave speed": wave,
}


def inferred(
    name: str, found: dict[str, Any], keep: Callable[[], None], is_fast: bool
) -> None:
    """A parameter from 50 observations of noise 0.01, with the seconds of the clock."""
    for seed in range(2 if is_fast else NUM_DRAWS):
        if str(seed) in found:
            continue
        rng = np.random.default_rng(seed)
        points = rng.random((50, 2))
        u, equation, true = INFERENCES[name](points)
        data = Observations(points, u + 0.01 * rng.standard_normal(50), 0.01)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            posterior = infer_parameters(
                PDE([(0.0, 1.0), (0.0, 1.0)], **equation, data=data),
                24 if is_fast else 48,
            )
        found[str(seed)] = {
            "mean": float(posterior.mean),
            "std": float(posterior.std),
            "true": true,
            "seconds": time.perf_counter() - start,
        }
        keep()


PARTS = ("grids", "draws", *INFERENCES)
FAST_PARTS = ("grids", "diffusivity")


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Measure what is not in the folder yet."""
    path = folder / f"calibration-{part}.rows"
    found = json.loads(path.read_text()) if path.exists() else {}

    def keep() -> None:
        path.write_text(json.dumps(found))

    if part == "grids":
        over_grids(found, keep, is_fast)
    elif part == "draws":
        over_draws(found, keep, is_fast)
    else:
        inferred(part, found, keep, is_fast)
    path.unlink(missing_ok=True)
    return {"measured": found}


def markdown(found: dict[str, Any]) -> str:
    """Return a table per kind."""
    sections = []
    if "grids" in found:
        sections.append(_of_grids(found["grids"]["measured"]))
    if "draws" in found:
        sections.append(_of_draws(found["draws"]["measured"]))
    names = [name for name in INFERENCES if name in found]
    if names:
        header = [
            "50 draws of 50 observations",
            "error over std",
            "in 95 % bars",
            "largest error",
            "seconds",
        ]
        lines = [[n, *_of_inference(found[n]["measured"].values())] for n in names]
        sections.append(table(header, lines))
    return "\n\n".join(sections)


def _of_grids(of: dict[str, Any]) -> str:
    lines = [
        [
            name,
            f"{m['error']:.1e}",
            f"{m['std']:.1e}",
            number(m["std"] / m["error"]),
            number(100 * m["coverage"]),
            f"{m['residual']:.1e}" + ("*" if m["num_warnings"] else ""),
        ]
        for name, m in of.items()
    ]
    errors, stds = ([m[key] for m in of.values()] for key in ("error", "std"))
    resolved = [
        m["std"] / m["error"] for m in of.values() if m["residual"] <= UNRESOLVED
    ]
    text = (
        f"Rank correlation of bars and errors {spearmanr(errors, stds)[0]:.2f}; "
        f"where the residual is below {UNRESOLVED:g}, bars over errors are from "
        f"{number(min(resolved))} to {number(max(resolved))}. * is a warning."
    )
    header = [
        "row, points",
        "error (rms)",
        "std (median)",
        "ratio",
        "in 95 % bars, %",
        "residual",
    ]
    return text + "\n\n" + table(header, lines)


def _of_draws(of: dict[str, Any]) -> str:
    groups: dict[str, list[Any]] = {}
    for name, m in of.items():
        groups.setdefault(name.rsplit(",", 1)[0], []).append(m)
    lines = [
        [
            name,
            f"{np.median([m['error'] for m in own]):.1e}",
            number(float(np.median([m["std"] / m["error"] for m in own]))),
            number(float(100 * np.mean([m["coverage"] for m in own]))),
        ]
        for name, own in groups.items()
    ]
    header = ["random u: learn, points", "error", "std over error", "in 95 % bars, %"]
    return table(header, lines)


def _of_inference(draws: Any) -> list[str]:
    draws = list(draws)
    errors = np.array([(d["mean"] - d["true"]) / d["std"] for d in draws])
    largest = max(abs(d["mean"] / d["true"] - 1) for d in draws)
    return [
        f"{np.sqrt(np.mean(errors**2)):.2f}",
        f"{100 * np.mean(np.abs(errors) <= 1.96):.0f} %",
        f"{100 * largest:.1f} %",
        number(float(np.median([d["seconds"] for d in draws]))),
    ]
