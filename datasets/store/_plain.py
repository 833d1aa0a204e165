"""What a store may consist of: plain files in plain folders.

A symbolic link in the place of either belongs to somebody else, and a named pipe would
be waited for.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def is_plain_file(path: Path) -> bool:
    """Return whether a file is there, itself and not a link to it."""
    return _mode_is(path, stat.S_ISREG)


def is_plain_folder(path: Path) -> bool:
    """Return whether a folder is there, itself and not a link to it."""
    return _mode_is(path, stat.S_ISDIR)


def not_plain(path: Path) -> ValueError:
    """Return the error for what is in the place of a plain file or folder."""
    return ValueError(
        f"{path} is {_kind(path)}, and krylax reads and writes plain files in plain "
        "folders only: move it away"
    )


def require_plain(root: Path) -> None:
    """Raise unless all that is under `root` is a plain file or folder.

    Raises:
        ValueError: it is not; the first one is named.
    """
    for name in odd_entries(root):
        raise not_plain(root / name)


def odd_entries(root: Path) -> list[str]:
    """Return what is neither a plain file nor a folder, as sorted relative paths."""
    return _relative(root, (path for path, is_file in _walk(root) if not is_file))


def files_under(root: Path) -> list[str]:
    """Return the plain files below `root` as sorted relative paths with slashes."""
    return _relative(root, (path for path, is_file in _walk(root) if is_file))


def _walk(root: Path) -> Iterator[tuple[str, bool]]:
    """All entries but folders, and whether each is a plain file."""
    waiting = [os.fspath(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.path, entry.is_file(follow_symlinks=False)


def _relative(root: Path, paths: Iterator[str]) -> list[str]:
    # Path.relative_to takes ten times as long.
    length = len(os.path.join(root, ""))
    return sorted(path[length:].replace(os.sep, "/") for path in paths)


def _mode_is(path: Path, is_kind: Callable[[int], bool]) -> bool:
    try:
        return is_kind(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _kind(path: Path) -> str:
    mode = os.lstat(path).st_mode
    return next((text for is_kind, text in _KINDS if is_kind(mode)), "no file")
