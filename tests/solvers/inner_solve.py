"""A preconditioner that is not linear: a few steps of CG, as many as rtol asks for."""

from typing import Any

import krylax as kx


class InnerSolve(kx.operators.AbstractOperator):
    """x ↦ the approximate solution of A y = x."""

    operator: Any
    solver: Any = kx.solvers.CG(rtol=0.1)

    @property
    def in_structure(self) -> Any:
        return self.operator.in_structure

    @property
    def out_structure(self) -> Any:
        return self.operator.out_structure

    def __call__(self, x: Any) -> Any:
        return kx.solve(self.operator, x, self.solver, throw=False).value
