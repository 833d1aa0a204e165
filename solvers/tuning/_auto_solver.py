"""A solver that finds the fastest method on this machine while it solves systems.

Each structure of systems (an operator's type, shapes and tags) has its own tuner, whose
arms are methods and whose costs are measured seconds. A method that takes much longer
than the best one known is cut off, and the best one finishes the solve.
"""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ...operators import AbstractLinearOperator
from ...operators._arguments import require_key, require_number
from ...operators._arithmetic import zeros_like
from ...operators._field import Field
from .._solve import solve
from ..core._compilation import compile_modules
from ..core._solution import Solution
from ..core._status import SolveError, Status
from ..wrappers._capped import Capped
from ._gaussian_thompson import GaussianThompson
from ._method import Method
from ._methods_for import methods_for, preconditioner_for
from ._tuner import AbstractTuner, Choice

Methods = Mapping[str, Method]

FEW_STEPS = 8
"""Steps of the trial run of a new method, from which the time per step is estimated.
Methods with cycles run one cycle."""


class Record(NamedTuple):
    """How a system was solved.

    Attributes:
        method: the name of the method that was tried first.
        is_cut_off: whether another method had to finish the solve.
        seconds: time of the solve with all methods, without compilation.
        first_seconds: time of the trial runs of new methods.
    """

    method: str
    is_cut_off: bool
    seconds: float
    first_seconds: float


@dataclass(frozen=True)
class Known:
    """What has been learnt about systems of one structure.

    Attributes:
        methods: by name; the first one is the guess.
        tuner: its arms are the methods.
        learnt: the state of the tuner.
        per_step: seconds per step of the methods that have been tried.
        seconds: per method, the total time of the solves that began with it.
        counts: per method, the number of those solves.
    """

    methods: Methods
    tuner: AbstractTuner
    learnt: PyTree
    per_step: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def mean_seconds(self, name: str) -> float:
        """Return the mean time of a method, infinite if it was never tried."""
        count = self.counts.get(name, 0)
        return self.seconds[name] / count if count else np.inf

    @property
    def ranking(self) -> list[str]:
        """The methods by ascending mean time; those never tried come last."""
        return sorted(self.methods, key=self.mean_seconds)

    def with_solve(self, record: Record) -> "Known":
        """Return the knowledge updated with a solve."""
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
        known: what is known about each structure of systems.
    """

    key: PRNGKeyArray
    known: Mapping[Hashable, Known] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line per structure and method."""
        lines = []
        for known in self.known.values():
            for name in known.ranking:
                count = known.counts.get(name, 0)
                mean = f", {1e3 * known.mean_seconds(name):.3g} ms" if count else ""
                lines.append(f"{name}: {count} solves{mean}")
            lines.append("")
        return "\n".join(lines)


def thompson_over(count: int) -> AbstractTuner:
    """Return a tuner with this number of arms that converges quickly."""
    return GaussianThompson(jnp.arange(count, dtype=float))


@dataclass(frozen=True)
class AutoSolver:
    """Chooses among methods by measured time, at a bounded cost for slow ones.

    It measures time, so it works outside of `jax.jit` only. It is for programs that
    produce systems one by one. The guess solves the first system of each structure,
    the other methods are tried on the next ones, and the fastest takes over.

    Args:
        methods: A -> methods by name, the guess first, or the methods themselves;
            `methods_for` by default. `krylax.datasets.Plan.methods` holds those of a
            family.
        rtol: tolerance of the default methods, as in `methods_for`.
        factor: at least 1. A method is cut off after `factor` times the mean time of
            the best one, which then finishes the solve. A solve thus takes at most 1 +
            `factor` times that mean, and once per method a trial run of a few steps,
            or of one cycle.
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
    rtol: float | None = None
    factor: float = 2.0
    tuner: Callable[[int], AbstractTuner] = thompson_over

    def __post_init__(self) -> None:
        wanted = "at least 1"
        require_number(self.factor, "factor", 1, math.inf, wanted, closed=True)

    def init(self, key: PRNGKeyArray) -> AutoState:
        """Return the state before the first system."""
        require_key(key)
        return AutoState(key)

    def solve(
        self,
        A: AbstractLinearOperator,
        b: PyTree,
        state: AutoState,
        *,
        throw: bool = True,
    ) -> tuple[Solution, AutoState, Record]:
        """Solve a system and learn from it.

        Args:
            A: the operator.
            b: the right-hand side.
            state: from `init` or the solve before.
            throw: whether to raise if no method solves the system.

        Raises:
            SolveError: with `throw`, if no method solves the system.
        """
        structure = structure_of_system(A)
        known = state.known.get(structure)
        key = state.key
        if known is None:
            key, ours = jax.random.split(key)
            known = self._first(A, ours)
        choice, learnt = _ask(known.tuner, known.learnt)
        # The guess comes first, to have a time to compare with.
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

    def _first(self, A: AbstractLinearOperator, key: PRNGKeyArray) -> Known:
        methods = self.methods
        if methods is None:
            methods = methods_for(A, rtol=self.rtol)
        elif not isinstance(methods, Mapping):
            methods = methods(A)
        tuner = self.tuner(len(methods))
        return Known(methods, tuner, tuner.init(key))


@compile_modules
def _ask(tuner: AbstractTuner, learnt: PyTree) -> tuple[Choice, PyTree]:
    return tuner.ask(learnt)


@compile_modules
def _tell(
    tuner: AbstractTuner, learnt: PyTree, choice: Choice, cost: Float[Array, ""]
) -> PyTree:
    return tuner.tell(learnt, choice, cost)


def structure_of_system(A: AbstractLinearOperator) -> Hashable:
    """Return what systems that share compiled programs have in common, hashable."""
    leaves, tree = jax.tree.flatten(A)
    return tree, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)


def _attempt(
    A: AbstractLinearOperator, b: Field, known: Known, name: str, factor: float
) -> tuple[Solution, Known, Record]:
    """Solve with a method, cut off if a better one is known; then with the others."""
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
    A: AbstractLinearOperator,
    b: Field,
    known: Known,
    name: str,
    limit: float,
    x0: Field | None,
) -> tuple[Solution, Known, float, float]:
    """Solve within `limit` seconds; return the time, and that of the trial run."""
    method, spent = known.methods[name], 0.0
    if name not in known.per_step:
        # The first call compiles, which does not count.
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
    A: AbstractLinearOperator, b: Field, method: Method, cap: int, x0: Field | None
) -> tuple[Solution, float]:
    """Solve with at most `cap` steps, and return the time in seconds."""
    # A start is always given, so that one program serves all calls.
    start = zeros_like(b) if x0 is None else x0
    solver = Capped(method.solver, min(cap, 10**9))
    begun = time.perf_counter()
    M = preconditioner_for(method, A)
    found = solve(A, b, solver, preconditioner=M, x0=start, throw=False)
    jax.block_until_ready(found.value)
    return found, time.perf_counter() - begun
