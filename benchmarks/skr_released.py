"""Steps of GMRES and GCRO-DR on the operator released with Sorting Krylov Recycling.

    python benchmarks/skr_released.py [--num-systems 20]

The paper's setting: 48 x 48 unknowns, Jacobi, GMRES(40) against GCRO-DR(40, 20),
relative tolerance 1e-5, here on the true residual. The operator is mis-assembled and
indefinite (see `krylax.datasets.SKRReleased`); runs that do not converge are cut off at
4000 steps, so the ratio is at least what is printed.
"""

import argparse

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import krylax as kx
from krylax.solvers.sequences import greedy_order, solve_sequence

MAX_STEPS = 4000


def main() -> None:
    """Print mean steps, mean products, and how many did not converge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-systems", type=int, default=20)
    count = parser.parse_args().num_systems
    family = kx.datasets.SKRReleased()
    parameters = [family.sample(i) for i in range(count)]
    systems = [family.system(entry) for entry in parameters]
    by_id = np.arange(count)
    order = greedy_order(np.stack([family.features(entry) for entry in parameters]))
    gmres = kx.solvers.GMRES(rtol=1e-5, restart=40, max_steps=MAX_STEPS)
    recycled = kx.solvers.GCRODR(rtol=1e-5, restart=40, num_recycled=20)
    print(f"{'method':26} {'steps':>8} {'matvecs':>8} {'ratio':>6} {'cut off':>8}")
    reference = None
    for name, solver, ids in [
        ("GMRES(40)", gmres, by_id),
        ("GCRO-DR(40,20), by id", recycled, by_id),
        ("GCRO-DR(40,20), sorted", recycled, order),
    ]:
        solutions = list(
            solve_sequence(
                (systems[i] for i in ids), solver, preconditioner=kx.solvers.Jacobi()
            )
        )
        steps = np.mean([int(s.stats.num_steps) for s in solutions])
        matvecs = np.mean([int(s.stats.num_matvecs) for s in solutions])
        cut_off = sum(int(s.status) != kx.Status.converged for s in solutions)
        reference = steps if reference is None else reference
        ratio = reference / steps
        print(f"{name:26} {steps:8.1f} {matvecs:8.1f} {ratio:6.1f} {cut_off:8d}")


if __name__ == "__main__":
    main()
