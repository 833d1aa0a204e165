"""The `krylax` command: generate, info, preview, verify.

Importing this module imports neither JAX nor Zarr nor matplotlib, so that help is
instant. Options come from frozen dataclasses; a TOML file holds the same keys.
"""

import os
import sys
from collections.abc import Sequence
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

_BAD_INPUT, _FAILED, _INTERRUPTED = 2, 1, 130


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


Command = Union[Generate, Info, Preview, Verify]  # noqa: UP007


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of one command.

    0 done, 1 failed, 2 bad input, 3 published with failed samples, 130 stopped.

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
        return _run(_parse(expanded(arguments, file_options())))
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


def _run(command: Any) -> int:
    if isinstance(command, Info):
        print(datasets.describe(datasets.open_dataset(command.path)))
        return 0
    _enable_x64()
    match command:
        case Generate():
            return generate(command)
        case Preview():
            place = datasets.preview(command.path, command.num_samples, command.out)
            print(f"wrote {place}")
        case _:
            return _verify(command.path)
    return 0


def _verify(path: Path) -> int:
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
    # Help and `info` do without JAX, which takes a second to import.
    import jax

    jax.config.update("jax_enable_x64", True)
