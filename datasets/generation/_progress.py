"""Progress: a bar on a terminal, a line now and then in a log, or nothing."""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from .._optional import require

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


def progress(total: int, done: int, enabled: bool) -> Progress:
    """Return a progress display on the standard error stream.

    Args:
        total: samples in all.
        done: samples that were there before.
        enabled: False for no display.
    """
    if not enabled:
        return _Silent()
    if sys.stderr.isatty():
        bar = require("tqdm", "data").tqdm
        return bar(total=total, initial=done, unit="system", desc="solving")
    return _LogLines(total, done)


class _Silent:
    def update(self, n: int) -> None:
        del n

    def close(self) -> None:
        return


class _LogLines:
    def __init__(
        self, total: int, done: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.done, self.solved = total, done, 0
        self.clock = clock
        self.start = self.last = clock()
        self._print(f"{done} of {total} systems solved before")

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
        self._print(f"{self.solved} systems solved in {seconds:.1f} s")

    def _print(self, text: str) -> None:
        print(f"krylax: {text}", file=sys.stderr, flush=True)
