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
    """Return matrices and right-hand sides, read once."""
    if folder not in loaded:
        loaded.clear()
        loaded[folder] = []
        for i in range(len(list(Path(folder).glob("*.npz")))):
            with np.load(f"{folder}/{i}.npz") as system:
                rows = tuple(system[name] for name in ("indptr", "indices", "data"))
                b = system["b"]
            A = PETSc.Mat().createAIJ((b.size, b.size), csr=rows, comm=PETSc.COMM_SELF)
            A.setOption(PETSc.Mat.Option.SPD, is_definite)
            loaded[folder].append((A, PETSc.Vec().createWithArray(b)))
    return loaded[folder]


def solve(
    folder: str, options: dict[str, str], rtol: float, is_definite: bool
) -> dict[str, Any]:
    """Solve all systems of a folder, a new solver for each."""
    setup, seconds, iterations, solutions = 0.0, 0.0, [], []
    for A, b in load(folder, is_definite):
        ksp = PETSc.KSP().create(PETSc.COMM_SELF)
        ksp.setOperators(A)
        settings = PETSc.Options()
        for name, value in options.items():
            settings.setValue(name, value)
        ksp.setFromOptions()
        ksp.setTolerances(rtol=rtol, atol=0.0, max_it=10_000)
        x = b.duplicate()
        start = time.perf_counter()
        ksp.setUp()
        middle = time.perf_counter()
        ksp.solve(b, x)
        seconds += time.perf_counter() - middle
        setup += middle - start
        iterations.append(ksp.getIterationNumber())
        solutions.append(x.getArray().copy())
        ksp.destroy()
        for name in options:
            settings.delValue(name)
    np.save(f"{folder}/solutions.npy", np.stack(solutions))
    return {"setup": setup, "solve": seconds, "iterations": iterations}


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
