"""Solve systems with PETSc; run by Debian's Python, imported by nobody.

Reads requests as lines of JSON, solves every system of a folder, and answers with
seconds and iterations; the solutions go to a file. Matrices stay loaded.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# What PETSc and hypre print must not mix with the answers.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import numpy as np
from petsc4py import PETSc  # pyright: ignore  # Debian's, outside of the environment

loaded: dict[str, list[Any]] = {}


def load(folder: str, is_definite: bool) -> list[Any]:
    """Return matrices and right-hand sides, read once; equal matrices are one."""
    if folder not in loaded:
        loaded.clear()
        loaded[folder] = []
        A, latest = None, ()
        for i in range(len(list(Path(folder).glob("*.npz")))):
            with np.load(f"{folder}/{i}.npz") as system:
                rows = tuple(system[name] for name in ("indptr", "indices", "data"))
                b = system["b"]
            if not (i and all(map(np.array_equal, rows, latest))):
                A, latest = matrix(rows, b.size, is_definite), rows
            loaded[folder].append((A, PETSc.Vec().createWithArray(b.ravel()), b.shape))
    return loaded[folder]


def on_grid(A: Any, shape: tuple[int, ...]) -> Any:
    """Return a matrix in the form of hypre's structured solvers, made once."""
    if (made := A.query("on_grid")) is not None:
        return made
    # PETSc counts the first axis fastest, and knows this form with three axes only.
    sizes = (*shape[::-1], 1, 1)[:3]
    grid = PETSc.DMDA().create(
        sizes=sizes, dof=1, stencil_width=1, stencil_type="star", comm=PETSc.COMM_SELF
    )
    grid.setMatType("hyprestruct")
    P = grid.createMatrix()
    P.setValuesLocalIJV(*A.getValuesCSR())
    P.assemble()
    A.compose("on_grid", P)
    return P


def matrix(rows: tuple[Any, ...], size: int, is_definite: bool) -> Any:
    """Return the matrix of CSR arrays."""
    A = PETSc.Mat().createAIJ((size, size), csr=rows, comm=PETSc.COMM_SELF)
    A.setOption(PETSc.Mat.Option.SPD, is_definite)
    return A


def solve(
    folder: str, options: dict[str, str], rtol: float, is_definite: bool
) -> dict[str, Any]:
    """Solve all systems of a folder, with a new solver where the matrix changes."""
    setup, seconds, iterations, solutions = 0.0, 0.0, [], []
    ksp: Any = None
    latest: Any = None
    # The solvers of blocks and levels read theirs at set-up.
    settings = PETSc.Options()
    for name, value in options.items():
        settings.setValue(name, value)
    for A, b, shape in load(folder, is_definite):
        if A is not latest:
            if ksp is not None:
                ksp.destroy()
            ksp, latest = solver(A, shape, rtol), A
        x = b.duplicate()
        start = time.perf_counter()
        ksp.setUp()
        middle = time.perf_counter()
        ksp.solve(b, x)
        seconds += time.perf_counter() - middle
        setup += middle - start
        iterations.append(ksp.getIterationNumber())
        solutions.append(x.getArray().copy())
    if ksp is not None:
        ksp.destroy()
    for name in options:
        settings.delValue(name)
    np.save(f"{folder}/solutions.npy", np.stack(solutions))
    return {"setup": setup, "solve": seconds, "iterations": iterations}


def solver(A: Any, shape: tuple[int, ...], rtol: float) -> Any:
    """Return the solver of a matrix, as the options say."""
    ksp = PETSc.KSP().create(PETSc.COMM_SELF)
    ksp.setOperators(A)
    ksp.setFromOptions()
    if ksp.getPC().getType() == "pfmg":
        ksp.setOperators(A, on_grid(A, shape))
    ksp.setTolerances(rtol=rtol, atol=0.0, max_it=10_000)
    if ksp.getType() == "richardson":
        # Without a monitor it takes max_it sweeps of SOR and never tests the residual
        # (manual page of KSPRICHARDSON).
        ksp.setMonitor(lambda *_: None)
    return ksp


def main() -> None:
    """Answer until the requests end."""
    version = ".".join(map(str, PETSc.Sys.getVersion()))
    print(json.dumps({"version": version}), file=answers)
    for line in sys.stdin:
        try:
            answer = solve(**json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers)


main()
