"""What methods of short recurrences share: the loop around the step.

The residual norm of a recurrence drifts from the true one. When it meets the target,
the true residual is computed; if that does not, the iteration begins again from it
(residual replacement), and stops as stagnated when that does not halve it.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree
from typing_extensions import override

from ...operators._control_flow import cond, scan, while_loop
from ...operators._field import Field
from ._history import History, history_from
from ._residual import true_residual
from ._solver import AbstractSolver, LinearSystem, Outcome
from ._status import RUNNING, Status, first_of


class Step(eqx.Module):
    """What a step of a method returns.

    Attributes:
        x: the next iterate.
        vectors: what the method needs for the next step.
        norm: the residual norm of the recurrence.
        status: `RUNNING`, or why the method cannot go on.
        is_taken: whether x moved; steps that cannot be taken are not counted.
    """

    x: Field
    vectors: PyTree
    norm: Float[Array, ""]
    status: Int[Array, ""]
    is_taken: Bool[Array, ""]


class RecurrenceState(eqx.Module):
    """Between steps."""

    x: Field
    vectors: PyTree
    norm: Float[Array, ""]
    true_norm: Float[Array, ""]  # of b - A x, when it was last computed
    num_steps: Int[Array, ""]
    num_begun: Int[Array, ""]
    num_confirmed: Int[Array, ""]
    status: Int[Array, ""]
    history: History


class AbstractRecurrence(AbstractSolver):
    """A method that goes from step to step with a few vectors.

    A final class gives `begin` and `step`, which are the method.
    """

    matvecs_per_step: ClassVar[int] = 1
    residual_is_true: ClassVar[bool] = False  # so that there is nothing to confirm

    @abstractmethod
    def begin(self, system: LinearSystem, r: Field) -> PyTree:
        """Return the vectors before the first step from residual r.

        Called again wherever the iteration begins anew; `matvecs_per_begin` and
        `calls_per_begin` say at what cost.
        """

    @property
    def matvecs_per_begin(self) -> int:
        """How many products `begin` takes."""
        return 0

    @property
    def calls_per_begin(self) -> int:
        """How often `begin` calls the preconditioner."""
        return 0

    @abstractmethod
    def step(self, system: LinearSystem, x: Field, vectors: PyTree) -> Step:
        """Return what one step makes of the iterate and the vectors."""

    @override
    def start(self, system: LinearSystem, carry: Any) -> RecurrenceState:
        """Begin from the start of the system."""
        del carry
        # The norm only steers, and has no derivative where the start is exact.
        norm = self.inner_product.norm(lax.stop_gradient(system.r0))
        zero = jnp.zeros((), jnp.int32)
        # The residual of a start is the true one.
        has_met = (norm <= system.target) & self.residual_is_true
        return RecurrenceState(
            x=system.x0,
            vectors=self.begin(system, system.r0),
            norm=norm,
            true_norm=jnp.full_like(norm, jnp.inf),
            num_steps=zero,
            num_begun=zero + 1,
            num_confirmed=zero,
            status=first_of((has_met, Status.converged)),
            history=history_from(norm / system.scale, self.max_steps),
        )

    @override
    def advance(
        self, system: LinearSystem, state: RecurrenceState, until: Any
    ) -> RecurrenceState:
        """Step, and confirm what meets the target."""

        def is_stepping(s: RecurrenceState) -> Bool[Array, ""]:
            return (
                (s.status == RUNNING) & (s.norm > system.target) & (s.num_steps < until)
            )

        def is_met(s: RecurrenceState) -> Bool[Array, ""]:
            return (s.status == RUNNING) & (s.norm <= system.target)

        def step_on(s: RecurrenceState) -> RecurrenceState:
            return while_loop(is_stepping, lambda s: self._advance_once(system, s), s)

        if self.residual_is_true:
            return step_on(state)

        def run_recurrence(s: RecurrenceState) -> RecurrenceState:
            s = step_on(s)
            return cond(is_met(s), lambda s: self._confirm(system, s), lambda s: s, s)

        return while_loop(lambda s: is_stepping(s) | is_met(s), run_recurrence, state)

    @override
    def unroll(self, system: LinearSystem, carry: Any, num_steps: int) -> Outcome:
        """Take the steps in a loop of fixed length, which JAX can differentiate."""

        def body(state: RecurrenceState, _: None) -> tuple[RecurrenceState, None]:
            return self._advance_once(system, state), None

        state, _ = scan(body, self.start(system, carry), length=num_steps)
        return self.finish(system, state)

    @override
    def finish(self, system: LinearSystem, state: RecurrenceState) -> Outcome:
        work = state.num_steps * self.matvecs_per_step
        products = work + state.num_begun * self.matvecs_per_begin
        calls = work + state.num_begun * self.calls_per_begin
        return Outcome(
            value=state.x,
            residual=state.norm,
            # It ends as converged by a residual that was computed.
            is_certified=(state.status == Status.converged) | self.residual_is_true,
            status=state.status,
            num_steps=state.num_steps,
            num_matvecs=products + state.num_confirmed,
            num_preconditioner_calls=calls * int(system.preconditioner is not None),
            history=state.history,
        )

    def _advance_once(
        self, system: LinearSystem, state: RecurrenceState
    ) -> RecurrenceState:
        step = self.step(system, state.x, state.vectors)
        num_steps = state.num_steps + step.is_taken.astype(jnp.int32)
        has_met = step.norm <= system.target
        # The record is no part of what is differentiated.
        seen = lax.stop_gradient(step.norm / system.scale)
        return RecurrenceState(
            x=step.x,
            vectors=step.vectors,
            norm=step.norm,
            true_norm=state.true_norm,
            num_steps=num_steps,
            num_begun=state.num_begun,
            num_confirmed=state.num_confirmed,
            status=first_of(
                (~jnp.isfinite(step.norm), Status.nonfinite),
                (step.status != RUNNING, step.status),
                (has_met & self.residual_is_true, Status.converged),
                ((num_steps >= self.max_steps) & ~has_met, Status.max_steps_reached),
            ),
            history=state.history.record(num_steps, seen),
        )

    def _confirm(self, system: LinearSystem, state: RecurrenceState) -> RecurrenceState:
        """Compare with the true residual; go on from it where it is too large."""
        r = true_residual(system, state.x)
        norm = self.inner_product.norm(r)
        status = first_of(
            (norm <= system.target, Status.converged),
            (~jnp.isfinite(norm), Status.nonfinite),
            (norm > state.true_norm / 2, Status.stagnated),
            (state.num_steps >= self.max_steps, Status.max_steps_reached),
        )
        goes_on = status == RUNNING
        return RecurrenceState(
            x=state.x,
            vectors=cond(goes_on, lambda: self.begin(system, r), lambda: state.vectors),
            norm=norm,
            true_norm=norm,
            num_steps=state.num_steps,
            num_begun=state.num_begun + goes_on.astype(jnp.int32),
            num_confirmed=state.num_confirmed + 1,
            status=status,
            history=state.history,
        )
