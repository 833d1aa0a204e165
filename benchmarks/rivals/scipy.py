"""SciPy: Krylov methods on CSR matrices, and SuperLU."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from scipy.sparse import linalg

from .row import Prepared, Problem, Row, Sample, mean

PACKAGE = "SciPy"


def cg() -> Row:
    """Conjugate gradients."""
    return _krylov("CG", linalg.cg)


def gmres(restart: int) -> Row:
    """GMRES."""
    settings = {"restart": restart, "callback_type": "pr_norm"}
    return _krylov(f"GMRES({restart})", linalg.gmres, **settings)


def bicgstab() -> Row:
    """BiCGStab."""
    return _krylov("BiCGStab", linalg.bicgstab)


def superlu() -> Row:
    """Sparse LU of symmetric matrices, without pivoting, ordered by minimum degree."""

    def factor(matrix: Any, problem: Problem) -> Callable[[Any], tuple[Any, int]]:
        factors = linalg.splu(
            matrix.tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        return lambda b: (factors.solve(b), 0)

    return host_row("SuperLU", PACKAGE, factor)


def dense() -> Row:
    """`scipy.linalg.solve`."""

    def setup(matrix: Any, problem: Problem) -> Callable[[Any], tuple[Any, int]]:
        return lambda b: (scipy.linalg.solve(matrix, b), 0)

    return host_row("linalg.solve", PACKAGE, setup, convert=lambda m: m.toarray())


def host_row(
    method: str,
    package: str,
    setup: Callable[[Any, Problem], Callable[[Any], tuple[Any, int]]],
    convert: Callable[[Any], Any] = lambda matrix: matrix,
) -> Row:
    """Return the row of a package that runs on NumPy arrays, a system at a time.

    Args:
        method: its name.
        package: whose it is.
        setup: (matrix, problem) -> (b -> (x, iterations)).
        convert: what is done to the matrices beforehand, not timed.
    """

    def prepare(problem: Problem) -> Prepared:
        matrices = [convert(matrix) for matrix in problem.matrices]
        rhs = problem.b.reshape(len(matrices), -1)

        def run() -> Sample:
            first, second, counts, solutions = 0.0, 0.0, [], []
            for matrix, b in zip(matrices, rhs, strict=True):
                start = time.perf_counter()
                solve = setup(matrix, problem)
                middle = time.perf_counter()
                x, count = solve(b)
                second += time.perf_counter() - middle
                first += middle - start
                counts.append(count)
                solutions.append(x)
            return Sample(first, second, mean(counts), np.stack(solutions))

        return Prepared(run)

    return Row(method, package, prepare)


def _krylov(method: str, solver: Callable[..., Any], **settings: Any) -> Row:
    def setup(matrix: Any, problem: Problem) -> Callable[[Any], tuple[Any, int]]:
        def solve(b: Any) -> tuple[Any, int]:
            count = 0

            def callback(_: Any) -> None:
                nonlocal count
                count += 1

            x, _ = solver(
                matrix, b, rtol=problem.rtol, atol=0.0, callback=callback, **settings
            )
            return x, count

        return solve

    def prepare(problem: Problem) -> Prepared:
        # A matrix of float64 would make a float32 problem a float64 one.
        dtype = problem.b.dtype
        row = host_row(method, PACKAGE, setup, lambda matrix: matrix.astype(dtype))
        return row.prepare(problem)

    return Row(method, PACKAGE, prepare)
