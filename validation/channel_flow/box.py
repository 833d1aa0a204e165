"""Statistics of turbulence in small boxes at Re_τ = 180, beside published tables.

A box runs in blocks of one h/u_τ; after each the state and the sums so far are kept in
the folder, so that a run can be stopped and taken up.
"""

import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import reference
from start import read_start
from tables import table

from krylax.datasets import channel_flow

TITLE = "Turbulence at Re_τ = 180"
PARTS = ("minimal", "quarter")
FAST_PARTS = ("minimal",)
PRESETS = {"minimal": "180-minimal", "quarter": "180-quarter"}
# In h/u_τ: left out, and averaged over.
SPIN_UP = {"minimal": 3, "quarter": 6}
DURATION = {"minimal": 100, "quarter": 30}


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return profiles, their blocks' friction, and the seconds of a step."""
    flow = channel_flow.preset("180-toy" if is_fast else PRESETS[part])
    spin_up, duration = (1, 2) if is_fast else (SPIN_UP[part], DURATION[part])
    path = folder / f"box-{part}.npz"
    run = _read(flow, path) if path.exists() else _begin(flow)
    steps = round(1 / float(flow.dt))
    while len(run["blocks"]) < spin_up + duration:
        start = time.process_time()
        state = flow.run(flow.restarted(run["state"]), steps)
        seconds = (time.process_time() - start) / steps
        found = flow.statistics(state)
        block = [
            float(state.time),
            float(found.re_tau),
            float(found.bulk_velocity),
            float(jnp.max(jnp.abs(flow.divergence(state)))),
            seconds,
        ]
        run["blocks"].append(block)
        run["state"] = state
        if len(run["blocks"]) > spin_up:
            run["sums"] = jax.tree.map(jnp.add, run["sums"], state.sums)
        _write(run, path)
        print(part, " ".join(f"{number:.4g}" for number in block), flush=True)
    return summary(flow, run, spin_up)


def summary(flow: Any, run: dict[str, Any], spin_up: int) -> dict[str, Any]:
    """Return what is written of a run."""
    averaged = eqx.tree_at(lambda s: s.sums, run["state"], run["sums"])
    found = flow.statistics(averaged)
    profiles = {
        name: np.asarray(getattr(found, name)).tolist()
        for name in ("y", "U", "u_rms", "v_rms", "w_rms", "reynolds_stress")
    }
    y, total = np.asarray(found.y), np.asarray(found.total_stress)
    blocks = np.array(run["blocks"])[spin_up:]
    half = len(blocks) // 2
    friction = blocks[:, 1]
    return {
        "shape": list(flow.grid.shape),
        "duration": len(blocks),
        "profiles": profiles,
        "re_tau": float(found.re_tau),
        "bulk_velocity": float(found.bulk_velocity),
        "drift": float(np.mean(friction[half:]) / np.mean(friction[:half]) - 1),
        "stress_error": float(np.max(np.abs(total - (1 - y)))),
        "divergence": float(np.max(blocks[:, 3])),
        "milliseconds": float(1e3 * np.median(blocks[:, 4])),
    }


def _begin(flow: Any) -> dict[str, Any]:
    state = flow.restarted(read_start(flow))
    return {"state": state, "sums": state.sums, "blocks": []}


def _write(run: dict[str, Any], path: Path) -> None:
    leaves = jax.tree.leaves((run["state"], run["sums"]))
    arrays: Any = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    draft = path.with_suffix(".draft.npz")
    np.savez(draft, blocks=np.array(run["blocks"]), **arrays)
    draft.rename(path)


def _read(flow: Any, path: Path) -> dict[str, Any]:
    empty = _begin(flow)
    leaves, tree = jax.tree.flatten((empty["state"], empty["sums"]))
    with np.load(path) as found:
        kept = [jnp.asarray(found[f"leaf{i}"]) for i in range(len(leaves))]
        blocks = found["blocks"].tolist()
    state, sums = jax.tree.unflatten(tree, kept)
    return {"state": state, "sums": sums, "blocks": blocks}


