"""AutoSolver on a mixed stream, against the best single method for each family.

500 systems of three families in random order. Every method of every family solves its
first 10 systems too, and those that fail on none and are within twice the fastest solve
all, which gives the best in hindsight. Compilation counts in neither case. Seconds are
those of calls from Python.
"""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tables import number, table

import krylax as kx
from krylax.datasets import ConvectionDiffusion, Darcy, HelmholtzScattering
from krylax.solvers.tuning import AutoSolver, methods_for

TITLE = "AutoSolver on a mixed stream"
PARTS = ("mixed",)
FAST_PARTS = ()
NUM_SYSTEMS, NUM_TRIED = 500, 10
RTOL = 1e-8
FAMILIES = {
    "Darcy 64²": Darcy((64, 64)),
    "flows 64²": ConvectionDiffusion((64, 64)),
    "waves 48²": HelmholtzScattering((48, 48)),
}


def measure_part(name: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return seconds of AutoSolver and of every method, per family."""
    del name, folder, is_fast
    rng = np.random.default_rng(5)
    stream = rng.integers(len(FAMILIES), size=NUM_SYSTEMS)
    families = list(FAMILIES.items())
    assemble = [jax.jit(family.system) for _, family in families]
    systems = [
        jax.block_until_ready(assemble[kind](families[kind][1].sample(i)))
        for i, kind in enumerate(stream)
    ]
    rows = []
    for kind, (family, _) in enumerate(families):
        own = [system for system, k in zip(systems, stream, strict=True) if k == kind]
        rows += in_hindsight(family, own)
    return {"rows": rows, "auto": automatic(systems, stream)}


def in_hindsight(family: str, systems: list[Any]) -> list[dict[str, Any]]:
    """What the methods that come into question take for all systems of a family."""
    # A thousand steps are more than any method takes that is near the fastest.
    methods = methods_for(systems[0][0], rtol=RTOL, max_steps=1000)
    tried = [
        alone(family, row, method, systems[:NUM_TRIED])
        for row, method in methods.items()
    ]
    fastest = min(row["seconds"] for row in tried if not row["failed"])
    return [
        alone(family, row["row"], methods[row["row"]], systems)
        for row in tried
        if not row["failed"] and row["seconds"] <= 2 * fastest
    ]


def alone(family: str, row: str, method: Any, systems: list[Any]) -> dict[str, Any]:
    """What one method takes for all systems of a family."""
    seconds, failed = 0.0, 0
    for i, (A, b) in enumerate([systems[0], *systems]):
        start = time.perf_counter()
        found = kx.solve(
            A,
            b,
            method.solver,
            preconditioner=method.preconditioner,
            x0=jnp.zeros_like(b),
            throw=False,
        )
        jax.block_until_ready(found.value)
        # The first one compiles.
        seconds += time.perf_counter() - start if i else 0.0
        failed += int(found.status != kx.Status.converged) if i else 0
    return {"family": family, "row": row, "seconds": seconds, "failed": failed}


def automatic(systems: list[Any], stream: np.ndarray) -> list[dict[str, Any]]:
    """What AutoSolver takes, exploration included."""
    auto = AutoSolver(rtol=RTOL)
    state = auto.init(jax.random.key(0))
    seconds = np.zeros(len(FAMILIES))
    failed, cut_off = np.zeros(len(FAMILIES), int), np.zeros(len(FAMILIES), int)
    for (A, b), kind in zip(systems, stream, strict=True):
        found, state, record = auto.solve(A, b, state, throw=False)
        seconds[kind] += record.seconds + record.first_seconds
        failed[kind] += int(found.status != kx.Status.converged)
        cut_off[kind] += record.is_cut_off
    return [
        {
            "family": family,
            "seconds": float(seconds[kind]),
            "failed": int(failed[kind]),
            "cut_off": int(cut_off[kind]),
        }
        for kind, family in enumerate(FAMILIES)
    ]


def markdown(found: dict[str, Any]) -> str:
    """Return the totals per family and method."""
    part = found["mixed"]
    lines = [
        [f"{row['family']}, {row['row']}", number(row["seconds"]), str(row["failed"])]
        for row in part["rows"]
    ]
    header = ["one method for all systems of a family", "seconds", "failed"]
    total_best = 0.0
    autos = []
    for entry in part["auto"]:
        able = [
            row["seconds"]
            for row in part["rows"]
            if row["family"] == entry["family"] and not row["failed"]
        ]
        total_best += min(able)
        ratio = entry["seconds"] / min(able)
        figures = [number(entry["seconds"]), number(min(able)), f"{ratio:.2f}"]
        autos.append(
            [entry["family"], *figures, str(entry["cut_off"]), str(entry["failed"])]
        )
    total = sum(entry["seconds"] for entry in part["auto"])
    autos.append(
        ["together", number(total), number(total_best), f"{total / total_best:.2f}"]
    )
    names = ["AutoSolver", "seconds", "best in hindsight", "ratio", "cut off", "failed"]
    return f"{table(header, lines)}\n\n{table(names, autos)}"
