"""The `krylax` command, of data sets and of models trained on them.

Data sets: generate, info, preview, verify. Models: train, evaluate, predict, card.

This module imports next to nothing, so that Ctrl-C and SIGTERM are answered before the
packages are read, which takes seconds; `_commands.py` is the command itself.
"""

import os
import sys
import traceback
from collections.abc import Sequence

from ._signals import end_on_signals

_BAD_INPUT, _FAILED, _INTERRUPTED = 2, 1, 130
# What is computed for one result, by all cores.
_LEARNED = ("train", "evaluate", "predict", "card")
_AGAIN = "give the same command again to continue"
_ADVICE = {
    "generate": f"; nothing committed is lost: {_AGAIN}",
    "train": f"; the steps until the last validation are kept: {_AGAIN}",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of one command.

    0 done, 1 failed, 2 bad input, 3 published with failed samples; 130 stopped by
    Ctrl-C and 143 by SIGTERM.

    Args:
        argv: the arguments. If None they are the process's own, and so are its signals:
            Ctrl-C and SIGTERM then end the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    advice = _ADVICE.get(command, "")
    if argv is None:
        end_on_signals(advice)
    # The last bits of sums depend on how many threads share them. One thread per
    # process makes a data set the same on any number of cores; --num-workers is what
    # uses them. NPROC sizes XLA's thread pool on the CPU.
    if command not in _LEARNED:
        for name in ("OPENBLAS_NUM_THREADS", "NPROC"):
            os.environ.setdefault(name, "1")
    try:
        from ._commands import run

        return run(arguments)
    except KeyboardInterrupt:
        return _error(f"interrupted{advice}", _INTERRUPTED)
    except (ValueError, FileExistsError, FileNotFoundError, BlockingIOError) as error:
        return _error(error, _BAD_INPUT)
    except (OSError, RuntimeError, ModuleNotFoundError, FloatingPointError) as error:
        return _error(error, _FAILED)
    except MemoryError as error:
        return _error(f"out of memory: {error}", _FAILED)


def _error(error: BaseException | str, code: int) -> int:
    text = error
    if isinstance(error, OSError) and error.strerror:
        text = (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )
    print(f"krylax: error: {text}", file=sys.stderr)
    if isinstance(error, BaseException):
        # A frame of JAX's that outlives the interpreter frees jaxlib's modules after
        # nanobind is gone, and the process crashes on its way out.
        traceback.clear_frames(error.__traceback__)
    return code
