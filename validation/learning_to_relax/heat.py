"""The heat equation with a diffusivity that swings: CG with SSOR, ω from step to step.

u_t = κ(t) Δu + f on the unit square, zero on its boundary, by Crank-Nicolson with Δt =
1e-3 up to t = 5 and the 5-point stencil on n_x - 1 points a side; κ(t) = max(0.1 sin
2πt, -10 sin 2πt), f a bump of height 32 and radius 1/8 on a circle of radius 1/4 with
angular speed 16 π, at first a bump of radius 1/4 in the centre (the released code; the
paper prints other constants). A step is solved to 1e-8 ‖b‖ from the field before it.

The context is log(1 + 2 κ Δt/h²), the ratio of the two parts of the diagonal, in place
of κ: small diffusivities differ in it as well.
"""

import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tables import number, table

import krylax as kx
from krylax.solvers import CG, SSOR, Multicolour, Multigrid
from krylax.solvers.tuning import (
    BinnedTsallis,
    ChebCB,
    Fixed,
    JointSurrogate,
    Method,
    TsallisINF,
    tune_sequence,
)

TITLE = "CG with SSOR on the heat equation"
PARTS = ("25", "50", "100", "200")
FAST_PARTS = ("25",)
STEP, NUM_STEPS, FAST_STEPS = 1e-3, 5000, 60
# Periods of κ, one after the other; all but the first, which compiles, are timed.
NUM_PERIODS = 5
RTOL = 1e-8
# The best fixed factor, and that of each instance, from so many of the steps.
NUM_SAMPLES, FAST_SAMPLES = 250, 10
arms = jnp.linspace(1.0, 1.95, 20)
FIRST = Fixed(arms, 0)


def diffusivity(t: Any) -> Any:
    """κ."""
    wave = jnp.sin(2 * jnp.pi * t)
    return jnp.maximum(0.1 * wave, -10 * wave)


def bump(radius: float, x: Any, y: Any) -> Any:
    """A smooth bump of height 1 around the origin."""
    square = (x**2 + y**2) / radius**2
    inside = jnp.where(square < 1, square, 0)
    return jnp.where(square < 1, jnp.exp(1 - 1 / (1 - inside)), 0)


@cache
def stepping(num_cells: int) -> Any:
    """Return (time, field) -> (A, b), which is the same object at every call."""
    h = 1 / num_cells
    x, y = jnp.meshgrid(*[jnp.arange(1, num_cells) * h] * 2, indexing="ij")

    def system(t: Any, u: Any) -> tuple[Any, Any]:
        middle = t + STEP / 2
        L = kx.operators.Laplacian(u.shape, h)
        half = diffusivity(middle) * STEP / 2
        angle = 16 * jnp.pi * middle
        centre = 0.5 + 0.25 * jnp.cos(angle), 0.5 + 0.25 * jnp.sin(angle)
        f = 32 * bump(1 / 8, x - centre[0], y - centre[1])
        A = half * L + kx.operators.Identity(L.in_structure)
        return A, u - half * L.mv(u) + STEP * f

    return system


def first_field(num_cells: int) -> Any:
    """U at t = 0."""
    x, y = jnp.meshgrid(*[jnp.arange(1, num_cells) / num_cells] * 2, indexing="ij")
    return bump(1 / 4, x - 0.5, y - 0.5)


def relaxed(omega: Any) -> Method:
    """CG with SSOR in natural order."""
    return Method(CG(RTOL), SSOR(omega))


def red_black(_: Any) -> Method:
    """CG with SSOR in two colours, whose best ω is 1."""
    return Method(CG(RTOL), SSOR(1.0, Multicolour()))


def plain(_: Any) -> Method:
    """CG."""
    return Method(CG(RTOL))


def multigrid(_: Any) -> Method:
    """CG with a multigrid cycle made anew for each step."""
    return Method(CG(RTOL), Multigrid())


