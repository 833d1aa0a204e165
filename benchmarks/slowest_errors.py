"""Draw hard coefficients, and the error that a multigrid cycle reduces least.

    python benchmarks/slowest_errors.py FOLDER [--rows "6 channels 1e4" ...]
        [--num-axes 2] [--num-points 128] [--cycles cheap robust] [--num-steps 200]

Writes a PNG for each row of `hard_coefficients.py`: the coefficient or mask, and for
each cycle M the error e <- (I - M A) e after that many steps, with the factor by which
the last one changed its A-norm: the worst that one cycle without CG leaves of an error.
Above 1 the cycle corrects that error too much, which CG forgives. In 3-D the slices are
across the last axis, through the peak of the error. Rates are printed too.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from hard_coefficients import problem, rows_of
from jax import lax
from jaxtyping import Array, Float
from matplotlib.figure import Figure

import krylax as kx


def main() -> None:
    """Write the pictures and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--rows", nargs="+", help="all unless given")
    parser.add_argument("--num-axes", type=int, choices=(2, 3), default=2)
    parser.add_argument("--num-points", type=int, default=128)
    parser.add_argument("--cycles", nargs="+", default=["cheap", "robust"])
    parser.add_argument("--num-steps", type=int, default=200)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.rows or rows_of(given.num_axes):
        operator = problem(given.num_points, given.num_axes, name).operator
        values = rows_of(given.num_axes)[name][0](given.num_points)
        found = {c: slowest(operator, c, given.num_steps) for c in given.cycles}
        path = given.folder / (re.sub(r"[^A-Za-z0-9.-]+", "_", name) + ".png")
        draw(path, name, np.log10(values) if values.dtype != bool else values, found)
        print(f"{name:28}", *[f"{c} {rate:.3f}" for c, (_, rate) in found.items()])


@eqx.filter_jit
def slowest(
    A: Any, cycle: Any, num_steps: int
) -> tuple[Float[Array, "..."], Float[Array, ""]]:
    """Return the error, of largest entry 1, and its rate."""
    M = kx.solvers.Multigrid(cycle=cycle)(A)

    def energy(e: Any) -> Any:
        return jnp.sqrt(jnp.vdot(e, A @ e))

    def step(_: Any, carry: Any) -> Any:
        e, _ = carry
        e = e - M @ (A @ e)
        rate = energy(e)
        return e / rate, rate

    # On cells outside of a mask A is the identity, and the cycle exact.
    e = jax.random.normal(jax.random.key(0), A.in_structure.shape)
    e, rate = lax.fori_loop(0, num_steps, step, (e / energy(e), jnp.ones(())))
    return e / e.ravel()[jnp.argmax(jnp.abs(e))], rate


def draw(path: Path, name: str, values: Any, found: dict[str, Any]) -> None:
    """Write the picture of a row: coefficient and errors side by side."""
    figure = Figure(figsize=(4.4 * (1 + len(found)), 4), dpi=110, layout="constrained")
    panels = figure.subplots(1, 1 + len(found))
    label = "fluid" if values.dtype == bool else "log10 of the coefficient"
    peak = np.argmax(np.abs(next(iter(found.values()))[0]))
    show(figure, panels[0], f"{name}: {label}", values, peak, cmap="viridis")
    for panel, (cycle, (e, rate)) in zip(panels[1:], found.items(), strict=True):
        title = f"{cycle}: slowest error, rate {rate:.3f}"
        limits = {"vmin": -1, "vmax": 1, "cmap": "RdBu"}
        show(figure, panel, title, np.asarray(e), np.argmax(np.abs(e)), **limits)
    figure.savefig(path)


def show(
    figure: Any, panel: Any, title: str, field: Any, peak: Any, **options: Any
) -> None:
    """Draw a field, the first axis to the right; in 3-D the slice through a place."""
    if field.ndim == 3:
        at = np.unravel_index(peak, field.shape)[-1]
        field, title = field[..., at], f"{title}, slice {at}"
    image = panel.imshow(field.T, origin="lower", interpolation="nearest", **options)
    panel.set_title(title, fontsize=9)
    figure.colorbar(image, ax=panel, shrink=0.8)


if __name__ == "__main__":
    main()
