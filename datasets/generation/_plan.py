"""Chooses how a family is solved: by its structure, and by trying a few methods.

What is known without a trial: definite systems want CG, and multigrid where there is
one; a separable operator is diagonalised; what is indefinite or not symmetric wants
BiCGStab, with multigrid in a flow or fast diagonalisation of the mean where that is
possible, MINRES, or recycling. Which of them is fastest is measured, on the systems
themselves.
"""

import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..families._family import AbstractFamily, require_family, stacked_samples
from ..store._segments import ATTAINED
from ._shared_preconditioner import SharedPreconditioner
from ._shared_start import SharedStart
from ._sizes import check_memory
from ._solve_method import SolveMethod
from ._solve_segment import (
    CHUNK,
    Work,
    records_of,
    solve_chunk,
)
from ._tolerance import chosen_rtol

# A method that is listed later must be faster by this factor: ties shall not be decided
# by chance.
_CLEARLY = 1.2


@dataclass(frozen=True)
class Trial:
    """What a method did on the systems that it was tried on.

    Attributes:
        name: solver and preconditioner.
        work: the method.
        num_certified: how many of the systems it solved to the tolerance, or, in 32
            bits, to rounding level.
        milliseconds: per system, compiled.
        num_attained: how many of those that are certified only to rounding level.
    """

    name: str
    work: Work
    num_certified: int
    milliseconds: float
    num_attained: int = 0


@dataclass(frozen=True)
class Plan:
    """How to solve a family.

    Attributes:
        work: the method.
        reason: why, in a sentence.
        trials: what was tried, in the order of preference.
    """

    work: Work
    reason: str
    trials: tuple[Trial, ...]

    @property
    def solver(self) -> Any:
        """A krylax solver."""
        return self.work.solver

    @property
    def preconditioner(self) -> Any:
        """A factory, None, or one whose `operator(family)` is what `solve` takes."""
        return self.work.preconditioner

    @property
    def start(self) -> SharedStart | None:
        """A `SharedStart`, or None for zero."""
        return self.work.start

    @property
    def recycle(self) -> Literal["chain", "frozen"]:
        """As in `generate`."""
        return self.work.recycle

    @property
    def methods(self) -> dict[str, Any]:
        """The methods that need no other system, the chosen one or the fastest first.

        As `krylax.solvers.tuning.AutoSolver` takes them.
        """
        from ...solvers.tuning import Method

        alone = [
            trial
            for trial in self.trials
            if trial.work.start is None and not trial.work.solver.has_carry
        ]
        alone.sort(key=lambda t: (t.work is not self.work, t.milliseconds))
        return {
            trial.name: Method(trial.work.solver, trial.work.applied_preconditioner())
            for trial in alone
        }

    def __str__(self) -> str:
        """The reason, and a line per trial."""
        lines = [
            f"  {trial.name}: {trial.milliseconds:.3g} ms per system, "
            f"{trial.num_certified} of {CHUNK} certified"
            for trial in self.trials
        ]
        return "\n".join([self.reason, *lines])


def plan(
    family: AbstractFamily,
    *,
    rtol: float | None = None,
    max_steps: int = 10_000,
    preconditioner: Any = "default",
) -> Plan:
    """Return the fastest of a few methods on the family's first 16 systems.

    Args:
        family: the problem family.
        rtol: tolerance on the true relative residual; None for 1e-8, and in 32 bits
            1e-5.
        max_steps: steps after which a system counts as failed.
        preconditioner: a factory or None, for every method; "default" lets the plan
            choose.

    Raises:
        TypeError: no family, or no preconditioner.
        ValueError: no method applies, rtol is below 10 eps, the systems do not fit
            into the memory, or as `AbstractFamily.system`.

    Cost: 16 solves and a compilation, of some seconds, per method; there are two or
    three. What is compiled for the winner serves `generate`.

    Examples:
        >>> import jax
        >>> jax.config.update("jax_enable_x64", True)
        >>> from krylax.datasets import Poisson, plan
        >>> found = plan(Poisson(num_points=(8, 8)))
        >>> found.reason.split(":")[0]
        'All systems have one matrix, symmetric positive definite'
    """
    require_family(family)
    rtol = chosen_rtol(family, rtol)
    check_memory(family)
    # The last one too: what moves may not have left its cells by the second frame.
    A, *others = (family.system(family.sample(i))[0] for i in (0, 1, CHUNK - 1))
    is_constant = all(_is_same(A, other) for other in others)
    trials: list[Trial] = []
    refusals: list[str] = []
    groups = _methods(A, is_constant, rtol, max_steps)
    if not isinstance(preconditioner, str) and not _is_linear(preconditioner, A):
        groups = _flexible_methods(A, rtol, max_steps)
    for methods in groups:
        for name, method in methods:
            if not isinstance(preconditioner, str):
                method = replace(method, preconditioner=preconditioner)
            try:
                trials.append(_try(name, Work(family, method)))
            except ValueError as error:
                # The method or its preconditioner does not know this operator.
                refusals.append(f"{name}: {error}")
        if any(trial.num_certified == CHUNK for trial in trials):
            break
    if not trials:
        raise ValueError(
            f"no method of the plan applies to this {type(A).__name__}; give a solver, "
            f"or see what they said: {'; '.join(refusals)}"
        )
    best = _best(trials)
    return Plan(
        best.work,
        _reason(best, trials, _structure(A.tags, is_constant)),
        tuple(trials),
    )


