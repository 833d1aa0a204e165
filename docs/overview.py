"""The picture of the README, docs/overview.png: one system, and a sequence of them.

    python docs/overview.py

From the left: a permeability of `Darcy` and the pressure in it; the residuals of CG
with and without multigrid on that system; the steps that each of 24 systems of waves
takes to 1e-6, by GMRES and by GCRO-DR, which hands a space from each to the next.
Open squares are systems that GMRES gave up after 10 000 steps.
"""

from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import krylax as kx

mpl.use("agg")
import matplotlib.pyplot as plt

N, NUM_SYSTEMS = 128, 24
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8c8c8c"


def main() -> None:
    """Write the picture next to this script."""
    mpl.rcParams |= {"font.size": 8, "axes.titlesize": 8.5, "axes.linewidth": 0.6}
    figure, axes = plt.subplots(
        1, 4, figsize=(10, 2.4), width_ratios=[1, 1, 1.2, 1.35], layout="constrained"
    )
    draw_system(*axes[:3])
    draw_sequence(axes[3])
    for axis in axes[2:]:
        axis.spines[["top", "right"]].set_visible(False)
    path = Path(__file__).with_suffix(".png")
    figure.savefig(path, dpi=110, pil_kwargs={"optimize": True})
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def draw_system(left: Any, middle: Any, right: Any) -> None:
    """Draw the system that the README begins with."""
    permeability = kx.datasets.Darcy(num_points=(N, N)).sample(0)["coefficient"]
    A, f = kx.operators.Diffusion(permeability, spacing=1 / N), jnp.ones((N, N))
    cg, multigrid = kx.solvers.CG(rtol=1e-8), kx.solvers.Multigrid()
    plain = kx.solve(A, f, cg)
    fast = kx.solve(A, f, cg, preconditioner=multigrid)
    left.imshow(permeability.T, origin="lower", cmap="Greys", vmin=0, vmax=20)
    left.set_title("permeability k")
    middle.imshow(fast.value.T, origin="lower", cmap="viridis")
    middle.set_title(r"solution u of $-\nabla\cdot(k\nabla u) = 1$")
    for axis in (left, middle):
        axis.set(xticks=[], yticks=[])
    draw_residuals(right, plain.stats, GREY, f"CG: {plain.stats.num_steps} steps")
    draw_residuals(right, fast.stats, BLUE, f"CG + Multigrid: {fast.stats.num_steps}")
    right.set(xscale="log", yscale="log", xlabel="steps", ylim=(1e-9, 1e5))
    right.set_title("residual ‖f − A u‖ / ‖f‖")
    right.legend(frameon=False, loc="upper right")


def draw_residuals(axis: Any, stats: Any, colour: str, label: str) -> None:
    """Draw a history of residuals."""
    axis.plot(stats.steps[1:], stats.residuals[1:], color=colour, label=label)


def draw_sequence(axis: Any) -> None:
    """Draw the steps of systems that are solved one after the other."""
    family = kx.datasets.HelmholtzScattering(num_points=(48, 48))
    samples = [family.sample(i) for i in range(NUM_SYSTEMS)]
    features = np.stack([family.features(sample) for sample in samples])
    systems = [
        family.system(samples[int(i)])
        for i in kx.solvers.sequences.greedy_order(features)
    ]
    solvers = kx.solvers
    alone = solvers.GMRES(rtol=1e-6, restart=40)
    recycled = solvers.GCRODR(rtol=1e-6, restart=40, num_recycled=20)
    draw_steps(axis, *steps(alone, systems), "s", GREY, "GMRES(40)")
    draw_steps(axis, *steps(recycled, systems), "o", ORANGE, "GCRO-DR(40, 20)")
    axis.set(yscale="log", xlabel="system", ylim=(50, 50_000))
    axis.set_title("waves, k = 12: steps per system, in sequence")
    axis.legend(frameon=False, loc="upper right", ncols=2, columnspacing=1)


def draw_steps(
    axis: Any, counts: Any, is_solved: Any, marker: str, colour: str, label: str
) -> None:
    """Draw the steps of each system, with open markers where they did not suffice."""
    places = np.arange(1, NUM_SYSTEMS + 1)
    style = {"color": colour, "marker": marker, "ms": 3}
    axis.plot(places, counts, **style, lw=0.8, label=label)
    axis.plot(places[~is_solved], counts[~is_solved], **style, mfc="white", ls="")


def steps(solver: Any, systems: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of each system in sequence, and whether it converged."""
    carry, counts, is_solved = None, [], []
    for A, b in systems:
        found = kx.solve(
            A, b, solver, preconditioner=kx.solvers.Jacobi(), carry=carry, throw=False
        )
        carry = found.carry
        counts.append(int(found.stats.num_steps))
        is_solved.append(int(found.status) == kx.Status.converged)
    return np.array(counts), np.array(is_solved)


if __name__ == "__main__":
    main()
