"""The commands: their options, and what each of them does.

Importing this module imports neither JAX nor Zarr nor matplotlib, so that help is
instant. Options come from frozen dataclasses; a TOML file holds the same keys.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from . import datasets

try:
    from tyro import cli, conf
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "the krylax command needs tyro: pip install 'krylax[cli]'"
    ) from error

from ._config_file import expanded
from ._generate_command import Generate, file_options, generate
from ._train_command import (
    Card,
    Evaluate,
    Predict,
    Train,
    card,
    evaluate,
    predict,
    train,
)
from .datasets.store._published import is_trajectory

_FAILED = 1


@dataclass(frozen=True)
class Info:
    """Print configuration, shapes, statistics and versions of a data set.

    Attributes:
        path: the data set, or a trajectory of a flow.
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
        path: the data set, or a trajectory, of which the checksums are checked.
    """

    path: conf.Positional[Path]


Command = Union[  # noqa: UP007
    Generate, Info, Preview, Verify, Train, Evaluate, Predict, Card
]


def run(arguments: list[str]) -> int:
    """Return the exit code of the command with these arguments."""
    return _run(_parse(expanded(arguments, file_options())))


def _parse(arguments: list[str]) -> Any:
    return cli(
        Command,
        args=arguments,
        prog="krylax",
        description="Certified data sets of PDE solutions, and models trained on them.",
        config=(conf.OmitArgPrefixes, conf.OmitSubcommandPrefixes),
    )


def _run(command: Any) -> int:
    if isinstance(command, Info):
        opened = datasets.open_dataset
        if is_trajectory(command.path):
            opened = datasets.open_trajectory
        print(datasets.describe(opened(command.path)))
        return 0
    _enable_x64()
    match command:
        case Generate():
            return generate(command)
        case Preview():
            place = datasets.preview(command.path, command.num_samples, command.out)
            print(f"wrote {place}")
        case Train():
            return train(command)
        case Evaluate():
            return evaluate(command)
        case Predict():
            return predict(command)
        case Card():
            return card(command)
        case _:
            return _verify(command.path)
    return 0


def _verify(path: Path) -> int:
    from .operators._arguments import counted

    report = datasets.verify(path)
    for problem in report.problems:
        print(f"krylax: {problem}", file=sys.stderr)
    verdict = "all well" if report.ok else counted(len(report.problems), "problem")
    attained = f", {report.num_attained} of them attained: residuals at rounding level"
    samples = (
        f", {counted(report.num_samples, 'sample')}"
        f"{attained if report.num_attained else ''}, "
        f"worst relative residual {report.worst_residual:.3g}"
    )
    print(
        f"{path}: {verdict}; {counted(report.num_files, 'file')}"
        f"{samples if report.num_samples else ''}"
    )
    return 0 if report.ok else _FAILED


def _enable_x64() -> None:
    # Help and `info` do without JAX, which takes a second to import.
    import jax

    jax.config.update("jax_enable_x64", True)
