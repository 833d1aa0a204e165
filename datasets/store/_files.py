"""Files that are either whole or absent, and never those of somebody else.

A file is written beside its place, flushed to the disk, renamed into place, and the
folder's entry flushed too. A rename is atomic; without the flushes it may outlive the
data it points to.

What is opened, to read or to write, is a plain file: a symbolic link is not followed,
and a named pipe, which would wait for ever, is not read. All files of the store are
opened here.
"""

import errno
import hashlib
import os
import stat
from io import BufferedReader, BufferedWriter
from pathlib import Path

from ._plain import is_plain_file, is_plain_folder, not_plain

TEMPORARY_SUFFIX = ".tmp"
_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that it is whole or absent, whatever happens.

    Raises:
        ValueError: something that is no plain file is in its place.
    """
    if os.path.lexists(path) and not is_plain_file(path):
        raise not_plain(path)
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    with _opened_anew(temporary) as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def open_new(path: Path) -> BufferedWriter:
    """Return a new file to write to.

    Raises:
        FileExistsError: there is something already, be it a link to nowhere.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY
    return os.fdopen(os.open(path, flags, 0o666), "wb")


def open_plain(path: Path) -> BufferedReader:
    """Return a file to read from.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no plain file.
    """
    return os.fdopen(_descriptor(path, os.O_RDONLY), "rb")


def open_lock(path: Path) -> int:
    """Return the descriptor of a file to lock, made if it is missing.

    Raises:
        ValueError: it is no plain file.
    """
    return _descriptor(path, os.O_RDWR | os.O_CREAT)


def make_mark(path: Path) -> None:
    """Make an empty file, or leave the plain file that is there.

    Raises:
        ValueError: it is no plain file.
    """
    try:
        open_new(path).close()
    except FileExistsError:
        if not is_plain_file(path):
            raise not_plain(path) from None


def make_folder(path: Path) -> None:
    """Make a folder, or leave the plain folder that is there.

    Raises:
        ValueError: it is no plain folder.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if not is_plain_folder(path):
            raise not_plain(path) from None


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
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened_anew(path: Path) -> BufferedWriter:
    try:
        return open_new(path)
    except FileExistsError:
        # What a crash has left. A link is removed, and what it points to is not.
        path.unlink()
        return open_new(path)


def _descriptor(path: Path, flags: int) -> int:
    try:
        # To open a named pipe would wait for its other end.
        descriptor = os.open(path, flags | _SAFELY | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise not_plain(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_plain(path)
    return descriptor


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
