"""The `krylax` command: generate, info, preview, verify.

Importing this module imports neither JAX nor Zarr nor matplotlib, so that help is
instant. Options come from frozen dataclasses; a TOML file holds the same keys.
"""

import difflib
import os
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from . import datasets

try:
    from tyro import cli, conf
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "the krylax command needs tyro: pip install 'krylax[cli]'"
    ) from error

_BAD_INPUT, _FAILED, _INTERRUPTED = 2, 1, 130


@dataclass(frozen=True)
class RunOptions:
    """How the data set is generated.

    Attributes:
        num_samples: how many samples.
        out: the folder to write.
        config: TOML file with the same keys as these options, which win over it.
        rtol: largest true relative residual of a certified sample.
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
        dry_run: only print size, disk and time, from a few solves.
    """

    num_samples: int
    out: Path
    config: Path | None = None
    rtol: float = 1e-8
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
    dry_run: bool = False


@dataclass(frozen=True)
class Info:
    """Print configuration, shapes, statistics and versions of a data set.

    Attributes:
        path: the data set.
    """

    path: conf.Positional[Path]


@dataclass(frozen=True)
class Preview:
    """Draw parameter, solution and residual of the first samples as a PNG.

    Attributes:
        path: the data set.
        num_samples: how many samples.
        out: the picture's file; beside the data set if not given.
    """

    path: conf.Positional[Path]
    num_samples: int = 4
    out: Path | None = None


