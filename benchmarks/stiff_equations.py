"""Linear solvers inside an implicit method of Diffrax, on a stiff equation.

    python benchmarks/stiff_equations.py [--num-points 10 32 64]

    u_t = Δu + 1000 u (1 - u) (u - 1/4) on the unit square, u = 0 at the walls,

from a Gaussian to t = 0.05, on 10², 32² and 64² points, with Kvaerno3, `VeryChord` and
adaptive steps, rtol 1e-3 and atol 1e-5 for steps and root finder. Linear solvers that
iterate have rtol 1e-6. SciPy's Radau has the same tolerances for its steps, and the
sparse matrix of the exact Jacobian. Prints a table in Markdown.

One core for everybody, compilation apart. Rows take turns, the first run of each warms
up and is dropped where there are more, medians are shown. A row that has used up its
seconds is not run again. Errors are relative to SciPy's BDF with tolerances 1e-9, which
shares no code with krylax. A row that Diffrax does not accept says so.
"""

import argparse
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from machine import available_cores, describe_machine, environment, versions
from report import conditions

# XLA and BLAS follow what they find when they are loaded.
os.sched_setaffinity(0, available_cores()[:1])
os.environ.update(environment(1))

import jax

jax.config.update("jax_enable_x64", True)

import diffrax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import scipy.sparse as sp
from scipy.integrate import solve_ivp

import krylax as kx

RATE, THRESHOLD, END, FIRST_STEP = 1000.0, 0.25, 0.05, 1e-4
RTOL, ATOL = 1e-3, 1e-5
NUM_ROUNDS, SECONDS = 15, 10.0

Run = Callable[[], tuple[Any, int]]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-points", type=int, nargs="+", default=[10, 32, 64])
    described: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "num_cores": len(available_cores()),
        "machine": describe_machine(),
        "versions": versions("diffrax", "optimistix"),
    }
    print("# Stiff equations\n\n`python benchmarks/stiff_equations.py`")
    for n in parser.parse_args().num_points:
        print(f"\n{n}² unknowns\n\n{table(measure(n))}", flush=True)
    print(f"\n{conditions(described)}")


def measure(n: int) -> list[dict[str, Any]]:
    """Return a row for each method: times in seconds, steps and error."""
    expected = scipy_run(n, "BDF", 1e-9, 1e-9)()[0]
    rows = []
    for package, method, linear_solver in linear_solvers(n):
        row: dict[str, Any] = {"package": package, "method": method, "times": []}
        try:
            row["run"], row["compile"] = diffrax_run(n, linear_solver)
        except TypeError as error:
            row["failed"] = type(error).__name__
        rows.append(row)
    radau = {"run": scipy_run(n, "Radau", RTOL, ATOL), "compile": None, "times": []}
    rows.append({"package": "SciPy", "method": "Radau, sparse Jacobian", **radau})
    for _ in range(1 + NUM_ROUNDS):
        for row in rows:
            if "run" in row and sum(row["times"]) < SECONDS:
                start = time.perf_counter()
                u, row["steps"] = row["run"]()
                row["times"].append(time.perf_counter() - start)
                row["error"] = np.linalg.norm(u - expected) / np.linalg.norm(expected)
    return rows


def linear_solvers(n: int) -> list[tuple[str, str, Any]]:
    """Return package, name and solver of the rows."""
    solvers = kx.solvers
    wrap, nearby, coupled = solvers.as_lineax_solver, *factories(n)
    gmres, bicgstab = solvers.GMRES(rtol=1e-6), solvers.BiCGStab(rtol=1e-6)
    return [
        ("lineax", "LU", lx.LU()),
        ("lineax", "GMRES", lx.GMRES(1e-6, 1e-9)),
        ("krylax", "LU", wrap(solvers.LU())),
        ("krylax", "GMRES", wrap(gmres)),
        ("krylax", "GMRES + FastDiagonalization", wrap(gmres, nearby)),
        ("krylax", "BiCGStab", wrap(bicgstab)),
        ("krylax", "BiCGStab + FastDiagonalization", wrap(bicgstab, nearby)),
        ("krylax", "BiCGStab + Multigrid", wrap(bicgstab, coupled)),
    ]


