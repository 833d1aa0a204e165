"""What a solver is, what it gets and what it returns.

`solve` does for all solvers what is the same for all: it checks the input, measures b,
builds the preconditioner, honours a null space, differentiates, and certifies the
result. A solver only iterates.
"""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, PyTree

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arithmetic import zeros_like
from ...operators._field import Field, Structure
from ._history import History
from ._inner_product import InnerProduct


class LinearSystem(eqx.Module):
    """The system A x = b as a solver gets it: checked, b finite and compatible.

    Attributes:
        operator: A, square.
        preconditioner: an approximate inverse M⁻¹, `None` for the identity.
        b: the right-hand side.
        x0: the start.
        r0: its residual, b - A x0.
        target: the residual norm at which to stop.
        scale: ‖b‖, the unit of the history, or 1 for b = 0.
    """

    operator: AbstractLinearOperator
    preconditioner: AbstractOperator | None
    b: Field
    x0: Field
    r0: Field
    target: Float[Array, ""]
    scale: Float[Array, ""]

    def restarted(self, r: Field) -> "LinearSystem":
        """Return the system A e = r, from zero."""
        return LinearSystem(
            operator=self.operator,
            preconditioner=self.preconditioner,
            b=r,
            x0=zeros_like(r),
            r0=r,
            target=self.target,
            scale=self.scale,
        )


class Outcome(eqx.Module):
    """What a solver returns to `solve`; the counts are of work done inside.

    Attributes:
        value: x.
        residual: a residual norm.
        is_certified: whether it is that of b - A x, computed from this x; if not,
            `solve` computes it.
    """

    value: Field
    residual: Float[Array, ""]
    is_certified: Bool[Array, ""]
    status: Int[Array, ""]
    num_steps: Int[Array, ""]
    num_matvecs: Int[Array, ""]
    num_preconditioner_calls: Int[Array, ""]
    history: History
    carry: PyTree = None


class AbstractSolver(eqx.Module):
    """An iterative method for A x = b.

    All solvers aim at ‖b − A x‖ ≤ max(rtol·‖b‖, atol), the true residual.

    Attributes:
        rtol: tolerance relative to ‖b‖, zero or at least 10 eps of the dtype.
        atol: absolute tolerance, zero or positive.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.
    """

    rtol: eqx.AbstractVar[float]
    atol: eqx.AbstractVar[float]
    max_steps: eqx.AbstractVar[int]
    inner_product: eqx.AbstractVar[InnerProduct]

    @property
    def has_carry(self) -> bool:
        """Whether a solve hands something on to the next one of a sequence."""
        return False

    def initial_carry(self, structure: Structure) -> Any:
        """Return what to hand to the first solve of a sequence, `None` for nothing."""
        del structure

    @property
    def is_flexible(self) -> bool:
        """Whether the preconditioner may be nonlinear or change from step to step."""
        return False

    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> AbstractOperator | None:
        """Return what stands in for the preconditioner, such as factors of A.

        Done once per operator: derivatives use its transpose.
        """
        del A
        return preconditioner

    @abstractmethod
    def start(self, system: LinearSystem, carry: Any) -> Any:
        """Return the state before the first step; it has a `status`."""

    @abstractmethod
    def advance(self, system: LinearSystem, state: Any, until: Any) -> Any:
        """Iterate until the status says how it ended or `until` steps are taken.

        Solving in several such stretches is what lets a batch drop finished systems.
        """

    @abstractmethod
    def finish(self, system: LinearSystem, state: Any) -> Outcome:
        """Return the outcome of a state, ended or not."""

    def run(self, system: LinearSystem, carry: Any) -> Outcome:
        """Iterate from `system.x0` until the residual norm is at most the target."""
        state = self.start(system, carry)
        state = self.advance(system, state, self.max_steps)
        return self.finish(system, state)

    def unroll(self, system: LinearSystem, carry: Any, num_steps: int) -> Outcome:
        """Take exactly `num_steps` steps, none of them in a loop that ends by itself.

        Raises:
            ValueError: the method has no such form.
        """
        del system, carry, num_steps
        raise ValueError(
            f"{type(self).__name__} cannot be unrolled; use a method of short "
            "recurrences such as CG, or GMRES, or leave out `unroll` for derivatives "
            "by the implicit rule"
        )