@dataclass(frozen=True)
class Verify:
    """Check every file's checksum and compute every residual again.

    Attributes:
        path: the data set.
    """

    path: conf.Positional[Path]


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
Command = Union[Generate, Info, Preview, Verify]  # noqa: UP007


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of one command: 0, 1 failed, 2 bad input, 130 stopped.

    Args:
        argv: the arguments; the process's own if None.
    """
    # The last bits of sums depend on how many threads share them. One thread per
    # process makes a data set the same on any number of cores; --num-workers is what
    # uses them. NPROC sizes XLA's thread pool on the CPU.
    for name in ("OPENBLAS_NUM_THREADS", "NPROC"):
        os.environ.setdefault(name, "1")
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(_parse(_expanded(arguments)))
    except KeyboardInterrupt:
        return _error(
            "interrupted; nothing committed is lost: give the same command again to "
            "continue",
            _INTERRUPTED,
        )
    except (ValueError, FileExistsError, FileNotFoundError, BlockingIOError) as error:
        return _error(error, _BAD_INPUT)
    except (OSError, RuntimeError, ModuleNotFoundError) as error:
        return _error(error, _FAILED)


def _error(error: BaseException | str, code: int) -> int:
    text = error
    if isinstance(error, OSError) and error.strerror:
        text = (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )
    print(f"krylax: error: {text}", file=sys.stderr)
    return code


def _parse(arguments: list[str]) -> Any:
    return cli(
        Command,
        args=arguments,
        prog="krylax",
        description="Certified data sets of PDE solutions.",
        config=(conf.OmitArgPrefixes, conf.OmitSubcommandPrefixes),
    )


def _expanded(arguments: list[str]) -> list[str]:
    """Return the arguments with a configuration file's entries put before them.

    The last of two equal options wins, so the command line wins over the file.
    """
    path = _config_path(arguments)
    if arguments[:1] == ["generate"] and arguments[1:2] and path is not None:
        tokens = _from_file(path, arguments[1])
        arguments = [*arguments[:2], *tokens, *arguments[2:]]
    return _with_choices_spelled(arguments)


def _config_path(arguments: list[str]) -> str | None:
    for index, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return argument.removeprefix("--config=")
        if argument == "--config":
            return next(iter(arguments[index + 1 :]), None)
    return None


def _from_file(path: str, family: str) -> list[str]:
    classes = [RunOptions, *([_FAMILIES[family]] if family in _FAMILIES else [])]
    known = {field.name for cls in classes for field in fields(cls)} - {"config"}
    try:
        entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    tokens: list[str] = []
    for key, value in entries.items():
        name = key.replace("-", "_")
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{path}: unknown key {key!r} for {family}{hint}")
        tokens += _tokens(f"--{name.replace('_', '-')}", value)
    return tokens


def _tokens(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option if value else option.replace("--", "--no-", 1)]
    if isinstance(value, list):
        return [option, *map(str, value)]
    if isinstance(value, dict):
        raise ValueError(f"{option[2:]} must be a value, not a table: keys are flat")
    return [option, str(value)]


def _with_choices_spelled(arguments: list[str]) -> list[str]:
    # log-normal is as natural on a command line as log_normal is in Python.
    swap = {"log-normal": "log_normal", "two-phase": "two_phase"}
    spelled, option = [], ""
    for argument in arguments:
        known = option == "--coefficient"
        spelled.append(swap.get(argument, argument) if known else argument)
        option = argument
    return spelled


def _run(command: Any) -> int:
    match command:
        case Generate():
            return _generate(_family(command.job.family), command.job.run)
        case Info():
            print(datasets.describe(datasets.open_dataset(command.path)))
            return 0
        case Preview():
            _enable_x64()
            place = datasets.preview(command.path, command.num_samples, command.out)
            print(f"wrote {place}")
            return 0
        case _:
            return _verify(command.path)


def _family(options: Any) -> datasets.AbstractFamily:
    name = type(options).__name__.removesuffix("Options")
    family: Any = getattr(datasets, name)
    return family(**vars(options))


def _generate(family: datasets.AbstractFamily, run: RunOptions) -> int:
    _enable_x64()
    solver, preconditioner = _method(run)
    if run.dry_run:
        start = None
        recycle: Literal["chain", "frozen"] = (
            "frozen" if run.recycle == "frozen" else "chain"
        )
        if solver is None:
            found = datasets.plan(family, rtol=run.rtol, preconditioner=preconditioner)
            print(found)
            solver, preconditioner = found.solver, found.preconditioner
            start, recycle = found.start, found.recycle
        cost = datasets.estimate(
            family,
            run.num_samples,
            run.out,
            solver,
            preconditioner,
            start=start,
            recycle=recycle,
        )
        print(_cost_lines(run, cost))
        return 0
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
    )
    print(datasets.summary(dataset))
    return 0


def _method(run: RunOptions) -> tuple[Any, Any]:
    """Return the solver, None for the plan's, and the preconditioner or "default"."""
    # After x64 is on, and only for the command that needs them.
    from .solvers import GCRODR, Jacobi, Multigrid

    options: dict[str, Any] = {
        "restart": run.restart,
        "num_recycled": run.num_recycled,
        "max_steps": run.max_steps,
    }
    given = {name: value for name, value in options.items() if value is not None}
    is_planned = run.method == "plan" and not given
    usual = {"restart": 40, "num_recycled": 20, **given}
    solver = None if is_planned else GCRODR(rtol=run.rtol, **usual)
    factories = {
        "plan": "default" if is_planned else Jacobi(),
        "jacobi": Jacobi(),
        "multigrid": Multigrid(),
        "none": None,
    }
    return solver, factories[run.preconditioner]


def _cost_lines(run: RunOptions, cost: datasets.Estimate) -> str:
    minutes = cost.seconds / 60 / run.num_workers
    return "\n".join(
        [
            f"{run.out}: {run.num_samples} samples, nothing written",
            f"size: {cost.published_bytes / 1e6:.1f} MB",
            f"disk while generating: {cost.peak_bytes / 1e6:.1f} MB of "
            f"{cost.free_bytes / 1e6:.0f} MB free",
            f"time: about {minutes:.1f} minutes "
            f"({cost.milliseconds_per_system:.3g} ms per system, "
            f"{run.num_workers} at a time)",
        ]
    )


def _verify(path: Path) -> int:
    _enable_x64()
    report = datasets.verify(path)
    for problem in report.problems:
        print(f"krylax: {problem}", file=sys.stderr)
    verdict = "all well" if report.ok else f"{len(report.problems)} problems"
    print(
        f"{path}: {verdict}; {report.num_files} files, {report.num_samples} samples, "
        f"worst relative residual {report.worst_residual:.3g}"
    )
    return 0 if report.ok else _FAILED


def _enable_x64() -> None:
    # Help and `info` must not pay for importing JAX.
    import jax

    jax.config.update("jax_enable_x64", True)
