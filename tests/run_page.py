"""Run a page as a reader does: paste its blocks, one by one, in an empty folder.

    python run_page.py README.md

- `python` blocks run in one session, each as it stands. If a block prints, a `text`
  block right after it shows what, with `...` for what differs from run to run.
- `bash` blocks: the lines that begin with `krylax` run. What installs, or is run by
  `.ci/run`, such as `make`, does not.
- `toml` blocks are written to the file that their first comment names.
"""

import contextlib
import doctest
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LANGUAGES = ("python", "bash", "toml")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block, the line of its first line, and the output shown after it."""

    language: str
    code: str
    line: int
    shown: str | None


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks that run."""
    fences = list(_FENCE.finditer(text))
    for i, fence in enumerate(fences):
        after = fences[i + 1] if i + 1 < len(fences) else None
        is_shown = (
            after is not None
            and after[1] == "text"
            and not text[fence.end() : after.start()].strip()
        )
        if fence[1] in LANGUAGES:
            line = text.count("\n", 0, fence.start(2)) + 1
            yield Block(fence[1], fence[2], line, after[2] if is_shown else None)  # type: ignore[index]


def run(page: Path) -> None:
    """Run the blocks of a page in the current folder."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text()):
        if block.language == "python":
            printed = _run_python(block, page, names)
        elif block.language == "bash":
            printed = _run_commands(block)
        else:
            printed = _write_file(block)
        _compare(block, printed, page)


def _run_python(block: Block, page: Path, names: dict[str, Any]) -> str:
    # Lines before the block, so that a traceback names the page's own.
    code = compile("\n" * (block.line - 1) + block.code, page.name, "exec")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, names)
    return output.getvalue()


def _run_commands(block: Block) -> str:
    printed = ""
    for line in block.code.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["krylax"]:
            words[0] = str(Path(sys.executable).with_name("krylax"))
            found = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            # Commands may print what they like where the page shows nothing.
            printed += found.stdout if block.shown is not None else ""
    return printed


def _write_file(block: Block) -> str:
    name = block.code.splitlines()[0].removeprefix("#").split()[0]
    Path(name).write_text(block.code)
    return ""


def _compare(block: Block, printed: str, page: Path) -> None:
    shown = block.shown or ""
    if not doctest.OutputChecker().check_output(shown, printed, _FLAGS):
        raise SystemExit(
            f"{page.name}, line {block.line}: shown is\n{shown}\nprinted was\n{printed}"
        )


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve())