def factories(n: int) -> tuple[Any, Any]:
    """Return two factories: the reaction replaced by its mean, and as it is."""
    L = laplacian(n)
    sign = jnp.asarray((-1.0) ** np.add.outer(np.arange(n), np.arange(n)))
    one = jnp.ones((n, n))

    def parts(A: Any) -> tuple[Any, Any]:
        # A = s L + diag(d): products with two vectors of entries ±1 give both.
        plain, signed = A.mv(one), sign * A.mv(sign)
        L_plain, L_signed = L.mv(one), sign * L.mv(sign)
        s = jnp.sum(signed - plain) / jnp.sum(L_signed - L_plain)
        return s, plain - s * L_plain

    def nearby(A: Any) -> Any:
        s, d = parts(A)
        mean = jnp.mean(d) * kx.operators.Identity(L.in_structure)
        return kx.solvers.FastDiagonalization()(s * L + mean)

    def coupled(A: Any) -> Any:
        s, d = parts(A)
        return kx.solvers.Multigrid()(s * L + kx.operators.Diagonal(d))

    return nearby, coupled


def diffrax_run(n: int, linear_solver: Any) -> tuple[Run, float]:
    """Return a compiled run, and the seconds that compiling it took."""
    L = laplacian(n)

    def solve(u0: Any) -> tuple[Any, Any]:
        root_finder = diffrax.with_stepsize_controller_tols(diffrax.VeryChord)(
            linear_solver=linear_solver
        )
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, u, args: reaction(u) - L.mv(u)),
            diffrax.Kvaerno3(root_finder=root_finder),
            0.0,
            END,
            FIRST_STEP,
            u0,
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
        )
        assert found.ys is not None
        return found.ys[-1], found.stats["num_steps"]

    u0, start = jnp.asarray(initial(n)), time.perf_counter()
    compiled = jax.jit(solve).lower(u0).compile()
    seconds = time.perf_counter() - start

    def run() -> tuple[Any, int]:
        u, steps = compiled(u0)
        return np.asarray(u), int(steps)

    return run, seconds


def scipy_run(n: int, method: str, rtol: float, atol: float) -> Run:
    """Return a run of SciPy, on a matrix that it assembles."""
    pieces = [sp.eye_array(n, k=1), -2 * sp.eye_array(n), sp.eye_array(n, k=-1)]
    line = sum(pieces[1:], pieces[0]) * (n + 1) ** 2
    D = sp.csc_array(sp.kronsum(line, line))

    def jacobian(t: float, u: Any) -> Any:
        slope = RATE * (-3 * u**2 + 2 * (1 + THRESHOLD) * u - THRESHOLD)
        return sp.csc_array(D + sp.diags_array(slope))

    def run() -> tuple[Any, int]:
        found = solve_ivp(
            lambda t, u: D @ u + reaction(u),
            (0, END),
            initial(n).ravel(),
            method=method,
            jac=jacobian,
            rtol=rtol,
            atol=atol,
            t_eval=[END],
            first_step=FIRST_STEP,
        )
        return found.y[:, -1].reshape(n, n), found.njev

    return run


def laplacian(n: int) -> Any:
    """-Δ on the inner points of the unit square."""
    return kx.operators.Laplacian((n, n), spacing=1 / (n + 1))


def reaction(u: Any) -> Any:
    """The bistable reaction of Nagumo."""
    return RATE * u * (1 - u) * (u - THRESHOLD)


def initial(n: int) -> np.ndarray:
    """A Gaussian in the middle of the square."""
    distance = (np.arange(1, n + 1) / (n + 1) - 0.5) ** 2
    return np.exp(-25 * np.add.outer(distance, distance))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows, fastest first, with their times relative to lineax's LU."""
    head = "| method | package | compile, s | steps | ms | LU / method | error | runs |"
    done = [row for row in rows if "run" in row]
    for row in done:
        kept = row["times"][1:] or row["times"]
        row |= {"seconds": float(np.median(kept)), "runs": len(kept)}
    lu = next(row["seconds"] for row in done if row["package"] == "lineax")
    lines = [head, "|---|---|--:|--:|--:|--:|--:|--:|"]
    for row in sorted(done, key=lambda row: row["seconds"]):
        name = f"**{row['method']}**" if row["package"] == "krylax" else row["method"]
        compiling = "" if row["compile"] is None else f"{row['compile']:.1f}"
        steps = "" if row["package"] == "SciPy" else str(row["steps"])
        lines.append(
            f"| {name} | {row['package']} | {compiling} | {steps} "
            f"| {number(1e3 * row['seconds'])} | {number(lu / row['seconds'])} "
            f"| {row['error']:.1e} | {row['runs']} |"
        )
    lines += [
        f"| {row['method']} | {row['package']} | failed: {row['failed']} | | | | | |"
        for row in rows
        if "failed" in row
    ]
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits, without exponents."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
