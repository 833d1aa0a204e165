"""What tuners choose between: a solver, its preconditioner and the cost of a step."""

import math

import equinox as eqx
from jaxtyping import Array, Float

from ...operators._arguments import require_number
from .._solve import Preconditioner
from ..core._arguments import require_maker
from ..core._solver import AbstractSolver


class Method(eqx.Module):
    """A way to solve a system.

    Args:
        solver: the method and its tolerances.
        preconditioner: an operator, a factory of one, or None.
        work: cost of a step, in a unit that all methods share, such as 1 to count
            steps, the number of products with A, or seconds.
    """

    solver: AbstractSolver
    preconditioner: Preconditioner | None = None
    work: Float[Array, ""] | float = 1.0

    def __init__(
        self,
        solver: AbstractSolver,
        preconditioner: Preconditioner | None = None,
        work: Float[Array, ""] | float = 1.0,
    ) -> None:
        if not isinstance(solver, AbstractSolver):
            raise TypeError(
                f"Method needs a solver such as CG(rtol=1e-6), got {solver!r}"
            )
        self.solver = solver
        require_maker(preconditioner)
        require_number(work, "work", 0, math.inf, "positive and finite")
        self.preconditioner = preconditioner
        self.work = work
