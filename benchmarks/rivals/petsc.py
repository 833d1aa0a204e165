"""PETSc, one process: Debian's petsc4py under Debian's own Python, in a subprocess."""

import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .row import Prepared, Problem, Row, Sample, mean

PACKAGE = "PETSc"
PYTHON = "/usr/bin/python3"
WORKER = Path(__file__).with_name("petsc_worker.py")


def petsc(method: str, ksp_type: str, pc_type: str, **options: str) -> Row:
    """Return the row of a solver and preconditioner that stops on ‖b − A x‖.

    Args:
        method: its name.
        ksp_type: PETSc's name of the solver.
        pc_type: PETSc's name of the preconditioner.
        options: more of PETSc's options.
    """
    # By default PETSc preconditions from the left and stops on M⁻¹ r.
    norm = {"ksp_norm_type": "unpreconditioned"}
    types = {"ksp_type": ksp_type, "pc_type": pc_type}

    def prepare(problem: Problem) -> Prepared:
        worker = _worker()
        folder = worker.load(problem)

        def run() -> Sample:
            reply = worker.ask(
                folder=str(folder),
                options=types | norm | options,
                rtol=problem.rtol,
                is_definite=problem.is_definite,
            )
            solutions = np.load(folder / "solutions.npy")
            counts = mean(reply["iterations"])
            return Sample(reply["setup"], reply["solve"], counts, solutions)

        return Prepared(run)

    return Row(method, PACKAGE, prepare)


def version() -> str | None:
    """Return PETSc's version, None where it is not installed."""
    try:
        return _worker().version
    except ImportError:
        return None


class _Worker:
    """The subprocess, which answers a line of JSON with a line of JSON."""

    def __init__(self, packages: str):
        environment = os.environ | {"PYTHONPATH": packages}
        try:
            self.process = subprocess.Popen(
                [PYTHON, str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            self.version = self._answer()["version"]
        except (OSError, RuntimeError) as reason:
            raise ImportError(f"{PYTHON} cannot run petsc4py: {reason}") from reason
        self.folder = tempfile.TemporaryDirectory(prefix="krylax-bench-")

    def load(self, problem: Problem) -> Path:
        """Write the systems where the subprocess finds them, once per problem."""
        folder = Path(self.folder.name) / problem.name.replace(" ", "-")
        if not folder.exists():
            folder.mkdir()
            rhs = problem.b.astype(np.float64)
            for i, (matrix, b) in enumerate(zip(problem.matrices, rhs, strict=True)):
                np.savez(
                    folder / f"{i}.npz",
                    indptr=matrix.indptr.astype(np.int32),
                    indices=matrix.indices.astype(np.int32),
                    data=matrix.data.astype(np.float64),
                    b=b,
                )
        return folder

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request; raise what went wrong as RuntimeError."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the PETSc process ended")
        return json.loads(line)


@cache
def _worker() -> _Worker:
    packages = _packages()
    if packages is None:
        raise ImportError("Debian's python3-petsc4py-real is not installed")
    return _Worker(packages)


@cache
def _packages() -> str | None:
    """The folder with petsc4py: outside of Debian's default path, as dpkg knows."""
    if shutil.which("dpkg") is None:
        return None
    pattern = "dist-packages/petsc4py/__init__.py"
    found = subprocess.run(["dpkg", "-S", pattern], capture_output=True, text=True)
    paths = [line.split(": ", 1)[1] for line in found.stdout.splitlines()]
    # Debian may have real and complex builds side by side; the systems are real.
    real = [path for path in paths if "complex" not in path]
    return str(Path(real[0]).parents[1]) if real else None
