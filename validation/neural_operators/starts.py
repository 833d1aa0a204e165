"""Solves of Darcy flow that begin at a prediction: the steps that are saved.

A small FNO is trained on 1000 samples of 64² cells by each of three losses, for as many
steps: relative L², the error in the norm of the operator, and the residual that two
steps of CG with multigrid leave. Each prediction starts solves as it is, and at the
best length (`ScaledStart`), to several tolerances with several solvers.

The training pays after so many solves as its seconds are more than what a prediction
and the solve from it save of one.
"""

import time
from pathlib import Path
from typing import Any

import darcy
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tables import number, table

import krylax as kx
from krylax.learned import neural_operators as no
from krylax.learned import training

TITLE = "Starts of certified solves"
RTOLS = (1e-2, 1e-3, 1e-5, 1e-8)
MODEL: dict[str, Any] = {"num_modes": (12, 12), "width": 24, "num_layers": 4}
NUM_STEPS = 3000
NUM_SOLVED = 50
NUM_TIMED = 20
NUM_POINTS = 64
PARTS = ("l2", "energy", "through the solver")
FAST_PARTS = ("energy",)

SOLVERS = {
    "CG, Jacobi": kx.solvers.Jacobi(),
    "CG, IC(0)": kx.solvers.IncompleteCholesky(),
    "CG, Multigrid": kx.solvers.Multigrid(),
}


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Train by a loss, and solve with and without the starts."""
    n = 24 if is_fast else NUM_POINTS
    counts = {k: 8 for k in darcy.COUNTS} if is_fast else darcy.COUNTS
    data = {k: darcy.samples(folder, n, k, counts[k]) for k in counts}
    family = kx.datasets.Darcy(num_points=(n, n), stream="test")
    settings = training.Settings(
        num_steps=4 if is_fast else NUM_STEPS,
        batch_size=8,
        augment="square",
        loss=loss_of(part, family),
        validate_every=4 if is_fast else 250,
        progress=False,
    )
    model = no.FNO(2, 1, 1, **MODEL, key=jax.random.key(0))
    result = training.train(
        model, data["train"], data["valid"], settings, folder=folder / f"starts-{part}"
    )
    surrogate = result.surrogate
    assert surrogate is not None
    error = training.evaluate(surrogate, data["test"])["relative_l2"]
    count = 2 if is_fast else NUM_SOLVED
    rows = [
        {
            "solver": name,
            "rtol": rtol,
            **compared(surrogate, family, M, rtol, count),
            **seconds(surrogate, family, M, rtol, min(count, NUM_TIMED)),
        }
        for name, M in SOLVERS.items()
        for rtol in RTOLS
    ]
    return {
        "error": float(error),
        "training_seconds": float(result.history["seconds"][-1]),
        "rows": rows,
    }


def loss_of(part: str, family: Any) -> Any:
    """The loss (prediction, target, inputs) of one sample."""
    if part == "l2":
        return "relative_l2"

    def system(inputs: Any) -> Any:
        return family.system({"coefficient": inputs[0].astype(jnp.float32)})

    def energy(prediction: Any, target: Any, inputs: Any) -> Any:
        A, _ = system(inputs)
        e, y = prediction[0] - target[0], target[0]
        return jnp.sqrt(jnp.vdot(e, A.mv(e)) / jnp.vdot(y, A.mv(y)))

    def through(prediction: Any, target: Any, inputs: Any) -> Any:
        A, _ = system(inputs)
        y = target[0]
        sol = kx.solve(
            A,
            A.mv(y),
            kx.solvers.CG(rtol=1e-5),
            x0=kx.solvers.ScaledStart(prediction[0]),
            preconditioner=kx.solvers.Multigrid(cycle="cheap"),
            unroll=2,
        )
        e = sol.value - y
        return jnp.sqrt(jnp.vdot(e, A.mv(e)) / jnp.vdot(y, A.mv(y)))

    return energy if part == "energy" else through


@eqx.filter_jit
def _solved(A: Any, b: Any, M: Any, rtol: Any, x0: Any) -> Any:
    return kx.solve(A, b, kx.solvers.CG(rtol), preconditioner=M, x0=x0)


@eqx.filter_jit
def _predicted(surrogate: training.Surrogate, k: Any) -> Any:
    return surrogate.start({"coefficient": k})


def compared(
    surrogate: training.Surrogate, family: Any, M: Any, rtol: float, count: int
) -> dict[str, float]:
    """The mean steps from zero, from predictions, and from scaled ones."""
    steps: dict[str, list[int]] = {"zero": [], "prediction": [], "scaled": []}
    for i in range(count):
        parameters = family.sample(i)
        A, b = family.system(parameters)
        start = _predicted(surrogate, jnp.asarray(parameters["coefficient"]))
        starts = {"zero": None, "prediction": start.value, "scaled": start}
        for name, x0 in starts.items():
            solution = _solved(A, b, M, rtol, x0)
            assert solution.status == 0
            steps[name].append(int(solution.stats.num_steps))
    return {name: float(np.mean(found)) for name, found in steps.items()}


def seconds(
    surrogate: training.Surrogate, family: Any, M: Any, rtol: float, count: int
) -> dict[str, float]:
    """The median seconds of a solve from zero, and of a prediction with its solve."""
    taken: dict[str, list[float]] = {"seconds_zero": [], "seconds_start": []}
    for i in range(count):
        parameters = family.sample(i)
        A, b = family.system(parameters)
        k = jnp.asarray(parameters["coefficient"])
        begin = time.perf_counter()
        jax.block_until_ready(_solved(A, b, M, rtol, None).value)
        middle = time.perf_counter()
        start = _predicted(surrogate, k)
        jax.block_until_ready(_solved(A, b, M, rtol, start).value)
        taken["seconds_zero"].append(middle - begin)
        taken["seconds_start"].append(time.perf_counter() - middle)
    return {name: float(np.median(found)) for name, found in taken.items()}


def markdown(found: dict[str, Any]) -> str:
    """A line per loss, solver and tolerance."""
    header = [
        "loss (relative L² of the prediction)",
        "solver",
        "rtol",
        "steps from zero",
        "from the prediction",
        "scaled",
        "saved",
        "ms from zero",
        "ms with the prediction",
        "pays after solves",
    ]
    lines = []
    for name, part in found.items():
        for row in part["rows"]:
            saved = 1 - row["scaled"] / row["zero"]
            gain = row["seconds_zero"] - row["seconds_start"]
            pays = f"{part['training_seconds'] / gain:.0f}" if gain > 0 else "never"
            lines.append(
                [
                    f"{name} ({number(part['error'])})",
                    row["solver"],
                    f"{row['rtol']:g}",
                    *[number(row[key]) for key in ("zero", "prediction", "scaled")],
                    f"{100 * saved:.0f} %",
                    number(1e3 * row["seconds_zero"]),
                    number(1e3 * row["seconds_start"]),
                    pays,
                ]
            )
    return table(header, lines)
