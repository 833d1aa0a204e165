"""The command `generate`: its options, a subcommand per family, and what it does."""

import sys
import warnings
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from tyro import conf

from . import datasets
from .datasets.generation._place import require_place
from .datasets.generation._tolerance import chosen_rtol

_SOME_FAILED = 3


@dataclass(frozen=True)
class RunOptions:
    """How the data set is generated.

    Attributes:
        num_samples: how many samples.
        out: the folder to write.
        config: TOML file with the same keys as these options, which win over it.
        rtol: largest true relative residual of a sample that converged; unless said
            1e-8, and in float32 1e-5, where residuals at rounding level count as well.
        method: plan (the fastest of a few that are tried first; a run that is continued
            keeps its own) or recycle (GCRO-DR).
        restart: vectors per GCRO-DR cycle, 40 unless said; implies recycle.
        num_recycled: vectors that GCRO-DR carries from system to system, 20 unless
            said, 0 for plain GMRES; implies recycle.
        max_steps: steps after which GCRO-DR counts a system as failed, 10000 unless
            said; implies recycle.
        preconditioner: plan (Jacobi for GCRO-DR), jacobi, multigrid or none.
        recycle: chain (from system to system of a segment) or frozen (all from the
            space of the mean); plan is that of the plan, and chain for GCRO-DR.
        ordering: greedy (nearest neighbour), two_opt (greedy, then improved), hilbert
            (curve), kd (tree), or none (by id).
        segment_size: systems that recycle from one another.
        num_workers: processes that solve side by side.
        resume: continue an interrupted run.
        allow_failures: publish and exit with 0 whatever failed; otherwise the exit code
            is 3 if some samples failed, and 1, with nothing published, if all did.
        dry_run: only print size, disk and time, from a few solves.
    """

    num_samples: int
    out: Path
    config: Path | None = None
    rtol: float | None = None
    method: Literal["plan", "recycle"] = "plan"
    restart: int | None = None
    num_recycled: int | None = None
    max_steps: int | None = None
    preconditioner: Literal["plan", "jacobi", "multigrid", "none"] = "plan"
    recycle: Literal["plan", "chain", "frozen"] = "plan"
    ordering: Literal["greedy", "two_opt", "hilbert", "kd", "none"] = "greedy"
    segment_size: int = 128
    num_workers: int = 1
    resume: bool = True
    allow_failures: bool = False
    dry_run: bool = False


# A new family becomes a subcommand here.
_FAMILIES = {
    cls.name: cls
    for cls in (
        datasets.Darcy,
        datasets.Poisson,
        datasets.Thermal,
        datasets.HelmholtzScattering,
        datasets.ConvectionDiffusion,
        datasets.Heat,
        datasets.Porous,
        datasets.PressureProjection,
        datasets.SKRReleased,
    )
}


def _subcommand(family: Any) -> Any:
    """Return the job of generating from a family: its options, unchecked, and ours.

    The family checks them when it is made from them, and its errors reach the user in
    its own words.
    """
    # What all families share comes last.
    ordered = sorted(fields(family), key=lambda f: bool(f.kw_only))
    entries = [(f.name, f.type, field(default=f.default)) for f in ordered]
    options = make_dataclass(f"{family.__name__}Options", entries, frozen=True)
    options.__doc__ = family.__doc__
    job = make_dataclass(
        f"Generate{family.__name__}", [("family", options), ("run", RunOptions)]
    )
    job.__doc__ = family.__doc__.splitlines()[0]
    return Annotated[job, conf.subcommand(family.name)]


# Written as Union because | cannot go over a table.
_Job = Union[tuple(map(_subcommand, _FAMILIES.values()))]  # noqa: UP007
Generate: Any = make_dataclass("Generate", [("job", _Job)])
Generate.__doc__ = "Generate a certified data set, or continue an interrupted one."


def file_options() -> dict[str, dict[str, Any]]:
    """Return what a configuration file may set, and its types, by family."""
    common = {f.name: f.type for f in fields(RunOptions) if f.name != "config"}
    return {
        name: common | {option.name: option.type for option in fields(family)}
        for name, family in _FAMILIES.items()
    }


