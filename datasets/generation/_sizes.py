"""What a run needs at least, compared with what there is before anything is made."""

import math
import os
from pathlib import Path

from .._names import working_path
from ..families._family import AbstractFamily
from ..store._plain import files_under
from ..store._space import (
    free_bytes,
    out_of_space,
    published_bytes,
    sample_bytes,
    size_text,
)
from ..store._working_folder import is_working_folder
from ._solve_segment import CHUNK

# Of the record, the id and the place of a sample, as Python objects.
_RECORD_BYTES = 800
# Where Linux keeps the limit of a container, in the newer and in the older form.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_memory(
    family: AbstractFamily,
    num_samples: int = CHUNK,
    *,
    ordering: str = "none",
    segment_size: int = CHUNK,
    num_workers: int = 1,
) -> None:
    """Raise unless a run can fit into this machine's memory.

    What is counted is a lower bound: per worker the samples of a segment, or of the
    chunk that is solved at once; a record per sample; the features that are ordered.

    Raises:
        ValueError: it cannot; the sizes are named.
    """
    there = memory_bytes()
    each = sample_bytes(family)
    held = max(CHUNK, min(num_samples, segment_size))
    workers = min(num_workers, math.ceil(num_samples / segment_size))
    needed = workers * (held * each + family.drawing_bytes())
    needed += num_samples * _RECORD_BYTES
    if needed <= there and ordering != "none" and num_samples > held:
        needed += num_samples * family.features(family.sample(0)).nbytes
    if needed > there:
        by = "" if workers == 1 else f", solved by {workers} workers,"
        raise ValueError(
            f"{num_samples} samples of {size_text(each)} in segments of {segment_size}"
            f"{by} need at least {size_text(needed)} of memory, and this machine has "
            f"{size_text(there)}: give fewer points, samples, workers or samples per "
            'segment, or ordering "none", which holds no features'
        )


def check_disk(family: AbstractFamily, num_samples: int, target: Path) -> None:
    """Raise unless the disk has room for what a run has still to write.

    Raises:
        OutOfSpaceError: it has not; the sizes are named.
    """
    check_room(sample_bytes(family), num_samples, target)


def check_room(each: int, num_samples: int, target: Path) -> None:
    """Raise unless the disk has room for samples of this many bytes.

    Raises:
        OutOfSpaceError: as `check_disk`.
    """
    folder = working_path(target)
    kept = 0
    if is_working_folder(folder):
        kept = sum(os.lstat(folder / name).st_size for name in files_under(folder))
    needed = num_samples * each + published_bytes(each, num_samples) - kept
    if needed > free_bytes(folder):
        committed = min(num_samples, kept // each)
        raise out_of_space(folder, committed, num_samples, needed)


def memory_bytes() -> int:
    """Return the memory that this process may have at most."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for place in map(Path, _LIMITS):
        text = place.read_text().strip() if place.is_file() else ""
        found += [int(text)] if text.isdigit() else []
    return min(found)
