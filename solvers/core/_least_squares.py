"""What a least-squares problem is, and a solver of it: what it gets and returns.

The front door does for all of them what is the same for all: damping and a right
preconditioner become part of the operator, every correction is measured by residuals
that are computed anew, and derivatives are solves. A solver only makes corrections.
"""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import add
from ...operators._field import Field
from ._history import History
from ._inner_product import InnerProduct


class LeastSquaresProblem(eqx.Module):
    """min ‖A (x0 + M y) − b‖ over y.

    Attributes:
        A: the operator; the one of a damped problem is (A; damping I).
        b: the right-hand side, then (b; 0).
        M: the preconditioner, None for the identity.
        x0: the start, None for zero.
        inverse: what the solver made of B = A M.
        is_finite: whether all arrays but b are.
        has_full_rank: whether B y = 0 is known to have y = 0 alone, as with damping.
        is_damped: whether the fields of b are pairs; residuals that are reported are
            those of the first.
    """

    A: AbstractLinearOperator
    b: Field
    M: AbstractLinearOperator | None
    x0: Field | None
    inverse: AbstractLinearOperator | None
    is_finite: Bool[Array, ""]
    has_full_rank: bool = eqx.field(static=True)
    is_damped: bool = eqx.field(static=True)

    @property
    def B(self) -> AbstractLinearOperator:
        """What maps y to b."""
        return self.A if self.M is None else self.A @ self.M

    def x_of(self, y: Field) -> Field:
        """Return x0 + M y."""
        x = y if self.M is None else self.M.mv(y)
        return x if self.x0 is None else add(self.x0, x)

    def with_rhs(self, b: Field) -> "LeastSquaresProblem":
        """Return min ‖B y − b‖."""
        return LeastSquaresProblem(
            A=self.B,
            b=b,
            M=None,
            x0=None,
            inverse=self.inverse,
            is_finite=self.is_finite,
            has_full_rank=self.has_full_rank,
            is_damped=False,
        )

    def adjoint(self, y: Field) -> "LeastSquaresProblem":
        """Return min ‖Bᴴw − y‖."""
        return LeastSquaresProblem(
            A=self.B.H,
            b=y,
            M=None,
            x0=None,
            inverse=None if self.inverse is None else self.inverse.H,
            is_finite=self.is_finite,
            has_full_rank=False,
            is_damped=False,
        )


class LeastSquaresSystem(eqx.Module):
    """min ‖B y − r‖ as a solver gets it: checked, r finite.

    Attributes:
        operator: B, of any shape and rank.
        inverse: what the solver's `prepare` made of it.
        r: the right-hand side, what earlier corrections left of b.
        target: the residual norm at which to stop.
        normal_target: the norm of Bᴴ(r − B y) at which to stop, over that of B and that
            of the residual.
        scale: ‖b‖, the unit of the history, or 1 for b = 0.
    """

    operator: AbstractLinearOperator
    inverse: AbstractLinearOperator | None
    r: Field
    target: Float[Array, ""]
    normal_target: Float[Array, ""]
    scale: Float[Array, ""]


class Correction(eqx.Module):
    """What a solver returns: y, and the work done so far.

    Attributes:
        value: y.
        operator_norm: the largest length that B or Bᴴ was seen to give a unit vector, a
            lower bound of ‖B‖.
        status: `RUNNING`, or why the method cannot go on.
        num_steps: the steps, earlier corrections included.
        num_matvecs: the products with B and Bᴴ of this correction.
        history: residual norms, earlier corrections included.
    """

    value: Field
    operator_norm: Float[Array, ""]
    status: Int[Array, ""]
    num_steps: Int[Array, ""]
    num_matvecs: Int[Array, ""]
    history: History


class AbstractLeastSquares(eqx.Module):
    """A method for min ‖A x − b‖² + damping² ‖x‖², of any shape and rank of A.

    Attributes:
        rtol: tolerance on the residual in units of ‖b‖, and on that of the normal
            equations in units of the norms of A and of the residual; zero or at least
            10 eps of the dtype.
        atol: absolute tolerance on the residual; a larger one than rtol ‖b‖ takes its
            place.
        damping: the weight of ‖x‖, zero or positive.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.
    """

    rtol: eqx.AbstractVar[float]
    atol: eqx.AbstractVar[float]
    damping: eqx.AbstractVar[Any]
    max_steps: eqx.AbstractVar[int]
    inner_product: eqx.AbstractVar[InnerProduct]

    def prepare(self, B: AbstractLinearOperator) -> AbstractLinearOperator | None:
        """Return what is made of an operator once, such as factors of it.

        It is an operator, whose adjoint serves the adjoint of B.
        """
        del B

    @abstractmethod
    def correct(
        self, system: LeastSquaresSystem, num_steps: Int[Array, ""], history: History
    ) -> Correction:
        """Return y for a right-hand side, after so many steps and that history."""
