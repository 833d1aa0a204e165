"""How many systems should be iterated together? One family per method, any backend.

    python benchmarks/lanes.py [num_points] [num_systems]

Frozen spaces, since a chain has one system at a time. Prints milliseconds per system
and how many were certified, over the number of lanes.
"""

import sys
import time
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np

import krylax as kx
from krylax.datasets.families._family import stacked_samples
from krylax.datasets.generation._solve_segment import Assembly
from krylax.solvers.sequences import learned_space, solve_batch

LANES = (1, 16, 64, 256)


def main(num_points: int = 64, num_systems: int = 256) -> None:
    """Print a row per method."""
    shape = (num_points, num_points)
    recycling = kx.solvers.GCRODR(rtol=1e-8, restart=40, num_recycled=20)
    multigrid, jacobi = kx.solvers.Multigrid(cycle="cheap"), kx.solvers.Jacobi()
    cases: list[tuple[str, Any, Any, Any]] = [
        (
            "Darcy, CG + Multigrid",
            kx.datasets.Darcy(shape),
            kx.solvers.CG(rtol=1e-8),
            multigrid,
        ),
        (
            "flows, BiCGStab + Multigrid",
            kx.datasets.ConvectionDiffusion(shape),
            kx.solvers.BiCGStab(rtol=1e-8),
            multigrid,
        ),
        (
            "waves, MINRES",
            kx.datasets.HelmholtzScattering(shape),
            kx.solvers.MINRES(rtol=1e-8),
            None,
        ),
        (
            "waves, GCRO-DR(40,20) + Jacobi",
            kx.datasets.HelmholtzScattering(shape),
            recycling,
            jacobi,
        ),
    ]
    device = jax.devices()[0]
    print(f"{num_systems} systems of {num_points}², float64, {device.device_kind}")
    print(f"{'milliseconds per system, lanes:':34s}", *(f"{n:>14d}" for n in LANES))
    for name, family, solver, preconditioner in cases:
        entries = [
            measure(family, solver, preconditioner, num_lanes, num_systems)
            for num_lanes in LANES
        ]
        print(f"{name:34s}", *(f"{entry:>14s}" for entry in entries), flush=True)


def measure(
    family: Any, solver: Any, preconditioner: Any, num_lanes: int, num_systems: int
) -> str:
    """Milliseconds per system, and how many were certified."""
    # One lane is slow on a GPU, and says as much of fewer systems.
    num_systems = min(num_systems, 16) if num_lanes == 1 else num_systems
    parameters = stacked_samples(family, range(num_systems))
    space = None
    if solver.has_carry:
        mean = {name: np.mean(values, axis=0) for name, values in parameters.items()}
        A, _ = family.system(mean)
        space = learned_space(A, solver, preconditioner=preconditioner)

    def run() -> Any:
        found = solve_batch(
            Assembly(family),
            parameters,
            solver,
            preconditioner=preconditioner,
            carry=space,
            recycle="frozen",
            num_lanes=num_lanes,
        )
        return jax.block_until_ready(found)

    run()
    start = time.perf_counter()
    found = run()
    milliseconds = 1e3 * (time.perf_counter() - start) / num_systems
    certified = int(np.sum(np.asarray(found.status) == 0))
    return f"{milliseconds:.3g} ({certified}/{num_systems})"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
