"""The compiled driver: a stream of systems whose solver is tuned as they come.

For every system the tuner is asked for a value, the method that it makes solves the
system, and the tuner is told the cost. With a backstop a solve that takes much longer
than what is known to be possible is cut off and finished by a safe method, so that
trying a bad value costs a bounded amount (the idea of PCGBandit: M. Khodak et al.,
One-shot acceleration of transient PDE solvers via online-learned preconditioners, 2025,
arXiv:2509.08765).
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from ...operators._arithmetic import select
from .._solve import solve
from ..core._compilation import compile_modules
from ..core._solution import Solution, Statistics
from ..core._status import Status
from ..sequences._solve_batch import count_systems
from ..wrappers._capped import Capped
from ._method import Method
from ._tuner import AbstractTuner

Assemble: TypeAlias = Callable[..., tuple[Any, Any]]
Feedback: TypeAlias = Callable[[Statistics, Any, Any], Float[Array, " arms"]]


class Backstop(eqx.Module):
    """A safe method, and when it takes over.

    A solve is cut off once it has cost `factor` times the incumbent: the least of what
    the safe method and the arms have cost in the mean. No system costs more than
    `factor` times that and what the safe method takes for it, so that a sequence costs
    at most 1 + `factor` times what the safe method would, as far as its first cost is
    typical of it.

    Args:
        method: one that always converges; it goes on from where the other was cut off,
            if that is nearer than zero.
        factor: at least 1.
    """

    method: Method
    factor: float = 2.0

    def __check_init__(self):
        if not self.factor >= 1:
            raise ValueError(
                f"factor must be at least 1, got {self.factor}: what is cut off sooner "
                "than the incumbent can never replace it"
            )


class TuningState(eqx.Module):
    """What a sequence has learnt, and where it stands; a pytree of fixed shapes.

    Attributes:
        learnt: the state of the tuner.
        totals: what solves with each arm have cost together.
        counts: how many there were.
        safe_cost: what the backstop took for the first system, infinite without one.
        previous: the last solution.
    """

    learnt: PyTree
    totals: Float[Array, " arms"]
    counts: Float[Array, " arms"]
    safe_cost: Float[Array, ""]
    previous: PyTree


class Tuned(eqx.Module):
    """What `tune_sequence` returns, with the systems along the first axis.

    Attributes:
        arms: the arm that was played.
        values: its value.
        probabilities: of all arms, when it was drawn.
        costs: in the unit of `Method.work`, the backstop's part included.
        is_cut_off: whether the backstop finished the solve.
        num_steps: those of both methods.
        status: a `Status` code.
        relative_residual: the true one.
        solutions: None unless kept.
        state: what the next call can go on from.
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
    method: Callable[[Any], Method],
    tuner: AbstractTuner,
    *,
    key: Any = None,
    contexts: Float[Array, " systems"] | None = None,
    state: TuningState | None = None,
    learnt: Any = None,
    backstop: Backstop | None = None,
    feedback: Feedback | None = None,
    initial: Any = None,
    keep_solutions: bool = False,
) -> Tuned:
    """Solve a stream of systems, learning a parameter of the solver on the way.

    One compiled program for the whole stream, whatever values the tuner tries.

    Args:
        system: parameters -> (A, b), such as the method of a family; hashable, as the
            program is kept for it.
        parameters: arrays, stacked along a first axis.
        method: value -> `Method`, where the value is traced: a number such as ω.
        tuner: what chooses the values.
        key: of the tuner's draws; not needed to go on from a state.
        contexts: one number per system for a tuner that looks at one.
        state: that of an earlier call, to go on from, with the same result as one call
            for all systems.
        learnt: a tuner's state to begin with, for instance
            `tuner.discount(other.state.learnt, 0.1)` of another sequence.
        backstop: a safe method that finishes what takes too long. It first solves the
            first system, to know its cost.
        feedback: (statistics, value, arms) -> what every arm would have cost, such as
            `YoungFeedback`, by which the tuner learns of all arms at once.
        initial: the field before the first step of a time stepping: `system` is then
            called with (parameters, previous solution), and solves start from that.
        keep_solutions: whether to return them.

    Returns:
        What was played and what it cost. Failures are told by the statuses, not raised.
        Systems that took no steps at all are not told to the tuner, and failures as
        such, whatever they cost.

    Raises:
        ValueError: parameters of no or of different first axes, contexts that do not
            fit, no key and no state.

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
    num_systems = count_systems(parameters)
    if contexts is not None and jnp.shape(contexts) != (num_systems,):
        raise ValueError(
            f"contexts must hold one number for each of the {num_systems} systems, got "
            f"shape {jnp.shape(contexts)}"
        )
    if state is None and key is None and learnt is None:
        raise ValueError(
            "the tuner draws at random: give key=jax.random.key(0), or a state or what "
            "was learnt to go on from"
        )
    if state is not None and (learnt is not None or initial is not None):
        raise ValueError(
            "a state holds what was learnt and the last solution: leave out learnt and "
            "initial"
        )
    is_stepping = initial is not None or (
        state is not None and state.previous is not None
    )
    sequence = _Sequence(
        system, method, tuner, backstop, feedback, is_stepping, keep_solutions
    )
    if state is None:
        first = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), parameters)
        learnt = tuner.init(key) if learnt is None else learnt
        state = _begin(sequence, first, learnt, initial)
    return _run(sequence, parameters, contexts, state)


class _Sequence(eqx.Module):
    """What all systems have in common."""

    system: Assemble
    method: Callable[[Any], Method]
    tuner: AbstractTuner
    backstop: Backstop | None
    feedback: Feedback | None
    is_stepping: bool = eqx.field(static=True)
    keep_solutions: bool = eqx.field(static=True)

    def assemble(self, p: Any, previous: Any) -> tuple[Any, Any]:
        """Return (A, b)."""
        return self.system(p, previous) if self.is_stepping else self.system(p)

    def solve(self, A: Any, b: Any, method: Method, x0: Any, cap: Any) -> Solution:
        """Solve with a method, up to the cap if there is one."""
        solver = method.solver if cap is None else Capped(method.solver, cap)
        M = method.preconditioner
        return solve(A, b, solver, preconditioner=M, x0=x0, throw=False)


class _Attempt(eqx.Module):
    """A solve by one or two methods."""

    value: PyTree
    cost: Float[Array, ""]
    num_steps: Int[Array, ""]
    status: Int[Array, ""]
    relative_residual: Float[Array, ""]


@compile_modules
def _begin(
    sequence: _Sequence, first: PyTree, learnt: PyTree, initial: Any
) -> TuningState:
    arms = sequence.tuner.arms
    cost = jnp.full((), jnp.inf, arms.dtype)
    if sequence.backstop is not None:
        A, b = sequence.assemble(first, initial)
        method = sequence.backstop.method
        found = sequence.solve(A, b, method, initial, None)
        # A first system that happens to be trivial bounds nothing.
        cost = jnp.maximum(_attempt(found, method, arms.dtype).cost, method.work)
    zeros = jnp.zeros_like(arms)
    return TuningState(learnt, zeros, zeros, cost, initial)


@compile_modules
def _run(
    sequence: _Sequence, parameters: PyTree, contexts: Any, state: TuningState
) -> Tuned:
    def advance(state: TuningState, inputs: Any) -> tuple[TuningState, Any]:
        return _advance(sequence, state, *inputs)

    state, (choice, attempt, is_cut_off) = lax.scan(
        advance, state, (parameters, contexts)
    )
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
    sequence: _Sequence, state: TuningState, p: Any, context: Any
) -> tuple[TuningState, Any]:
    """Ask, solve, tell."""
    tuner = sequence.tuner
    choice, learnt = tuner.ask(state.learnt, context)
    A, b = sequence.assemble(p, state.previous)
    method = sequence.method(choice.value)
    cap = _cap(sequence.backstop, state, method)
    found = sequence.solve(A, b, method, state.previous, cap)
    attempt = _attempt(found, method, tuner.arms.dtype)
    is_cut_off = jnp.zeros((), bool)
    if sequence.backstop is not None:
        is_cut_off = found.status != Status.converged
        safe = sequence.backstop.method
        attempt = lax.cond(
            is_cut_off,
            lambda first: _followed(
                first, sequence.solve(A, b, safe, first.value, None), safe
            ),
            lambda first: first,
            attempt,
        )
    predicted = None
    if sequence.feedback is not None:
        predicted = sequence.feedback(found.stats, choice.value, tuner.arms)
    # A failure may be quick, and must not look cheap.
    is_solved = attempt.status == Status.converged
    cost = jnp.where(is_solved, attempt.cost, jnp.inf)
    told = tuner.tell(learnt, choice, cost, predicted=predicted)
    state = TuningState(
        learnt=select(attempt.num_steps > 0, told, learnt),
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
    """The steps after which a method has cost `factor` times the incumbent."""
    if backstop is None:
        return None
    means = jnp.where(state.counts > 0, state.totals / state.counts, jnp.inf)
    incumbent = jnp.minimum(state.safe_cost, jnp.min(means))
    steps = backstop.factor * incumbent / method.work
    # Small enough for an int32, and more than any max_steps.
    return jnp.clip(steps, 1, 1e9).astype(jnp.int32)


def _attempt(found: Solution, method: Method, dtype: Any) -> _Attempt:
    return _Attempt(
        value=found.value,
        cost=jnp.asarray(method.work, dtype) * found.stats.num_steps.astype(dtype),
        num_steps=found.stats.num_steps,
        status=found.status,
        relative_residual=found.stats.relative_residual,
    )


def _followed(first: _Attempt, found: Solution, method: Method) -> _Attempt:
    """What both methods did together."""
    second = _attempt(found, method, first.cost.dtype)
    return eqx.tree_at(
        lambda a: (a.cost, a.num_steps),
        second,
        (first.cost + second.cost, first.num_steps + second.num_steps),
    )
