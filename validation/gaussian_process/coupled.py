"""Several fields: Stokes flow without a given pressure, and reaction-diffusion."""

import time
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from tables import number, table

from krylax.learned.gaussian_process import (
    PDE,
    Dirichlet,
    Initial,
    Periodic,
    SpectralMixture,
    solve_pde,
)

TITLE = "Several fields"
PI = np.pi


def stokes(*, is_fast: bool) -> tuple[Any, dict[str, float]]:
    """-Δu + ∇p = f, div u = 0 on the unit square, made from a solution."""

    def exact(x: Any, y: Any) -> tuple[Any, Any, Any]:
        return (
            jnp.sin(PI * x) ** 2 * jnp.sin(2 * PI * y),
            -jnp.sin(2 * PI * x) * jnp.sin(PI * y) ** 2,
            jnp.cos(PI * x) * jnp.sin(PI * y),
        )

    def along_x(x: Any, y: Any) -> Any:
        laplacian = (2 - 8 * jnp.sin(PI * x) ** 2) * jnp.sin(2 * PI * y)
        return -(PI**2) * laplacian - PI * jnp.sin(PI * x) * jnp.sin(PI * y)

    def along_y(x: Any, y: Any) -> Any:
        laplacian = (2 - 8 * jnp.sin(PI * y) ** 2) * jnp.sin(2 * PI * x)
        return PI**2 * laplacian + PI * jnp.cos(PI * x) * jnp.cos(PI * y)

    pde = PDE(
        [(0.0, 1.0), (0.0, 1.0)],
        lambda x, u, v, p: (
            p(1, 0) - u(2, 0) - u(0, 2) - along_x(*x),
            p(0, 1) - v(2, 0) - v(0, 2) - along_y(*x),
            u(1, 0) + v(0, 1),
        ),
        [Dirichlet(0.0, field=0), Dirichlet(0.0, field=1)],
        fields=3,
    )
    kernel = SpectralMixture([1.0], [0.0], 0.4)
    solution = solve_pde(pde, 16 if is_fast else 28, kernel=kernel)
    x = np.linspace(0, 1, 41)
    found = np.asarray(solution.on_grid(x, x))
    errors = {}
    fields = exact(*np.meshgrid(x, x, indexing="ij"))
    for name, own, expected in zip(
        "uvp", np.moveaxis(found, -1, 0), fields, strict=True
    ):
        difference = own - np.asarray(expected)
        if name == "p":
            # The constant of the pressure is free.
            difference = difference - np.mean(difference)
        errors[name] = float(np.linalg.norm(difference) / np.linalg.norm(expected))
    return solution, errors


def gray_scott(*, is_fast: bool) -> tuple[Any, dict[str, float]]:
    """Two reacting substances over 10 units of time, against Fourier and DOP853."""
    Du, Dv, F, k, end = 2e-3, 1e-3, 0.04, 0.06, 2.0 if is_fast else 10.0

    def start(x: Any) -> tuple[Any, Any]:
        bump = jnp.sin(PI * x) ** 4
        return 1 - 0.5 * bump, 0.25 * bump

    pde = PDE(
        [(0.0, 1.0), (0.0, end)],
        lambda x, u, v: (
            u(0, 1) - Du * u(2, 0) + u() * v() ** 2 - F * (1 - u()),
            v(0, 1) - Dv * v(2, 0) - u() * v() ** 2 + (F + k) * v(),
        ),
        [
            Periodic(0),
            Initial(lambda x: start(x)[0], field=0),
            Initial(lambda x: start(x)[1], field=1),
        ],
        fields=2,
    )
    solution = solve_pde(pde, 20 if is_fast else 32)
    n = 128
    x, times = np.arange(n) / n, np.linspace(0, end, 21)
    symbol = -((2 * PI * np.fft.rfftfreq(n, 1 / n)) ** 2)

    def rates(_: float, w: np.ndarray) -> np.ndarray:
        u, v = w[:n], w[n:]
        uxx, vxx = (np.fft.irfft(symbol * np.fft.rfft(a), n) for a in (u, v))
        reaction = u * v**2
        return np.concatenate(
            [Du * uxx - reaction + F * (1 - u), Dv * vxx + reaction - (F + k) * v]
        )

    initial = np.concatenate([np.asarray(a) for a in start(jnp.asarray(x))])
    expected = solve_ivp(
        rates, (0, end), initial, "DOP853", times, rtol=1e-11, atol=1e-12
    ).y.reshape(2, n, -1)
    found = np.moveaxis(np.asarray(solution.on_grid(x, times)), -1, 0)
    errors = {
        name: float(np.linalg.norm(a - b) / np.linalg.norm(b))
        for name, a, b in zip("uv", found, expected, strict=True)
    }
    return solution, errors


EQUATIONS = {"Stokes": stokes, "Gray-Scott": gray_scott}
PARTS = tuple(EQUATIONS)
FAST_PARTS = PARTS


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return the errors of each field."""
    del folder
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solution, errors = EQUATIONS[part](is_fast=is_fast)
    report = solution.report
    found = {
        "errors": errors,
        "grid": " x ".join(map(str, report.num_points)),
        "ranks": report.ranks,
        "residual": float(report.residual_off_grid),
        "seconds": time.perf_counter() - start,
    }
    print(part, found, flush=True)
    return found


def markdown(found: dict[str, Any]) -> str:
    """Return a table with a row per equation."""
    lines = [
        [
            name,
            m["grid"],
            ", ".join(" x ".join(map(str, r)) for r in m["ranks"]),
            ", ".join(f"{field} {error:.1e}" for field, error in m["errors"].items()),
            f"{m['residual']:.1e}",
            number(m["seconds"]),
        ]
        for name, m in found.items()
    ]
    header = ["", "grid", "functions", "errors", "residual between points", "seconds"]
    return table(header, lines)