def _is_linear(preconditioner: Any, A: Any) -> bool:
    """Whether a preconditioner is for all methods, and not for flexible ones alone."""
    # The module must import without JAX, for a quick --help.
    from ...operators import AbstractLinearOperator
    from ...solvers._requirements import made
    from ...solvers.core._arguments import require_maker

    if preconditioner is None or isinstance(preconditioner, SharedPreconditioner):
        return True
    require_maker(preconditioner)
    try:
        return isinstance(made(preconditioner, A), AbstractLinearOperator)
    except ValueError:
        # It does not know this operator, which every method reports.
        return True


def _flexible_methods(
    A: Any, rtol: float, max_steps: int
) -> list[list[tuple[str, SolveMethod]]]:
    """Those for preconditioners that are not linear, in groups as `_methods`."""
    from ... import solvers

    settings: dict[str, Any] = {"rtol": rtol, "max_steps": max_steps}
    gmres = ("FGMRES", SolveMethod(solvers.FGMRES(**settings)))
    if not A.tags & {"positive_definite", "positive_semidefinite"}:
        return [[gmres]]
    cg = solvers.FlexibleCG(truncation=2, **settings)
    return [[("FlexibleCG", SolveMethod(cg))], [gmres]]


def _methods(
    A: Any, is_constant: bool, rtol: float, max_steps: int
) -> list[list[tuple[str, SolveMethod]]]:
    """Groups of named methods; a group is for where those before it fail.

    In a group the order is that of preference between equals.
    """
    # The module must import without JAX, for a quick --help.
    from ... import solvers

    tags = A.tags
    jacobi, multigrid = solvers.Jacobi(), solvers.Multigrid().settled(A)
    mean = SharedPreconditioner(solvers.FastDiagonalization())
    settings: dict[str, Any] = {"rtol": rtol, "max_steps": max_steps}
    cg, bicgstab = solvers.CG(**settings), solvers.BiCGStab(**settings)
    recycling = solvers.GCRODR(restart=40, num_recycled=20, **settings)
    recycled = (
        "GCRODR with Jacobi",
        SolveMethod(recycling, jacobi, recycle="frozen"),
    )
    if "positive_semidefinite" in tags:
        cycles = ("CG with Multigrid", SolveMethod(cg, multigrid))
        if is_constant:
            inverse = solvers.FastDiagonalization(rtol=rtol)
            direct = ("FastDiagonalization", SolveMethod(inverse))
            projected = (
                "CG with Multigrid, from what is solved",
                SolveMethod(cg, multigrid, SharedStart()),
            )
            return [[direct, projected, cycles]]
        shared = ("CG with FastDiagonalization of the mean", SolveMethod(cg, mean))
        return [
            [cycles],
            [shared],
            [("CG with Jacobi", SolveMethod(cg, jacobi)), recycled],
        ]
    nearby = (
        "BiCGStab with FastDiagonalization of the mean",
        SolveMethod(bicgstab, mean),
    )
    if "hermitian" in tags:
        minres = ("MINRES", SolveMethod(solvers.MINRES(**settings)))
        plain = ("BiCGStab", SolveMethod(bicgstab, jacobi))
        return [[nearby, minres], [recycled], [plain]]
    others = [
        nearby,
        ("BiCGStab with Jacobi", SolveMethod(bicgstab, jacobi)),
        recycled,
    ]
    if "symmetric" in tags:
        return [others]
    flow = ("BiCGStab with Multigrid", SolveMethod(bicgstab, multigrid))
    return [[flow], others]


def _try(name: str, work: Work) -> Trial:
    """Solve a chunk twice, the second time with the clock running."""
    # Of a start from what is solved not the systems that it was made of.
    first = 0 if work.start is None else work.start.num_samples
    parameters = stacked_samples(work.family, range(first, first + CHUNK))
    carry = work.first_carry()
    _, carry = solve_chunk(work, parameters, carry)
    start = time.perf_counter()
    solved, _ = solve_chunk(work, parameters, carry)
    seconds = time.perf_counter() - start
    good = [entry for entry in records_of(solved) if work.criterion.is_met(entry)]
    attained = [entry for entry in good if entry["status"] == ATTAINED]
    return Trial(name, work, len(good), 1e3 * seconds / CHUNK, len(attained))


def _best(trials: list[Trial]) -> Trial:
    most = max(trial.num_certified for trial in trials)
    able = [trial for trial in trials if trial.num_certified == most]
    fastest = min(trial.milliseconds for trial in able)
    return next(t for t in able if t.milliseconds <= _CLEARLY * fastest)


def _structure(tags: frozenset[str], is_constant: bool) -> str:
    kinds = {
        "positive_definite": "symmetric positive definite",
        "positive_semidefinite": "symmetric positive semidefinite",
        "hermitian": "symmetric, not known to be definite",
        "symmetric": "complex symmetric",
    }
    kind = next((text for tag, text in kinds.items() if tag in tags), "not symmetric")
    if is_constant:
        return f"All systems have one matrix, {kind}"
    return f"The matrices differ and are {kind}"


def _reason(best: Trial, trials: list[Trial], structure: str) -> str:
    times = [f"{t.name} {t.milliseconds:.3g} ms" for t in trials if t is not best]
    beside = f", {', '.join(times)}" if times else ""
    outcome = "every system was certified"
    if best.num_certified < CHUNK:
        outcome = f"only {best.num_certified} of {CHUNK} systems were certified"
    if best.num_attained:
        outcome += f", {best.num_attained} at the rounding level of 32 bits"
    return (
        f"{structure}: {best.name} takes {best.milliseconds:.3g} ms per system"
        f"{beside}; {outcome}."
    )


def _is_same(A: Any, other: Any) -> bool:
    # See _methods.
    import jax

    pairs = zip(jax.tree.leaves(A), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