def folded(profile: Any, *, is_odd: bool = False) -> np.ndarray:
    """Return the mean of both halves of a profile, from the wall on."""
    profile = np.asarray(profile)
    other = -profile[::-1] if is_odd else profile[::-1]
    return ((profile + other) / 2)[: (len(profile) + 1) // 2]


def compared(part: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the profiles at the points of the tables."""
    profiles = part["profiles"]
    n = len(profiles["y"])
    y_plus = np.asarray(profiles["y"])[: (n + 1) // 2] * part["re_tau"]
    found = {
        name: folded(profiles[name], is_odd=name == "reynolds_stress")
        for name in profiles
        if name != "y"
    }
    return {"y_plus": y_plus, **found}


def markdown(found: dict[str, Any]) -> str:
    """Return the tables of all boxes."""
    header = [
        "box", "cells", "h/u_τ", "Re_τ", "its drift", "U_b", "stress - (1 - y)",
        "divergence", "ms per step",
    ]  # fmt: skip
    lines = [
        [
            part,
            " x ".join(map(str, of["shape"])),
            str(of["duration"]),
            f"{of['re_tau']:.1f}",
            f"{100 * of['drift']:+.1f} %",
            f"{of['bulk_velocity']:.2f}",
            f"{100 * of['stress_error']:.1f} %",
            f"{of['divergence']:.0e}",
            f"{of['milliseconds']:.1f}",
        ]
        for part, of in found.items()
    ]
    sections = [table(header, lines)]
    for part, of in found.items():
        sections += [f"Box {part}.", _means(of), _peaks(of)]
    return "\n\n".join(sections)


def _means(of: dict[str, Any]) -> str:
    """Return U⁺ beside the published one."""
    profiles = compared(of)
    lines = []
    for y, published in reference.MEAN:
        here = float(np.interp(y, profiles["y_plus"], profiles["U"]))
        error = 100 * (here / published - 1)
        lines.append([f"{y:.1f}", f"{here:.2f}", f"{published:.2f}", f"{error:+.1f} %"])
    return table(["y⁺", "U⁺", "MKM99", "difference"], lines)


def _peaks(of: dict[str, Any]) -> str:
    """Return the peaks of fluctuations beside the published ones."""
    profiles = compared(of)
    lines = []
    for name, (value, place) in reference.PEAKS.items():
        profile = profiles[name]
        here = float(np.max(profile))
        at = float(profiles["y_plus"][np.argmax(profile)])
        error = 100 * (here / value - 1)
        lines.append(
            [name, f"{here:.3f}", f"{at:.0f}", f"{value:.3f}", f"{place:.0f}",
             f"{error:+.1f} %"]
        )  # fmt: skip
    header = ["peak of", "here", "at y⁺", "del Álamo", "at y⁺", "difference"]
    return table(header, lines)


def draw(found: dict[str, Any], folder: Path) -> None:
    """Draw mean and fluctuations, where matplotlib is installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for part, of in found.items():
        profiles = compared(of)
        left.semilogx(profiles["y_plus"], profiles["U"], label=part)
        for name, style in zip(reference.PEAKS, ("-", "--", ":", "-."), strict=True):
            label = f"{part}, {name.replace('_', ' ')}"
            right.plot(profiles["y_plus"], profiles[name], style, label=label)
    left.plot(*zip(*reference.MEAN, strict=True), "k.", label="MKM99")
    for value, place in reference.PEAKS.values():
        right.plot(place, value, "kx")
    left.set(xlabel="y⁺", ylabel="U⁺", xlim=(0.4, 200))
    right.set(xlabel="y⁺", xlim=(0, 180), title="crosses: peaks of del Álamo")
    left.legend()
    right.legend(fontsize=8)
    figure.savefig(folder / "profiles.png", dpi=120, bbox_inches="tight")
    plt.close(figure)
