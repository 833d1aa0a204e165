"""PyAMG: algebraic multigrid on CSR matrices."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from scipy.sparse import csr_matrix

from .row import Prepared, Problem, Row
from .scipy import host_row

PACKAGE = "PyAMG"


def smoothed_aggregation() -> Row:
    """Smoothed aggregation as a preconditioner of CG."""

    def setup(matrix: Any, problem: Problem) -> Callable[[Any], tuple[Any, int]]:
        hierarchy = import_module("pyamg").smoothed_aggregation_solver(matrix)

        def solve(b: Any) -> tuple[Any, int]:
            norms: list[float] = []
            x = hierarchy.solve(b, tol=problem.rtol, accel="cg", residuals=norms)
            return x, len(norms) - 1

        return solve

    def prepare(problem: Problem) -> Prepared:
        import_module("pyamg")
        return host_row(method, PACKAGE, setup, csr_matrix).prepare(problem)

    method = "CG + smoothed aggregation"
    return Row(method, PACKAGE, prepare)