def measure_part(name: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return steps of CG and milliseconds per time step, for every row."""
    del folder
    num_cells = int(name)
    num_steps = FAST_STEPS if is_fast else NUM_STEPS
    times = STEP * jnp.arange(num_steps, dtype=float)
    contexts = jnp.log1p(2 * diffusivity(times + STEP / 2) * STEP * num_cells**2)
    high = float(np.log1p(20 * STEP * num_cells**2))
    run = partial(measure, stepping(num_cells), times, contexts, first_field(num_cells))
    table = costs_of_arms(num_cells, times, FAST_SAMPLES if is_fast else NUM_SAMPLES)
    best = int(np.argmin(table.mean(axis=0)))
    tuners = {
        "Tsallis-INF": TsallisINF(arms),
        "Tsallis-INF, 6 bins": BinnedTsallis(TsallisINF(arms), 0.0, high, 6),
        "ChebCB": ChebCB(arms, 0.0, high),
        "JointSurrogate": JointSurrogate(arms, 0.0, high),
    }
    rows = [
        run("CG", plain, FIRST),
        run("CG with multigrid", multigrid, FIRST),
        run("SSOR in two colours, ω = 1", red_black, FIRST),
        run("ω = 1", relaxed, FIRST),
        run("ω = 1.5", relaxed, Fixed(arms, 10)),
        run(f"best fixed, ω = {float(arms[best]):.2f}", relaxed, Fixed(arms, best)),
        *(run(row, relaxed, tuner) for row, tuner in tuners.items()),
    ]
    sampled = {
        "best_fixed": float(table.mean(axis=0).min()),
        "best_of_each": float(table.min(axis=1).mean()),
    }
    return {"num_steps": num_steps, "rows": rows, **sampled}


def measure(
    system: Any,
    times: Any,
    contexts: Any,
    initial: Any,
    row: str,
    method: Any,
    tuner: Any,
) -> dict[str, Any]:
    """Solve all time steps, a period at a time."""
    state, found, seconds = None, [], []
    for part in np.array_split(np.arange(len(times)), NUM_PERIODS):
        start = time.perf_counter()
        solved = tune_sequence(
            system,
            times[part],
            method,
            tuner,
            key=jax.random.key(0),
            contexts=contexts[part],
            state=state,
            initial=initial if state is None else None,
        )
        jax.block_until_ready(solved.costs)
        seconds.append((time.perf_counter() - start) / len(part))
        state = solved.state
        found.append(solved)
    costs, status = (
        np.concatenate([getattr(solved, name) for solved in found])
        for name in ("costs", "status")
    )
    return {
        "row": row,
        "steps": float(costs.mean()),
        "last": float(found[-1].costs.mean()),
        "missed": int(np.sum(status != kx.Status.converged)),
        "milliseconds": 1e3 * float(np.median(seconds[1:])),
    }


def costs_of_arms(num_cells: int, times: Any, num_samples: int) -> np.ndarray:
    """Steps of CG that every arm takes at some of the time steps."""
    system = stepping(num_cells)
    every = max(1, len(times) // num_samples)

    def steps(A: Any, b: Any, u: Any, omega: Any) -> Any:
        M = SSOR(omega)
        return kx.solve(A, b, CG(RTOL), preconditioner=M, x0=u, throw=False)

    def advance(u: Any, inputs: Any) -> tuple[Any, Any]:
        t, is_sampled = inputs
        A, b = system(t, u)
        counts = lax.cond(
            is_sampled,
            lambda: lax.map(lambda w: steps(A, b, u, w).stats.num_steps, arms),
            lambda: jnp.zeros(arms.size, jnp.int32),
        )
        return steps(A, b, u, jnp.asarray(1.6)).value, counts

    is_sampled = np.arange(len(times)) % every == every // 2
    run = jax.jit(lambda u: lax.scan(advance, u, (times, jnp.asarray(is_sampled)))[1])
    return np.asarray(run(first_field(num_cells)))[is_sampled]


def markdown(found: dict[str, Any]) -> str:
    """Return a table per grid."""
    header = ["per time step", "steps of CG", "in the last period", "ms"]

    def section(name: str, part: dict[str, Any]) -> str:
        lines = [
            [
                row["row"] + (f" ({row['missed']} missed)" if row["missed"] else ""),
                *(number(row[key]) for key in ("steps", "last", "milliseconds")),
            ]
            for row in part["rows"]
        ]
        lines.append(["best factor of each step", number(part["best_of_each"])])
        title = f"### n_x = {name}, {part['num_steps']} steps"
        return f"{title}\n\n{table(header, lines)}"

    return "\n\n".join(section(name, part) for name, part in found.items())
