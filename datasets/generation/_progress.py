"""Progress: a bar on a terminal, a line now and then in a log, or nothing."""

import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

_SECONDS_BETWEEN_LINES = 30.0


@runtime_checkable
class Progress(Protocol):
    """What a bar and a log have in common."""

    def update(self, n: int) -> Any:
        """Counts n more samples as done."""
        ...

    def close(self) -> Any:
        """Ends the bar or prints the last line."""
        ...


def progress(
    total: int, done: int, enabled: bool, unit: str = "systems", verb: str = "solved"
) -> Progress:
    """Return a progress display on the standard error stream.

    Args:
        total: units in all.
        done: units that were done before.
        enabled: False for no display.
        unit: what is counted.
        verb: what was done to them.
    """
    if not enabled:
        return _Silent()
    if sys.stderr.isatty() and find_spec("tqdm") is not None:
        bar = import_module("tqdm").tqdm
        return bar(total=total, initial=done, unit=f" {unit}", desc=verb)
    return _LogLines(total, done, unit=unit, verb=verb)


class _Silent:
    def update(self, n: int) -> None:
        del n

    def close(self) -> None:
        return


class _LogLines:
    def __init__(
        self,
        total: int,
        done: int,
        clock: Callable[[], float] = time.monotonic,
        unit: str = "systems",
        verb: str = "solved",
    ) -> None:
        self.total, self.done, self.solved = total, done, 0
        self.clock, self.unit, self.verb = clock, unit, verb
        self.start = self.last = clock()
        self._print(f"{done} of {total} {unit} {verb} before")

    def update(self, n: int) -> None:
        self.solved += n
        now = self.clock()
        if now - self.last >= _SECONDS_BETWEEN_LINES:
            self.last = now
            rate = self.solved / (now - self.start)
            left = (self.total - self.done - self.solved) / rate
            count = self.done + self.solved
            self._print(f"{count}/{self.total}, {rate:.3g}/s, {left:.0f} s left")

    def close(self) -> None:
        seconds = self.clock() - self.start
        self._print(f"{self.solved} {self.unit} {self.verb} in {seconds:.1f} s")

    def _print(self, text: str) -> None:
        print(f"krylax: {text}", file=sys.stderr, flush=True)
