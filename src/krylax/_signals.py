"""Ctrl-C and SIGTERM end the command at once, in a sentence, whatever it is doing.

Python's own answer to Ctrl-C is an exception wherever the main thread happens to be. In
a callback of the garbage collector it is printed and forgotten; out of a compilation it
takes frames along that crash jaxlib when the interpreter ends; and while XLA compiles
it waits for the end of that. So a thread waits for the signal, ends the workers, and
leaves without a word to the interpreter. What is on the disk is whole at any moment.
"""

import os
import signal
import sys
import threading
from types import FrameType

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def end_on_signals(advice: str) -> None:
    """End this process on SIGINT and SIGTERM, with exit code 130 or 143.

    A signal that is ignored, as `nohup` and a shell's background jobs do with some,
    stays ignored.

    Args:
        advice: what is said after "interrupted" or "terminated".
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            # A handler of Python's, or nothing is written to the pipe.
            signal.signal(number, _leave_it_to_the_thread)
    threading.Thread(target=_wait, args=(reader, advice), daemon=True).start()


def _leave_it_to_the_thread(number: int, frame: FrameType | None) -> None:
    del number, frame


def _wait(reader: int, advice: str) -> None:
    number = os.read(reader, 1)[0]
    while number not in _WORDS:
        number = os.read(reader, 1)[0]
    # A progress bar has no end of line.
    start = "\n" if os.isatty(2) else ""
    text = f"{start}krylax: error: {_WORDS[signal.Signals(number)]}{advice}\n"
    try:
        os.write(2, text.encode())
    finally:
        _end_workers()
        os._exit(128 + number)


def _end_workers() -> None:
    # Not imported for this: where it is not, there are none.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        for child in multiprocessing.active_children():
            child.kill()
