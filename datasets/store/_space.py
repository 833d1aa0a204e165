"""Disk space: counted before it is needed, and reported when it is gone."""

import errno
import math
import shutil
from pathlib import Path

from ..families._family import AbstractFamily

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Metadata, commit records and file-system blocks, per data set and per sample.
_OVERHEAD_BYTES = 1_000_000
_RECORD_BYTES = 1_000


class OutOfSpaceError(OSError):
    """The disk is full; what is committed is kept and the run can be continued."""


def sample_bytes(family: AbstractFamily) -> int:
    """Return the bytes of one sample's arrays, uncompressed."""
    return sum(example.nbytes for example in family.array_types().values())


def published_bytes(family: AbstractFamily, num_samples: int) -> int:
    """Return an upper bound of a published data set's size."""
    per_sample = sample_bytes(family) + _RECORD_BYTES
    return _OVERHEAD_BYTES + num_samples * per_sample


def check_free(folder: Path, needed: int) -> None:
    """Raise unless the disk of `folder` has `needed` bytes left.

    Raises:
        OutOfSpaceError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutOfSpaceError(errno.ENOSPC, f"{needed - free} bytes too few")


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
    missing = max(needed - shutil.disk_usage(folder.parent).free, 1)
    gigabytes = math.ceil(missing / 1e8) / 10
    return OutOfSpaceError(
        errno.ENOSPC,
        f"disk full: {committed} of {num_samples} samples committed in {folder}; free "
        f"{gigabytes:.1f} GB and run the same command again",
    )
