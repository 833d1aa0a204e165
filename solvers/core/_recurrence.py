"""What methods of short recurrences share: the loop around the step.

The residual norm of a recurrence drifts from the true one. When it meets the target,
the true residual is computed; if that does not, the iteration begins again from it
(residual replacement), and stops as stagnated when that does not halve it. Long runs
are also compared after 512, 1024, 2048, ... steps, and begin again where the two
residuals differ by much of b: a singular A makes x grow until A x is all rounding, of
which the recurrence of MINRES shows nothing.

A method that fails returns what has the smallest residual: its last iterate, zero, or a
copy that begins as the start and is renewed every 32 steps while the recurrence falls.
"""

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree
from typing_extensions import override

from ...operators._arithmetic import select
from ...operators._control_flow import cond, scan, while_loop
from ...operators._field import Field
from ._history import History, history_from
from ._residual import USEFUL, true_residual
from ._solver import AbstractSolver, LinearSystem, Outcome
from ._status import RUNNING, Status, first_of

STRETCH = 32
"""Steps between looks at the best iterate: a copy in each step would cost a pass."""

FIRST_CHECK = 512
"""Steps before the true residual is computed though the recurrence does not ask for it:
a product in 512 steps is 0.2 % of the work."""


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
    status: Int[Array, ""] | int
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
    due: Int[Array, ""]  # the step after which the true residual is looked at
    best: Field | None  # None where x is the best one
    best_norm: Float[Array, ""]  # by the recurrence
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

    def matvecs_in_step(self, system: LinearSystem) -> int:
        """How many products a step takes, those of the preconditioner included."""
        del system
        return self.matvecs_per_step

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
            due=zero + FIRST_CHECK,
            best=None if self.residual_is_true else system.x0,
            best_norm=norm,
            status=first_of((has_met, Status.converged)),
            history=history_from(norm / system.scale, self.max_steps),
        )

    @override
    def advance(
        self, system: LinearSystem, state: RecurrenceState, until: Any
    ) -> RecurrenceState:
        """Step, and compare with the true residual where that is asked for."""

        def is_stepping(s: RecurrenceState) -> Bool[Array, ""]:
            return (
                (s.status == RUNNING) & (s.norm > system.target) & (s.num_steps < until)
            )

        def is_open(s: RecurrenceState) -> Bool[Array, ""]:
            return is_unconfirmed(system, s) & (not self.residual_is_true)

        def run_stretch(s: RecurrenceState) -> RecurrenceState:
            s, _ = while_loop(
                lambda state: is_stepping(state[0]) & (state[1] < STRETCH),
                lambda state: (self._advance_once(system, state[0]), state[1] + 1),
                (s, jnp.zeros((), jnp.int32)),
            )
            s = with_best(s)
            # A loop and not a branch: a batch then pays where one of its systems asks.
            return while_loop(is_open, lambda s: self._confirm(system, s), s)

        return while_loop(lambda s: is_stepping(s) | is_open(s), run_stretch, state)

    @override
    def unroll(self, system: LinearSystem, carry: Any, num_steps: int) -> Outcome:
        """Take the steps in a loop of fixed length, which JAX can differentiate."""

        def body(state: RecurrenceState, _: None) -> tuple[RecurrenceState, None]:
            return self._advance_once(system, state), None

        state, _ = scan(body, self.start(system, carry), length=num_steps)
        return self._outcome(system, state)

    @override
    def finish(self, system: LinearSystem, state: RecurrenceState) -> Outcome:
        return self._outcome(system, self._least_residual(system, state))

    def _outcome(self, system: LinearSystem, state: RecurrenceState) -> Outcome:
        products = state.num_steps * self.matvecs_in_step(system)
        products = products + state.num_begun * self.matvecs_per_begin
        work = state.num_steps * self.matvecs_per_step
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

    def _least_residual(
        self, system: LinearSystem, state: RecurrenceState
    ) -> RecurrenceState:
        """The state with the best iterate known, where the method has failed."""
        if self.residual_is_true:
            return state
        has_failed = (
            (state.status != RUNNING)
            & (state.status != Status.converged)
            & (state.status != Status.max_steps_reached)
        )

        def compare(found: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            count, x, norm = found
            other = select(count == 0, state.x, state.best)
            other_norm = self.inner_product.norm(true_residual(system, other))
            is_less = other_norm < norm
            return (
                count + 1,
                select(is_less, other, x),
                lax.select(is_less, other_norm, norm),
            )

        num_compared, x, norm = while_loop(
            lambda found: has_failed & (found[0] < 2),
            compare,
            (jnp.zeros((), jnp.int32), state.x, jnp.full_like(state.norm, jnp.inf)),
        )
        norm_of_zero = self.inner_product.norm(system.b)
        is_zero_better = has_failed & ~(norm < norm_of_zero)
        norm = lax.select(is_zero_better, norm_of_zero, norm)
        return replace(
            state,
            x=jax.tree.map(lambda leaf: jnp.where(is_zero_better, 0, leaf), x),
            norm=lax.select(has_failed, norm, state.norm),
            num_confirmed=state.num_confirmed + num_compared,
        )

    def _advance_once(
        self, system: LinearSystem, state: RecurrenceState
    ) -> RecurrenceState:
        step = self.step(system, state.x, state.vectors)
        num_steps = state.num_steps + step.is_taken.astype(jnp.int32)
        has_met = step.norm <= system.target
        # The record is no part of what is differentiated.
        seen = lax.stop_gradient(step.norm / system.scale)
        # What is left of b then is below the rounding of the residual.
        has_grown = step.norm * jnp.finfo(step.norm.dtype).eps > system.scale
        return replace(
            state,
            x=step.x,
            vectors=step.vectors,
            norm=step.norm,
            num_steps=num_steps,
            status=first_of(
                (~jnp.isfinite(step.norm), Status.nonfinite),
                (step.status != RUNNING, step.status),
                (has_met & self.residual_is_true, Status.converged),
                (has_grown, Status.diverged),
                ((num_steps >= self.max_steps) & ~has_met, Status.max_steps_reached),
            ),
            history=state.history.record(num_steps, seen),
        )

    def _confirm(self, system: LinearSystem, state: RecurrenceState) -> RecurrenceState:
        """Compare with the true residual; go on from it where it is too large."""
        r = true_residual(system, state.x)
        norm = self.inner_product.norm(r)
        confirmed, is_replaced = confirm(system, state, norm, self.max_steps)
        vectors = cond(
            is_replaced, lambda: self.begin(system, r), lambda: state.vectors
        )
        return replace(confirmed, vectors=vectors)


def confirm(
    system: LinearSystem, state: RecurrenceState, norm: Float[Array, ""], max_steps: int
) -> tuple[RecurrenceState, Bool[Array, ""]]:
    """Compare with the true residual norm; return whether to begin again from it."""
    has_met = state.norm <= system.target
    is_lost = norm - state.norm > USEFUL * system.scale
    is_slow = (has_met | is_lost) & (norm > state.true_norm / 2)
    status = first_of(
        (norm <= system.target, Status.converged),
        (~jnp.isfinite(norm), Status.nonfinite),
        # The zero field would be closer.
        (is_slow & (norm > system.scale), Status.diverged),
        (is_slow, Status.stagnated),
        (state.num_steps >= max_steps, Status.max_steps_reached),
    )
    is_replaced = (status == RUNNING) & (has_met | is_lost)
    is_compared = is_replaced | (status != RUNNING)
    confirmed = replace(
        state,
        norm=lax.select(is_compared, norm, state.norm),
        true_norm=lax.select(is_replaced, norm, state.true_norm),
        num_begun=state.num_begun + is_replaced.astype(jnp.int32),
        num_confirmed=state.num_confirmed + 1,
        due=jnp.where(state.num_steps >= state.due, 2 * state.due, state.due),
        status=status,
    )
    return confirmed, is_replaced


def is_unconfirmed(system: LinearSystem, state: RecurrenceState) -> Bool[Array, ""]:
    """Whether the true residual is to be looked at before the next step."""
    is_asked_for = (state.norm <= system.target) | (state.num_steps >= state.due)
    return (state.status == RUNNING) & is_asked_for


def with_best(state: RecurrenceState) -> RecurrenceState:
    """The state with its iterate as the best one, where the recurrence says so."""
    if state.best is None:
        return state
    is_better = state.norm < state.best_norm
    return replace(
        state,
        best=select(is_better, state.x, state.best),
        best_norm=jnp.minimum(state.norm, state.best_norm),
    )
