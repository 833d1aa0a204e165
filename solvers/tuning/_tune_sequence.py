"""The compiled driver that tunes a solver on a stream of systems.

For each system the tuner suggests a value, the method with that value solves the
system, and the cost is reported to the tuner. With a backstop, a solve that costs much
more than the best known is cut off and finished by a safe method, so that a bad value
has a bounded cost (the idea of PCGBandit: M. Khodak et al., One-shot acceleration of
transient PDE solvers via online-learned preconditioners, 2025, arXiv:2509.08765).
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int, PRNGKeyArray, PyTree

from ...operators import AbstractLinearOperator
from ...operators._arguments import (
    is_unknown_number,
    number_of,
    require_function,
    shown,
)
from ...operators._arithmetic import select
from ...operators._control_flow import cond, scan
from ...operators._field import Field
from .._solve import solve
from ..core._compilation import compile_modules
from ..core._solution import Solution, Statistics
from ..core._status import Status
from ..sequences._solve_batch import count_systems
from ..wrappers._capped import Capped
from ._method import Method
from ._tuner import AbstractTuner, require_tuner

Assemble: TypeAlias = Callable[..., tuple[Any, Any]]
Feedback: TypeAlias = Callable[[Statistics, Any, Any], Float[Array, " arms"]]


class Backstop(eqx.Module):
    """A safe method that finishes the solves that cost too much.

    The incumbent cost is the smallest mean cost among the arms and the safe method. A
    solve is cut off when it has cost `factor` times the incumbent. A system thus costs
    at most that, plus what the safe method takes for it. If the safe method's first
    cost is typical, a sequence costs at most 1 + `factor` times what it costs with the
    safe method alone.

    Args:
        method: one that always converges. It starts from the value that was reached,
            if that has a smaller residual than zero.
        factor: at least 1.
    """

    method: Method
    factor: float = 2.0

    def __check_init__(self) -> None:
        if not isinstance(self.method, Method):
            raise TypeError(
                f"method must be a Method(solver), got {shown(self.method)}"
            )
        factor = self.factor
        if not (is_unknown_number(factor) or 1 <= number_of(factor) < math.inf):
            raise ValueError(
                f"factor must be at least 1, got {shown(factor)}: an arm that is cut "
                "off below the cost of the incumbent can never replace it"
            )


class TuningState(eqx.Module):
    """The state from which a sequence is continued, a pytree of fixed shapes.

    Attributes:
        learnt: the state of the tuner.
        totals: the sum of the costs of the solves with each arm.
        counts: the number of solves with each arm.
        safe_cost: the cost of the backstop's method for the first system, infinite
            without a backstop.
        previous: the last solution of a time stepping, else None.
    """

    learnt: PyTree
    totals: Float[Array, " arms"]
    counts: Float[Array, " arms"]
    safe_cost: Float[Array, ""]
    previous: PyTree


class Tuned(eqx.Module):
    """The result of `tune_sequence`, with the systems along the first axis.

    Attributes:
        arms: the arm that was played.
        values: its value.
        probabilities: the probabilities of all arms when it was drawn.
        costs: in the unit of `Method.work`, including the backstop's part.
        is_cut_off: whether the backstop finished the solve.
        num_steps: steps of both methods.
        status: a `Status` code.
        relative_residual: of the true residual.
        solutions: None unless kept.
        state: passed to the next call to continue the sequence.
    """

    arms: Int[Array, " systems"]
    values: Float[Array, " systems"]
    probabilities: Float[Array, "systems arms"]
    costs: Float[Array, " systems"]
    is_cut_off: Bool[Array, " systems"]
    num_steps: Int[Array, " systems"]
    status: Int[Array, " systems"]
    relative_residual: Float[Array, " systems"]
    solutions: PyTree
    state: TuningState


def tune_sequence(
    system: Assemble,
    parameters: PyTree,
    method: Callable[[Float[Array, ""]], Method],
    tuner: AbstractTuner,
    *,
    key: PRNGKeyArray | None = None,
    contexts: Float[Array, " systems"] | None = None,
    state: TuningState | None = None,
    learnt: PyTree | None = None,
    backstop: Backstop | None = None,
    feedback: Feedback | None = None,
    initial: PyTree | None = None,
    keep_solutions: bool = False,
) -> Tuned:
    """Solve a stream of systems and learn a parameter of the solver from their costs.

    The whole stream is one compiled program, whatever values the tuner tries.

    Args:
        system: parameters -> (A, b), such as the method of a family; hashable, since
            the compiled program is cached for it.
        parameters: arrays, stacked along a first axis.
        method: value -> `Method`, where the value is a traced number such as ω.
        tuner: chooses the values.
        key: of the tuner's draws; not needed with `state`.
        contexts: one number per system, for a tuner with a context.
        state: `state` of an earlier result, to continue it. The result is the same as
            that of one call for all systems.
        learnt: the initial state of the tuner, for instance
            `tuner.discount(other.state.learnt, 0.1)` of another sequence.
        backstop: a safe method that finishes solves that cost too much. It first solves
            the first system, to measure its own cost.
        feedback: (statistics, value, arms) -> the predicted cost of each arm, such as
            `YoungFeedback`, so that one solve informs the tuner about all arms.
        initial: the field before the first step of a time stepping: `system` is then
            called with (parameters, previous solution), and each solve starts from the
            previous solution.
        keep_solutions: whether to return them.

    Returns:
        The arms that were played and their costs. Failures are reported by the
        statuses, not raised. The tuner takes a failed solve as a failure whatever it
        cost, and does not see systems that took no steps.

    Raises:
        ValueError: parameters without a common first axis, contexts that do not fit,
            or neither a key nor a state.

    Cost: that of the solves, and of the tuner for each, which is independent of n.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> def system(shift):
        ...     return kx.operators.Helmholtz(jnp.ones(30), -shift), jnp.ones(30)
        >>> def method(omega):
        ...     solver = kx.solvers.SOR(rtol=1e-6, omega=omega)
        ...     return kx.solvers.tuning.Method(solver)
        >>> tuner = kx.solvers.tuning.TsallisINF(jnp.linspace(1.0, 1.9, 4))
        >>> found = kx.solvers.tuning.tune_sequence(
        ...     system, jnp.linspace(0.1, 0.2, 8), method, tuner, key=jax.random.key(0)
        ... )
        >>> found.status.tolist(), found.costs.shape
        ([0, 0, 0, 0, 0, 0, 0, 0], (8,))

    References:
        M. Khodak, E. Chow, M. F. Balcan, A. Talwalkar, Learning to Relax: Setting
        Solver Parameters Across a Sequence of Linear System Instances, ICLR 2024,
        arXiv:2310.02246.
    """
    require_function(system, "system", "from parameters to (A, b)")
    require_function(method, "method", "from a value to a Method")
    require_tuner(tuner)
    num_systems = count_systems(parameters)
    if contexts is not None and jnp.shape(contexts) != (num_systems,):
        raise ValueError(
            f"contexts must hold one number for each of the {num_systems} systems, got "
            f"shape {jnp.shape(contexts)}"
        )
    if state is None and key is None and learnt is None:
        raise ValueError(
            "the tuner draws at random: give key=jax.random.key(0), or a state or "
            "learnt to continue from"
        )
    if state is not None and (learnt is not None or initial is not None):
        raise ValueError(
            "a state holds the tuner's state and the last solution: leave out learnt "
            "and initial"
        )
    is_stepping = initial is not None or (
        state is not None and state.previous is not None
    )
    sequence = _Sequence(
        system, method, tuner, backstop, feedback, is_stepping, keep_solutions
    )
    if state is None:
        first = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), parameters)
        if learnt is None and key is not None:
            learnt = tuner.init(key)
        state = _begin(sequence, first, learnt, initial)
    return _run(sequence, parameters, contexts, state)


class _Sequence(eqx.Module):
    """The settings that all systems of a call share."""

    system: Assemble
    method: Callable[[Float[Array, ""]], Method]
    tuner: AbstractTuner
    backstop: Backstop | None
    feedback: Feedback | None
    is_stepping: bool = eqx.field(static=True)
    keep_solutions: bool = eqx.field(static=True)

    def assemble(
        self, p: PyTree, previous: Field | None
    ) -> tuple[AbstractLinearOperator, Field]:
        """Return (A, b)."""
        return self.system(p, previous) if self.is_stepping else self.system(p)

    def solve(
        self,
        A: AbstractLinearOperator,
        b: Field,
        method: Method,
        x0: Field | None,
        cap: Int[Array, ""] | None,
    ) -> Solution:
        """Solve with a method, in at most `cap` steps if that is given."""
        solver = method.solver if cap is None else Capped(method.solver, cap)
        M = method.preconditioner
        return solve(A, b, solver, preconditioner=M, x0=x0, throw=False)


class _Attempt(eqx.Module):
    """The result of a solve by one or two methods."""

    value: PyTree
    cost: Float[Array, ""]
    num_steps: Int[Array, ""]
    status: Int[Array, ""]
    relative_residual: Float[Array, ""]


@compile_modules
def _begin(
    sequence: _Sequence, first: PyTree, learnt: PyTree, initial: Field | None
) -> TuningState:
    arms = sequence.tuner.arms
    cost = jnp.full((), jnp.inf, arms.dtype)
    if sequence.backstop is not None:
        A, b = sequence.assemble(first, initial)
        method = sequence.backstop.method
        found = sequence.solve(A, b, method, initial, None)
        # If the first system happens to be trivial, its cost bounds nothing.
        cost = jnp.maximum(_attempt(found, method, arms.dtype).cost, method.work)
    zeros = jnp.zeros_like(arms)
    return TuningState(learnt, zeros, zeros, cost, initial)


@compile_modules
def _run(
    sequence: _Sequence,
    parameters: PyTree,
    contexts: Float[Array, " systems"] | None,
    state: TuningState,
) -> Tuned:
    def advance(state: TuningState, inputs: Any) -> tuple[TuningState, Any]:
        return _advance(sequence, state, *inputs)

    state, (choice, attempt, is_cut_off) = scan(advance, state, (parameters, contexts))
    return Tuned(
        arms=choice.arm,
        values=choice.value,
        probabilities=choice.probabilities,
        costs=attempt.cost,
        is_cut_off=is_cut_off,
        num_steps=attempt.num_steps,
        status=attempt.status,
        relative_residual=attempt.relative_residual,
        solutions=attempt.value,
        state=state,
    )


def _advance(
    sequence: _Sequence,
    state: TuningState,
    p: PyTree,
    context: Float[Array, ""] | None,
) -> tuple[TuningState, Any]:
    """Solve one system with the value that the tuner suggests, and report its cost."""
    tuner = sequence.tuner
    choice, learnt = tuner.ask(state.learnt, context)
    A, b = sequence.assemble(p, state.previous)
    method = sequence.method(choice.value)
    if not isinstance(method, Method):
        raise TypeError(
            "method must make a Method of a value, got one that makes a "
            f"{type(method).__name__}; wrap its solver: Method(solver)"
        )
    cap = _cap(sequence.backstop, state, method)
    found = sequence.solve(A, b, method, state.previous, cap)
    attempt = _attempt(found, method, tuner.arms.dtype)
    is_cut_off = jnp.zeros((), bool)
    if sequence.backstop is not None:
        is_cut_off = found.status != Status.converged
        safe = sequence.backstop.method
        attempt = cond(
            is_cut_off,
            lambda first: _combined(
                first, sequence.solve(A, b, safe, first.value, None), safe
            ),
            lambda first: first,
            attempt,
        )
    predicted = None
    if sequence.feedback is not None:
        predicted = sequence.feedback(found.stats, choice.value, tuner.arms)
    # A failure may be quick, but must not count as cheap.
    is_solved = attempt.status == Status.converged
    cost = jnp.where(is_solved, attempt.cost, jnp.inf)
    updated = tuner.tell(learnt, choice, cost, predicted=predicted)
    state = TuningState(
        learnt=select(attempt.num_steps > 0, updated, learnt),
        totals=state.totals.at[choice.arm].add(attempt.cost),
        counts=state.counts.at[choice.arm].add(1),
        safe_cost=state.safe_cost,
        previous=attempt.value if sequence.is_stepping else None,
    )
    kept = attempt.value if sequence.keep_solutions else None
    attempt = eqx.tree_at(lambda a: a.value, attempt, kept)
    return state, (choice, attempt, is_cut_off)


def _cap(
    backstop: Backstop | None, state: TuningState, method: Method
) -> Int[Array, ""] | None:
    """Return the steps after which a method has cost `factor` times the incumbent."""
    if backstop is None:
        return None
    means = jnp.where(state.counts > 0, state.totals / state.counts, jnp.inf)
    incumbent = jnp.minimum(state.safe_cost, jnp.min(means))
    steps = backstop.factor * incumbent / method.work
    # Fits into an int32, and exceeds any max_steps.
    return jnp.clip(steps, 1, 1e9).astype(jnp.int32)


def _attempt(found: Solution, method: Method, dtype: DTypeLike) -> _Attempt:
    return _Attempt(
        value=found.value,
        cost=jnp.asarray(method.work, dtype) * found.stats.num_steps.astype(dtype),
        num_steps=found.stats.num_steps,
        status=found.status,
        relative_residual=found.stats.relative_residual,
    )


def _combined(first: _Attempt, found: Solution, method: Method) -> _Attempt:
    """Return the result of the second method, with the costs of both."""
    second = _attempt(found, method, first.cost.dtype)
    return eqx.tree_at(
        lambda a: (a.cost, a.num_steps),
        second,
        (first.cost + second.cost, first.num_steps + second.num_steps),
    )
