"""What is known of channel flow before it is turbulent: solutions and identities."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import reference
from orr_sommerfeld import growing_wave, interpolated
from tables import table

from krylax.datasets import channel_flow
from krylax.datasets.channel_flow._operators import acceleration, inner

TITLE = "Before turbulence"
PARTS = ("poiseuille", "energy", "order", "orr_sommerfeld")
FAST_PARTS = ("poiseuille", "energy")
REYNOLDS, WAVE_NUMBER = 10_000, 1.0


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return the rows of a part."""
    del folder
    measure = {
        "poiseuille": _poiseuille,
        "energy": _energy,
        "order": _order,
        "orr_sommerfeld": _orr_sommerfeld,
    }[part]
    return {"rows": measure(is_fast)}


def _poiseuille(is_fast: bool) -> list[list[float]]:
    """Return cells across, and the error of the steady flow after a long time."""
    rows = []
    for n in (8, 16) if is_fast else (8, 16, 32):
        flow = channel_flow.Channel(
            2, (1, n, 1), (1.0, 2.0, 1.0), bulk_velocity=0.5, stretching=1.7
        )
        state = flow.initial(jax.random.key(0), amplitude=0)
        # Perturbations fall by exp(-π²/4 ν t).
        state = flow.run(state, round(25 / float(flow.dt)))
        y = np.asarray(flow.grid.centres)[0, :, 0]
        exact = y * (2 - y)
        error = np.max(np.abs(np.asarray(state.u)[0, :, 0] - exact))
        rows.append([n, float(error)])
    return rows


def _energy(is_fast: bool) -> list[list[float]]:
    """Return |Σ u·N(u)| / Σ |u·N(u)| of turbulent fields without viscosity."""
    del is_fast
    from start import read_start

    rows = []
    for dtype in ("float64", "float32"):
        flow = channel_flow.preset("180-toy", dtype=dtype)
        state = read_start(flow)

        @eqx.filter_jit
        def work(flow: Any, velocity: Any) -> Any:
            grid = flow.grid
            slopes = acceleration(velocity, grid, jnp.zeros((), grid.dtype))
            volumes = (grid.widths, inner(grid.distances, 1), grid.widths)
            terms = [
                q * a * h for q, a, h in zip(velocity, slopes, volumes, strict=True)
            ]
            sums = [jnp.sum(term) for term in terms]
            sizes = [jnp.sum(jnp.abs(term)) for term in terms]
            return jnp.abs(sums[0] + sums[1] + sums[2]), sizes[0] + sizes[1] + sizes[2]

        drift, size = work(flow, state.velocity)
        divergence = jnp.max(jnp.abs(flow.divergence(state)))
        bits = int(dtype[-2:])
        rows.append([bits, float(drift / size), float(divergence)])
    return rows


def _order(is_fast: bool) -> list[list[float]]:
    """Return steps, and the change of a turbulent field when they are halved."""
    from start import read_start

    flow = channel_flow.preset("180-toy")
    state = read_start(flow)
    numbers = (16, 32) if is_fast else (16, 32, 64, 128)
    fields = []
    for n in numbers:
        finer = eqx.tree_at(lambda f: f.dt, flow, jnp.asarray(0.04 / n))
        fields.append(np.asarray(finer.run(state, n).u))
    return [
        [n, float(np.sqrt(np.mean((a - b) ** 2)))]
        for n, a, b in zip(numbers, fields[:-1], fields[1:], strict=False)
    ]


def _orr_sommerfeld(is_fast: bool) -> list[list[float]]:
    """Return cells along and across, stretching, growth rate and phase speed."""
    rows = []
    cases = [(32, 32, 1.7)] if is_fast else CASES
    for nx, ny, stretching in cases:
        rows.append([nx, ny, stretching, *growth(nx, ny, stretching)])
        print(rows[-1], flush=True)
    return rows


CASES = [(64, 64, 1.7), (64, 128, 1.7), (64, 256, 1.7), (64, 128, 2.0), (32, 128, 2.0)]


