"""Iterative refinement: solve in low precision, measure in high.

d ≈ A⁻¹ r in 32 bits, x ← x + d, r = b - A x in 64. A 32-bit solve costs half the memory
traffic; each refinement multiplies the residual by about the inner tolerance. C. B.
Moler, Iterative refinement in floating point, J. ACM 14 (1967),
doi:10.1145/321386.321394; E. Carson and N. J. Higham, SIAM J. Sci. Comput. 40 (2018),
doi:10.1137/17M1140819.

Differs from the papers:
1. Any solver serves inside, not only factors.
2. Residuals are scaled by powers of two, so that small ones do not underflow.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arithmetic import (
    add,
    divide,
    power_of_two,
    scale,
    select,
    subtract,
    zeros_like,
)
from ...operators._field import Field, structure_of
from ...operators._lowered import lower, lower_operator, restore
from ..core._inner_product import InnerProduct
from ..core._recurrence import AbstractRecurrence, RecurrenceState, Step
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status, first_of
from ..core._stopping import MARGIN, as_max_steps, require_settings


class _Vectors(eqx.Module):
    r: Field
    norm: Float[Array, ""]
    num_matvecs: Int[Array, ""]  # of the inner solves
    num_calls: Int[Array, ""]


class Refinement(AbstractRecurrence):
    """A solver that iterates in 32 bits, to a tolerance that takes 64.

    It converges where the inner solves reach their tolerance, that is where κ(A) is
    well below 10⁷, with preconditioner if they use one. Fields of 32 bits are solved in
    32 bits all through, to no smaller residual than without it: make them in float64.

    Args:
        solver: for the 32-bit systems, with the tolerance to which each is solved, such
            as `CG(rtol=1e-4)`.
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of refinements.
        inner_product: how 64-bit fields are reduced to numbers.

    Returns:
        Through `solve`: `num_steps` counts refinements, `num_matvecs` all products; the
        status is that of the inner solver where it makes no progress, `stagnated`,
        `max_steps_reached`, or one of the general ones.

    Raises:
        ValueError: tolerances or max_steps out of range.

    Cost: per step an inner solve, 1 matvec and 2 casts of the arrays of A and of the
    preconditioner; 3 vectors, and half of what the inner solver keeps.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((50,))
        >>> solver = kx.solvers.Refinement(kx.solvers.CG(rtol=1e-4), rtol=1e-12)
        >>> kx.solve(A, jnp.ones(50), solver).stats.num_steps < 6
        Array(True, dtype=bool)
    """

    solver: AbstractSolver
    rtol: float
    atol: float
    max_steps: int = eqx.field(static=True, converter=as_max_steps)
    inner_product: InnerProduct

    residual_is_true: ClassVar[bool] = True

    def __init__(
        self,
        solver: AbstractSolver,
        rtol: float = 1e-10,
        atol: float = 0.0,
        max_steps: int = 50,
        inner_product: InnerProduct | None = None,
    ):
        if not isinstance(solver, AbstractSolver):
            raise TypeError(
                "Refinement wraps a solver, such as Refinement(CG(rtol=1e-4)), got "
                f"{solver!r}"
            )
        self.solver = solver
        self.rtol = rtol
        self.atol = atol
        self.max_steps = max_steps
        self.inner_product = InnerProduct() if inner_product is None else inner_product
        require_settings(self)

    @property
    @override
    def is_flexible(self) -> bool:
        return self.solver.is_flexible

    @override
    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> AbstractOperator | None:
        """Prepare the inner solver, for the 32-bit operator."""
        return self.solver.prepare(lower_operator(A), preconditioner)

    @override
    def begin(self, system: LinearSystem, r: Field) -> _Vectors:
        """Nothing but the residual is kept."""
        del system
        zero = jnp.zeros((), jnp.int32)
        return _Vectors(r, self.inner_product.norm(r), zero, zero)

    @override
    def step(self, system: LinearSystem, x: Field, vectors: _Vectors) -> Step:
        """Correct x by a 32-bit solve for its residual."""
        unit = power_of_two(self.inner_product.max_abs(vectors.r))
        outcome = self._solve_lowered(system, lower(divide(vectors.r, unit)))
        correction = scale(unit, restore(outcome.value, x))
        corrected = add(x, correction)
        r = subtract(system.b, system.operator.mv(corrected))
        norm = self.inner_product.norm(r)
        is_better = norm < vectors.norm
        # The inner status says why, where it is not that all went well.
        why = jnp.where(
            (outcome.status == Status.converged) | (outcome.status == RUNNING),
            jnp.asarray(Status.stagnated.value, jnp.int32),
            outcome.status,
        )
        is_slow = (norm > vectors.norm / 2) & (norm > system.target)
        return Step(
            x=select(is_better, corrected, x),
            vectors=_Vectors(
                select(is_better, r, vectors.r),
                jnp.where(is_better, norm, vectors.norm),
                vectors.num_matvecs + outcome.num_matvecs,
                vectors.num_calls + outcome.num_preconditioner_calls,
            ),
            norm=jnp.where(is_better, norm, vectors.norm),
            status=first_of((~(norm <= vectors.norm) | is_slow, why)),
            is_taken=is_better,
        )

    @override
    def unroll(self, system: LinearSystem, carry: Any, num_steps: int) -> Outcome:
        """Refuse, since the solves inside are loops that end by themselves."""
        return AbstractSolver.unroll(self, system, carry, num_steps)

    @override
    def finish(self, system: LinearSystem, state: RecurrenceState) -> Outcome:
        """Count the work inside and out."""
        del system
        return Outcome(
            value=state.x,
            residual=state.norm,
            is_certified=jnp.ones((), bool),
            status=state.status,
            num_steps=state.num_steps,
            num_matvecs=state.num_steps + state.vectors.num_matvecs,
            num_preconditioner_calls=state.vectors.num_calls,
            history=state.history,
        )

    def _solve_lowered(self, system: LinearSystem, r: Field) -> Outcome:
        norm = self.solver.inner_product.norm(r)
        lowered = LinearSystem(
            operator=lower_operator(system.operator),
            preconditioner=lower_operator(system.preconditioner),
            b=r,
            x0=zeros_like(r),
            r0=r,
            target=MARGIN * self.solver.rtol * norm,
            scale=norm,
        )
        carry = self.solver.initial_carry(structure_of(r))
        return self.solver.run(lowered, lax.stop_gradient(carry))
