"""What recycling and sorting save on a generated data set.

    python benchmarks/recycling.py build/darcy64 [--num-systems 16]

Solves systems of the data set again, one after the other on this machine, with and
without a recycled Krylov space and in both orders, to the data set's tolerance on the
true residual. Compilation is excluded; the median time of a system is printed.
Matrix-vector products count everything: the k of a recycled space at each new system,
and those of recomputed residuals. CG is in the table because the systems are positive
definite: where it applies it wins, and recycling earns its keep elsewhere.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import krylax as kx


class Row(NamedTuple):
    """One line of the table; means over the systems, but the median time."""

    name: str
    steps: float
    matvecs: float
    milliseconds: float
    worst_residual: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="folder of a generated data set")
    parser.add_argument("--num-systems", type=int, default=16)
    arguments = parser.parse_args()
    dataset = kx.datasets.open_dataset(arguments.dataset)
    num_systems = min(arguments.num_systems, len(dataset))
    rows = compare(dataset, num_systems)
    print(f"\n{num_systems} systems of {arguments.dataset}, solved again:")
    print(table(rows))


def compare(dataset: Any, num_systems: int) -> list[Row]:
    """Solve by id and in solve order, with and without recycling."""
    rtol = dataset.configuration["solver"]["rtol"]
    positions = np.asarray(dataset["solve_position"][:])
    by_id = np.arange(num_systems)
    in_order = np.argsort(positions)[:num_systems]
    gmres = kx.solvers.GMRES(rtol=rtol, restart=40)
    recycled = kx.solvers.GCRODR(rtol=rtol, restart=40, num_recycled=20)
    cg = kx.solvers.CG(rtol=rtol)
    jacobi = kx.solvers.Jacobi()
    multigrid = kx.solvers.Multigrid(cycle="cheap")
    cases = [
        ("GMRES(40), Jacobi", by_id, gmres, jacobi),
        ("GCRO-DR(40,20), Jacobi, by id", by_id, recycled, jacobi),
        ("GCRO-DR(40,20), Jacobi, sorted", in_order, recycled, jacobi),
        ("CG, Jacobi", by_id, cg, jacobi),
        ("CG, multigrid", by_id, cg, multigrid),
    ]
    return [
        measure(name, dataset, ids, solver, preconditioner)
        for name, ids, solver, preconditioner in cases
    ]


def measure(
    name: str, dataset: Any, ids: np.ndarray, solver: Any, preconditioner: Any
) -> Row:
    """Solve the systems in the given order, the carry going along."""
    build = jax.jit(dataset.family.system)
    systems = [build(dataset[int(i)]) for i in ids]
    carry, steps, matvecs, times, residuals = None, [], [], [], []
    # The first solve compiles and is not counted.
    A, b = systems[0]
    kx.solve(A, b, solver, preconditioner=preconditioner)
    for A, b in systems:
        start = time.perf_counter()
        solution = kx.solve(A, b, solver, preconditioner=preconditioner, carry=carry)
        solution.value.block_until_ready()
        times.append(1e3 * (time.perf_counter() - start))
        carry = solution.carry
        steps.append(int(solution.stats.num_steps))
        matvecs.append(int(solution.stats.num_matvecs))
        residuals.append(float(solution.stats.relative_residual))
    return Row(
        name,
        float(np.mean(steps)),
        float(np.mean(matvecs)),
        float(np.median(times)),
        max(residuals),
    )


def table(rows: Sequence[Row]) -> str:
    """Text of the table."""
    head = f"{'method':32} {'iterations':>10} {'matvecs':>8} {'ms':>8} {'residual':>9}"
    lines = [
        f"{row.name:32} {row.steps:10.1f} {row.matvecs:8.1f} {row.milliseconds:8.2f} "
        f"{row.worst_residual:9.1e}"
        for row in rows
    ]
    return "\n".join([head, "-" * len(head), *lines])


if __name__ == "__main__":
    main()