def generate(command: Any) -> int:
    """Generate the data set of a `Generate` command, or print its cost.

    Returns:
        The exit code: 0, or 3 if some samples failed.

    Raises:
        ValueError: as the family, the solver and `krylax.datasets.generate`.
    """
    family, run = _family(command.job.family), command.job.run
    if run.dry_run:
        require_place(run.out)
        print(_cost_lines(run, _estimate(family, run)))
        return 0
    solver, preconditioner = _solver_and_preconditioner(family, run)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", datasets.FailedSamplesWarning)
        dataset = datasets.generate(
            family,
            run.num_samples,
            run.out,
            solver,
            preconditioner=preconditioner,
            recycle="default" if run.recycle == "plan" else run.recycle,
            rtol=run.rtol,
            ordering=run.ordering,
            segment_size=run.segment_size,
            num_workers=run.num_workers,
            resume=run.resume,
            allow_failures=run.allow_failures,
        )
    print(datasets.summary(dataset))
    return _report(caught)


def _report(caught: list[warnings.WarningMessage]) -> int:
    """Print warnings in the command's own form; return the exit code."""
    for each in caught:
        print(f"krylax: warning: {each.message}", file=sys.stderr)
    failures = [w for w in caught if w.category is datasets.FailedSamplesWarning]
    return _SOME_FAILED if failures else 0


def _family(options: Any) -> datasets.AbstractFamily:
    name = type(options).__name__.removesuffix("Options")
    family: Any = getattr(datasets, name)
    return family(**vars(options))


def _estimate(family: datasets.AbstractFamily, run: RunOptions) -> datasets.Estimate:
    """Return the cost with the method of the run; that of a plan is printed."""
    solver, preconditioner = _solver_and_preconditioner(family, run)
    method: dict[str, Any] = {"solver": solver, "preconditioner": preconditioner}
    if solver is None:
        found = datasets.plan(family, rtol=run.rtol, preconditioner=preconditioner)
        print(found)
        names = ("solver", "preconditioner", "start", "recycle")
        method = {name: getattr(found, name) for name in names}
    if run.recycle != "plan":
        method["recycle"] = run.recycle
    return datasets.estimate(family, run.num_samples, run.out, **method)


def _solver_and_preconditioner(
    family: datasets.AbstractFamily, run: RunOptions
) -> tuple[Any, Any]:
    """Return the solver, None for the plan's, and the preconditioner or "default"."""
    # The module must import without JAX, for a quick --help.
    from .solvers import GCRODR, Jacobi, Multigrid

    options: dict[str, Any] = {
        "restart": run.restart,
        "num_recycled": run.num_recycled,
        "max_steps": run.max_steps,
    }
    given = {name: value for name, value in options.items() if value is not None}
    is_planned = run.method == "plan" and not given
    usual = {"restart": 40, "num_recycled": 20, **given}
    solver = None
    if not is_planned:
        solver = GCRODR(rtol=chosen_rtol(family, run.rtol), **usual)
    factories = {
        "plan": "default" if is_planned else Jacobi(),
        "jacobi": Jacobi(),
        "multigrid": Multigrid(),
        "none": None,
    }
    return solver, factories[run.preconditioner]


def _duration(seconds: float) -> str:
    """Return a time in words, in a unit of which there are a few."""
    if seconds < 1:
        return "less than a second"
    units = (("seconds", 1, 100), ("minutes", 60, 100), ("hours", 3600, 72))
    for name, length, most in units:
        if seconds < most * length:
            return f"about {seconds / length:.2g} {name}"
    return f"about {seconds / 86400:.0f} days"


def _cost_lines(run: RunOptions, cost: datasets.Estimate) -> str:
    duration = _duration(cost.seconds / run.num_workers)
    return "\n".join(
        [
            f"{run.out}: {run.num_samples} samples, nothing written",
            f"size: {cost.published_bytes / 1e6:.1f} MB",
            f"disk while generating: {cost.peak_bytes / 1e6:.1f} MB of "
            f"{cost.free_bytes / 1e6:.0f} MB free",
            f"time: {duration} "
            f"({cost.milliseconds_per_system:.3g} ms per system, "
            f"{run.num_workers} at a time)",
        ]
    )
