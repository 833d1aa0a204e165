"""SciPy: Krylov methods on CSR matrices, and SuperLU."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from scipy.sparse import linalg

from .row import Prepared, Problem, Row, Sample, mean

PACKAGE = "SciPy"
# As for PETSc.
MAX_STEPS = 10_000


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


def gcrotmk(m: int, k: int) -> Row:
    """GCROT(m, k) + Jacobi from the right, its vectors handed on to the next system."""

    def prepare(problem: Problem) -> Prepared:
        rhs = problem.b.reshape(len(problem.matrices), -1)

        def run() -> Sample:
            start = time.perf_counter()
            found, kept = [], []
            for matrix, b in zip(problem.matrices, rhs, strict=True):
                found.append(_recycled(matrix, b, kept, problem, m, k))
            seconds = time.perf_counter() - start
            solutions, counts = zip(*found, strict=True)
            return Sample(0.0, seconds, mean(list(counts)), np.stack(solutions))

        return Prepared(run)

    return Row(f"GCROT({m},{k}) + Jacobi", PACKAGE, prepare)


def superlu() -> Row:
    """Sparse LU of symmetric matrices, without pivoting, ordered by minimum degree.

    A matrix that comes again is factored once.
    """
    latest: list[Any] = [None, None]

    def factor(matrix: Any, problem: Problem) -> Callable[[Any], tuple[Any, int]]:
        if latest[0] is not matrix:
            latest[:] = matrix, _factors(matrix)
        return lambda b: (latest[1].solve(b), 0)

    def prepare(problem: Problem) -> Prepared:
        inner = host_row(method, PACKAGE, factor).prepare(problem)

        def run() -> Sample:
            latest[:] = None, None
            return inner.run()

        return Prepared(run)

    method = "SuperLU"
    return Row(method, PACKAGE, prepare)


def dense() -> Row:
    """`scipy.linalg.solve`."""

    def setup(matrix: Any, problem: Problem) -> Callable[[Any], tuple[Any, int]]:
        return lambda b: (scipy.linalg.solve(matrix, b), 0)

    return host_row("linalg.solve", PACKAGE, setup, convert=lambda m: m.toarray())


def sylvester() -> Row:
    """`scipy.linalg.solve_sylvester`, of a sum of operators along two axes."""

    def prepare(problem: Problem) -> Prepared:
        A, B = (np.asarray(line.as_matrix()) for line in problem.operator.factors)

        def run() -> Sample:
            start = time.perf_counter()
            x = scipy.linalg.solve_sylvester(A, B.T, problem.b[0])
            seconds = time.perf_counter() - start
            return Sample(0.0, seconds, None, x.reshape(1, -1))

        return Prepared(run)

    return Row("linalg.solve_sylvester", PACKAGE, prepare)


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


def _recycled(
    matrix: Any, b: Any, kept: list[Any], problem: Problem, m: int, k: int
) -> tuple[Any, int]:
    """Return x and the number of steps; `kept` is what is handed on."""
    diagonal, count = matrix.diagonal(), 0

    def divide(x: Any) -> Any:
        nonlocal count
        count += 1
        return x / diagonal

    # The images of the vectors stay where the matrix does.
    is_constant = problem.matrices[0] is problem.matrices[-1]
    make_operator: Any = linalg.LinearOperator
    x, _ = linalg.gcrotmk(
        matrix,
        b,
        rtol=problem.rtol,
        atol=0.0,
        maxiter=MAX_STEPS // m,
        M=make_operator(matrix.shape, matvec=divide, dtype=matrix.dtype),
        CU=kept,
        discard_C=not is_constant,
        m=m,
        k=k,
    )
    return x, count


def _factors(matrix: Any) -> Any:
    return linalg.splu(
        matrix.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
