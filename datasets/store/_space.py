"""Disk space: counted before it is needed, and reported when it is gone."""

import errno
import math
import shutil
from pathlib import Path

from ..families._family import AbstractFamily
from ._record import record, record_text

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Metadata, commit records and file-system blocks, per data set and per sample.
_OVERHEAD_BYTES = 1_000_000
_RECORD_BYTES = 1_000


class OutOfSpaceError(OSError):
    """The disk is full; what is committed is kept and the run can be continued."""


def sample_bytes(family: AbstractFamily) -> int:
    """Return the bytes of one sample's arrays, uncompressed.

    Raises:
        ValueError: they are more than an array can have.
    """
    try:
        return sum(example.nbytes for example in family.array_types().values())
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"a sample of {record_text(record(family))} is larger than an array can be "
            f"({error}): give fewer points"
        ) from None


def published_bytes(sample_bytes: int, num_samples: int) -> int:
    """Return an upper bound of a published folder's size.

    Args:
        sample_bytes: of the arrays of one sample.
        num_samples: how many there are.
    """
    return _OVERHEAD_BYTES + num_samples * (sample_bytes + _RECORD_BYTES)


def check_free(folder: Path, needed: int) -> None:
    """Raise unless the disk of `folder` has `needed` bytes left.

    Raises:
        OutOfSpaceError: it has not.
    """
    free = free_bytes(folder)
    if free < needed:
        raise OutOfSpaceError(errno.ENOSPC, f"{needed - free} bytes too few")


def free_bytes(path: Path) -> int:
    """Return what is free on the disk of a path, which need not exist."""
    candidates = [path.absolute(), *path.absolute().parents]
    return shutil.disk_usage(next(p for p in candidates if p.exists())).free


def size_text(num_bytes: int) -> str:
    """Return a size in words: 1.5 GB."""
    size = float(num_bytes)
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} EB"


def is_out_of_space(error: OSError) -> bool:
    """Return whether a system call failed because the disk or the quota is full."""
    return error.errno in _FULL


def out_of_space(
    folder: Path, committed: int, num_samples: int, needed: int
) -> OutOfSpaceError:
    """Return the error that says what is safe and what to do.

    Args:
        folder: where the run is kept.
        committed: how many samples are safe.
        num_samples: how many there will be.
        needed: how many bytes the rest of the run will write.
    """
    free = free_bytes(folder)
    gigabytes = math.ceil(max(needed - free, 1) / 1e8) / 10
    return OutOfSpaceError(
        errno.ENOSPC,
        f"disk full: {committed} of {num_samples} samples committed in {folder}; what "
        f"is left needs {size_text(needed)} and {size_text(free)} are free: free "
        f"{gigabytes:.1f} GB and run the same command again, or make fewer or smaller "
        "samples",
    )
