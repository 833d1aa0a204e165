"""PyAMG: algebraic multigrid on CSR matrices."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from scipy.sparse import csr_matrix

from .row import Prepared, Problem, Row
from .scipy import host_row

PACKAGE = "PyAMG"


# As many as a hierarchy that does not suit a matrix may need.
MAX_STEPS = 400


def smoothed_aggregation() -> Row:
    """Smoothed aggregation as a preconditioner of CG."""
    return _row("CG + smoothed aggregation", "smoothed_aggregation_solver")


def ruge_stuben() -> Row:
    """Classical algebraic multigrid as a preconditioner of CG."""
    return _row("CG + Ruge-Stüben", "ruge_stuben_solver")


def _row(method: str, constructor: str) -> Row:
    def setup(matrix: Any, problem: Problem) -> Callable[[Any], tuple[Any, int]]:
        hierarchy = getattr(import_module("pyamg"), constructor)(matrix)

        def solve(b: Any) -> tuple[Any, int]:
            norms: list[float] = []
            x = hierarchy.solve(
                b, tol=problem.rtol, accel="cg", residuals=norms, maxiter=MAX_STEPS
            )
            return x, len(norms) - 1

        return solve

    def prepare(problem: Problem) -> Prepared:
        import_module("pyamg")
        return host_row(method, PACKAGE, setup, csr_matrix).prepare(problem)

    return Row(method, PACKAGE, prepare)
