"""What a tuner chooses between: a solver with its preconditioner, and its price."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from .._solve import Preconditioner
from ..core._solver import AbstractSolver


class Method(eqx.Module):
    """A way to solve a system.

    Args:
        solver: the method and its tolerances.
        preconditioner: an operator, a factory of one, or None.
        work: what a step costs, in any unit that all methods share: 1 counts steps,
            products with A count work, and seconds are a model of time.
    """

    solver: AbstractSolver
    preconditioner: Preconditioner | None = None
    work: Float[Array, ""] | float = 1.0

    def __init__(
        self, solver: AbstractSolver, preconditioner: Any = None, work: Any = 1.0
    ):
        if not isinstance(solver, AbstractSolver):
            raise TypeError(
                f"Method needs a solver such as CG(rtol=1e-6), got {solver!r}"
            )
        self.solver = solver
        self.preconditioner = preconditioner
        self.work = work
