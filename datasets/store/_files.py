"""Files that are either whole or absent, also after a crash or a power cut.

A file is written beside its place, flushed to the disk, renamed into place, and the
folder's entry flushed too. A rename is atomic; without the flushes it may outlive the
data it points to.
"""

import hashlib
import os
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that it is whole or absent, whatever happens."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    with open(temporary, "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_tree(root: Path) -> None:
    """Flush every file and folder under `root` to the disk, innermost first."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _sync(Path(folder, name), os.O_RDONLY)
        sync_folder(Path(folder))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_under(root: Path) -> list[str]:
    """Return the files below `root` as sorted relative paths with slashes."""
    found = [
        Path(folder, name).relative_to(root).as_posix()
        for folder, _, names in os.walk(root)
        for name in names
    ]
    return sorted(found)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
