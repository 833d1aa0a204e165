"""A solver that finds out which method is fastest on this machine, as systems come.

Each structure of systems (an operator's type, shape and promises) has a tuner of its
own, whose arms are methods and whose cost is measured seconds. A method that takes much
longer than the best one known is cut off and the best one finishes the solve.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import zeros_like
from .._solve import solve
from ..core._compilation import compile_modules
from ..core._solution import Solution
from ..core._status import SolveError, Status
from ..wrappers._capped import Capped
from ._gaussian_thompson import GaussianThompson
from ._method import Method
from ._methods_for import applied, methods_for
from ._tuner import AbstractTuner

Methods = Mapping[str, Method]

FEW_STEPS = 8
"""Steps after which a method that is new is looked at: what a step takes is then known.
Methods that work in cycles take a cycle."""


class Record(NamedTuple):
    """How a system was solved.

    Attributes:
        method: the name of what was tried.
        is_cut_off: whether another one had to finish it.
        seconds: of the solve, all methods together; compilation does not count.
        first_seconds: what the first few steps took of methods that were new.
    """

    method: str
    is_cut_off: bool
    seconds: float
    first_seconds: float


@dataclass(frozen=True)
class Known:
    """What has been learnt of systems of one structure.

    Attributes:
        methods: by name, the first is the guess.
        tuner: whose arms are the methods.
        learnt: its state.
        per_step: seconds that a step takes, of the methods that have been tried.
        seconds: of all solves that began with a method.
        counts: how many there were.
    """

    methods: Methods
    tuner: AbstractTuner
    learnt: Any
    per_step: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def mean_seconds(self, name: str) -> float:
        """Return what a method has taken in the mean, infinite where not known."""
        count = self.counts.get(name, 0)
        return self.seconds[name] / count if count else np.inf

    @property
    def ranking(self) -> list[str]:
        """The methods, the one with the least mean first, unknown ones as given."""
        return sorted(self.methods, key=self.mean_seconds)

    def with_solve(self, record: Record) -> "Known":
        """Return what is known after a solve."""
        name = record.method
        seconds = self.seconds.get(name, 0.0) + record.seconds
        counts = self.counts.get(name, 0) + 1
        return replace(
            self,
            seconds={**self.seconds, name: seconds},
            counts={**self.counts, name: counts},
        )


@dataclass(frozen=True)
class AutoState:
    """What an `AutoSolver` has learnt.

    Attributes:
        key: of the draws.
        known: by structure.
    """

    key: Any
    known: Mapping[Any, Known] = field(default_factory=dict)

    def __str__(self) -> str:
        """A line per structure and method."""
        lines = []
        for known in self.known.values():
            for name in known.ranking:
                count = known.counts.get(name, 0)
                mean = f", {1e3 * known.mean_seconds(name):.3g} ms" if count else ""
                lines.append(f"{name}: {count} solves{mean}")
            lines.append("")
        return "\n".join(lines)


def thompson_over(count: int) -> AbstractTuner:
    """Return a tuner with so many arms that settles quickly."""
    return GaussianThompson(jnp.arange(count, dtype=float))


@dataclass(frozen=True)
class AutoSolver:
    """Chooses among methods by the clock, and never pays much for a bad one.

    Outside of `jax.jit` only, as it measures time. For streams of systems that come
    from a program: the first system of each structure is solved by the guess, the other
    methods are tried, and the fastest takes over.

    Args:
        methods: A -> methods by name, the guess first, or the methods themselves;
            `methods_for` if not given. `krylax.datasets.Plan.methods` are those of a
            family.
        rtol: tolerance of the methods where none are given.
        factor: at least 1; a method is cut off after this multiple of what the best one
            takes in the mean, and the best one finishes: a solve takes at most 1 +
            `factor` times that, and once per method the first few steps, of which
            one that works in cycles takes a cycle.
        tuner: number of methods -> a tuner with as many arms.

    Raises:
        ValueError: factor below 1.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> auto = kx.solvers.tuning.AutoSolver(rtol=1e-8)
        >>> A, state = kx.operators.Laplacian((16, 16)), auto.init(jax.random.key(0))
        >>> for _ in range(3):
        ...     solution, state, record = auto.solve(A, jnp.ones((16, 16)), state)
        >>> int(solution.status)
        0
    """

    methods: Callable[[AbstractLinearOperator], Methods] | Methods | None = None
    rtol: float = 1e-6
    factor: float = 2.0
    tuner: Callable[[int], AbstractTuner] = thompson_over

    def __post_init__(self) -> None:
        if not self.factor >= 1:
            raise ValueError(f"factor must be at least 1, got {self.factor}")

    def init(self, key: Any) -> AutoState:
        """Return the state of knowing nothing."""
        return AutoState(key)

    def solve(
        self,
        A: AbstractLinearOperator,
        b: Any,
        state: AutoState,
        *,
        throw: bool = True,
    ) -> tuple[Solution, AutoState, Record]:
        """Solve a system and learn from it.

        Args:
            A: the operator.
            b: the right-hand side.
            state: from `init` or the solve before.
            throw: raise where no method solves the system.

        Raises:
            SolveError: with throw, none did.
        """
        structure = structure_of_system(A)
        known = state.known.get(structure)
        key = state.key
        if known is None:
            key, ours = jax.random.split(key)
            known = self._first(A, ours)
        choice, learnt = _ask(known.tuner, known.learnt)
        # The guess first, so that there is something to compare with.
        arm = int(choice.arm) if known.counts else 0
        name = list(known.methods)[arm]
        solution, known, record = _attempt(A, b, known, name, self.factor)
        played = eqx.tree_at(lambda c: c.arm, choice, jnp.asarray(arm, jnp.int32))
        learnt = _tell(known.tuner, learnt, played, jnp.asarray(record.seconds))
        known = replace(known.with_solve(record), learnt=learnt)
        if throw and solution.status != Status.converged:
            raise SolveError(
                f"none of {', '.join(known.methods)} solved the system: "
                f"{Status(solution.status).sentence}",
                solution,
            )
        return solution, AutoState(key, {**state.known, structure: known}), record

    def _first(self, A: AbstractLinearOperator, key: Any) -> Known:
        methods = self.methods
        if methods is None:
            methods = methods_for(A, rtol=self.rtol)
        elif not isinstance(methods, Mapping):
            methods = methods(A)
        tuner = self.tuner(len(methods))
        return Known(methods, tuner, tuner.init(key))


@compile_modules
def _ask(tuner: AbstractTuner, learnt: Any) -> Any:
    return tuner.ask(learnt)


@compile_modules
def _tell(tuner: AbstractTuner, learnt: Any, choice: Any, cost: Any) -> Any:
    return tuner.tell(learnt, choice, cost)


def structure_of_system(A: AbstractLinearOperator) -> Any:
    """Return what systems have in common that share compiled programs."""
    leaves, tree = jax.tree.flatten(A)
    return tree, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)


def _attempt(
    A: AbstractLinearOperator, b: Any, known: Known, name: str, factor: float
) -> tuple[Solution, Known, Record]:
    """Solve with a method, within bounds if a better one is known; else with others."""
    best, limit = known.ranking[0], np.inf
    if best != name and known.counts:
        limit = factor * known.mean_seconds(best)
    solution, known, seconds, spent = _bounded(A, b, known, name, limit, None)
    is_cut_off = bool(solution.status != Status.converged)
    for other in known.ranking if is_cut_off else []:
        solution, known, took, more = _bounded(
            A, b, known, other, np.inf, solution.value
        )
        seconds, spent = seconds + took, spent + more
        if solution.status == Status.converged:
            break
    return solution, known, Record(name, is_cut_off, seconds, spent)


def _bounded(
    A: AbstractLinearOperator, b: Any, known: Known, name: str, limit: float, x0: Any
) -> tuple[Solution, Known, float, float]:
    """Solve within so many seconds; return what that took, and what first steps did."""
    method, spent = known.methods[name], 0.0
    if name not in known.per_step:
        # Once to compile, which does not count.
        _timed(A, b, method, 1, x0)
        solution, spent = _timed(A, b, method, FEW_STEPS, x0)
        per_step = spent / max(int(solution.stats.num_steps), 1)
        known = replace(known, per_step={**known.per_step, name: per_step})
        if spent > limit or solution.status == Status.converged:
            return solution, known, spent, 0.0
    steps = limit / known.per_step[name]
    cap = int(np.clip(steps, 1, method.solver.max_steps))
    solution, seconds = _timed(A, b, method, cap, x0)
    return solution, known, seconds, spent


def _timed(
    A: AbstractLinearOperator, b: Any, method: Method, cap: int, x0: Any
) -> tuple[Solution, float]:
    """Solve up to a number of steps, and return the seconds that took."""
    # A start is always given, so that one program serves all calls.
    start = zeros_like(b) if x0 is None else x0
    solver = Capped(method.solver, min(cap, 10**9))
    begun = time.perf_counter()
    M = applied(method, A)
    found = solve(A, b, solver, preconditioner=M, x0=start, throw=False)
    jax.block_until_ready(found.value)
    return found, time.perf_counter() - begun