def growth(
    nx: int, ny: int, stretching: float, *, time: float = 60.0, dt: float = 0.02
) -> tuple[float, float]:
    """Return α c_i and c_r of a small wave on laminar flow, from its time series.

    Velocities are in units of that on the axis, so that the viscosity is 1 / Re, and
    the flux is constant. The wave begins as the exact one; what the grid makes of it
    decays in the first half of the time, which is left out.
    """
    flow = channel_flow.Channel(
        REYNOLDS,
        (nx, ny, 1),
        (2 * np.pi / WAVE_NUMBER, 2.0, 1.0),
        dt=dt,
        forcing="flux",
        bulk_velocity=2 / 3,
        stretching=stretching,
    )
    state = flow.state(*_wave(flow, 1e-5))
    amplitudes, times = [], []
    block = round(1 / dt)
    for _ in range(round(time)):
        state = flow.run(state, block)
        # The first Fourier mode of v on the axis.
        line = np.asarray(state.v)[:, ny // 2 - 1, 0]
        amplitudes.append(np.fft.fft(line)[1])
        times.append(float(state.time))
    half = len(times) // 2
    logs = np.log(np.abs(amplitudes[half:]))
    phases = np.unwrap(np.angle(amplitudes[half:]))
    rate = np.polyfit(times[half:], logs, 1)[0]
    speed = -np.polyfit(times[half:], phases, 1)[0] / WAVE_NUMBER
    return float(rate), float(speed)


def _wave(flow: Any, amplitude: float) -> list[np.ndarray]:
    """Return laminar flow with a small wave, on the faces of the grid."""
    nx, ny, _ = flow.grid.shape
    _, η, v, slope = growing_wave(REYNOLDS, WAVE_NUMBER)
    size = amplitude / np.max(np.abs(v))
    centres = np.asarray(flow.grid.centres)[0, :, 0] - 1
    faces = np.asarray(flow.grid.faces)[0, 1:-1, 0] - 1
    phase = 2 * np.pi * np.arange(nx)[:, None] / nx
    # ∇·u = 0: i α u = -v'.
    u = 1j / WAVE_NUMBER * interpolated(η, slope, centres) * np.exp(1j * phase)
    half = np.pi / nx
    v = interpolated(η, v, faces) * np.exp(1j * (phase + half))
    laminar = 1 - centres**2
    return [
        (laminar + size * u.real)[:, :, None],
        (size * v.real)[:, :, None],
        np.zeros((nx, ny, 1)),
    ]


def markdown(found: dict[str, Any]) -> str:
    """Return a table per part."""
    sections = []
    if "poiseuille" in found:
        rows = found["poiseuille"]["rows"]
        sections += [
            "Laminar flow, the largest error of u after its start has decayed, in the "
            "velocity on the axis.",
            table(["cells across", "error", "order"], _with_orders(rows)),
        ]
    if "energy" in found:
        lines = [
            [f"float{bits:.0f}", f"{drift:.0e}", f"{divergence:.0e}"]
            for bits, drift, divergence in found["energy"]["rows"]
        ]
        sections += [
            "Convection of a turbulent field: the energy that it makes, of all that it "
            "moves, and the largest divergence of the field.",
            table(["", "energy", "divergence"], lines),
        ]
    if "order" in found:
        sections += [
            "A turbulent field after 0.04 h/u_τ: the change when steps are halved.",
            table(["steps", "change", "order"], _with_orders(found["order"]["rows"])),
        ]
    if "orr_sommerfeld" in found:
        rate = WAVE_NUMBER * reference.ORSZAG.imag
        lines = [
            [
                f"{nx:.0f} x {ny:.0f}",
                f"{stretching:.1f}",
                f"{here:.6f}",
                f"{100 * (here / rate - 1):+.2f} %",
                f"{speed:.5f}",
                f"{100 * (speed / reference.ORSZAG.real - 1):+.2f} %",
            ]
            for nx, ny, stretching, here, speed in found["orr_sommerfeld"]["rows"]
        ]
        header = ["cells", "stretching", "growth", "error", "phase speed", "error"]
        sections += [
            f"The growing wave at Re = {REYNOLDS}, α = 1; Orszag: growth {rate:.8f}, "
            f"phase speed {reference.ORSZAG.real}.",
            table(header, lines),
        ]
    return "\n\n".join(sections)


def _with_orders(rows: list[list[float]]) -> list[list[str]]:
    """Return the rows with the order from each to the next."""
    lines = []
    for i, (n, error) in enumerate(rows):
        order = "" if i == 0 else f"{np.log2(rows[i - 1][1] / error):.2f}"
        lines.append([f"{n:.0f}", f"{error:.2e}", order])
    return lines
