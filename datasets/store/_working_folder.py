"""The folder beside a data set in which its run lives until it is published.

    <name>.partial/
        krylax-run          our mark: without it we neither adopt nor delete
        run.lock            held while a process works here
        order.npy           the solve order
        config.json         the configuration, and the checksum of the order
        segments/           one .npy per array of a segment
        commits/            one JSON record per finished segment
        published/          the data set being put together

A segment counts only when its commit record exists, which names its files with their
SHA-256. Everything else found here is the litter of a killed run and is removed; what
is damaged counts as not there.
"""

import hashlib
import io
import os
import shutil
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from ._checked import DamagedError, configuration_misfit, read_object
from ._commits import SOLVE, belongs_to, read_commit, sealed
from ._files import (
    make_folder,
    make_mark,
    open_lock,
    open_plain,
    sha256_of,
    write_whole,
)
from ._plain import files_under, is_plain_file, is_plain_folder, require_plain
from ._record import canonical_json
from ._segments import Segment, Solved, versions

_MARK = "krylax-run"
_LOCK = "run.lock"
_CONFIGURATION = "config.json"
_ORDER = "order.npy"


class WorkingFolder:
    """One run's working folder: marked as ours, locked, and readable after a crash.

    Use it as a context manager; the lock is the kernel's, so it is released however
    the process ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.published = path / "published"
        self._lock: int | None = None

    def __enter__(self) -> "WorkingFolder":
        _adopt(self.path)
        self._lock = _locked(self.path / _LOCK)
        try:
            require_plain(self.path)
            _sign(self._lock)
            make_mark(self.path / _MARK)
            for name in ("segments", "commits"):
                make_folder(self.path / name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def configuration(self) -> dict[str, Any] | None:
        """Return the configuration of the run kept here, None for a new one."""
        return stored_configuration(self.path)

    def has_commits(self) -> bool:
        """Return whether a segment of an earlier run is kept here, be it damaged."""
        return has_commits(self.path)

    def commits_of_others(self, configuration_hash: str) -> bool:
        """Return whether a segment of another configuration is kept here."""
        found = map(read_commit, self._commit_paths())
        return any(
            record is not None and record["configuration_hash"] != configuration_hash
            for record in found
        )

    def begin(
        self, configuration: dict[str, Any], order: Int[np.ndarray, " samples"]
    ) -> None:
        """Store a new run's solve order, then its configuration."""
        parts = npy_parts(order)
        write_whole(self.path / _ORDER, *parts)
        # Last, because a stored configuration says that the order is there.
        entries = {"configuration": configuration, "order_sha256": _digest(*parts)}
        write_whole(self.path / _CONFIGURATION, canonical_json(entries))

    def order(self) -> Int[np.ndarray, " samples"] | None:
        """Return the stored solve order; None if it is damaged or not there."""
        stored = _stored(self.path)
        if stored is None or not is_plain_file(self.path / _ORDER):
            return None
        with open_plain(self.path / _ORDER) as file:
            data = file.read()
        if _digest(data) != stored.get("order_sha256"):
            return None
        return np.load(io.BytesIO(data), allow_pickle=False)

    def commit(self, solved: Solved, configuration_hash: str) -> dict[str, Any]:
        """Store a segment; it is real once the commit record is in place."""
        index = solved.segment.index
        files = {}
        for name, values in solved.arrays.items():
            path = self.array_path(index, name)
            parts = npy_parts(values)
            write_whole(path, *parts)
            size = sum(map(len, parts))
            files[path.name] = {"bytes": size, "sha256": _digest(*parts)}
        record = {
            "configuration_hash": configuration_hash,
            "segment": index,
            "ids": list(solved.segment.ids),
            "samples": solved.records,
            "files": files,
            "versions": dict(versions()),
            "host": socket.gethostname(),
        }
        write_whole(self._commit_path(index), sealed(record))
        return record

    def array_path(self, index: int, name: str) -> Path:
        """Return where an array of a segment is kept."""
        return self.path / "segments" / f"{index:06d}.{name}.npy"

    def recover(
        self,
        configuration_hash: str,
        segments: Sequence[Segment],
        names: Sequence[str],
        sample: Any = SOLVE,
        *,
        is_chain: bool = False,
    ) -> dict[int, dict[str, Any]]:
        """Return the commits by segment, after removing what a crash left behind.

        Args:
            configuration_hash: of the run.
            segments: all of its segments.
            names: the arrays of each.
            sample: the form of what is recorded of each sample.
            is_chain: whether a segment begins where the one before has ended; then
                those behind a missing one do not count either.
        """
        kept: dict[int, dict[str, Any]] = {}
        for path in self._commit_paths():
            record = read_commit(path)
            if record is None or record["configuration_hash"] != configuration_hash:
                continue
            index = record["segment"]
            if not 0 <= index < len(segments) or path != self._commit_path(index):
                continue
            files = [self.array_path(index, name).name for name in names]
            if belongs_to(record, segments[index], files, sample) and all(
                self._is_whole(name, entry) for name, entry in record["files"].items()
            ):
                kept[index] = record
        if is_chain:
            whole = takewhile(kept.__contains__, range(len(segments)))
            kept = {index: kept[index] for index in whole}
        self._sweep(kept)
        return kept

    def remove(self) -> None:
        """Delete the folder, the lock and our mark last.

        Killed at any point, what is left is still marked as ours, or empty.
        """
        for name in os.listdir(self.path):
            if name not in (_MARK, _LOCK):
                _delete(self.path / name)
        for name in (_LOCK, _MARK):
            _delete(self.path / name)
        # Another process may have adopted the folder meanwhile: then it removes it.
        with suppress(OSError):
            self.path.rmdir()

    def _commit_path(self, index: int) -> Path:
        return self.path / "commits" / f"{index:06d}.json"

    def _commit_paths(self) -> list[Path]:
        return _commits_in(self.path)

    def _is_whole(self, name: str, entry: dict[str, Any]) -> bool:
        path = self.path / "segments" / name
        if not is_plain_file(path) or path.stat().st_size != entry["bytes"]:
            return False
        return sha256_of(path) == entry["sha256"]

    def _sweep(self, kept: dict[int, dict[str, Any]]) -> None:
        wanted = {f"commits/{index:06d}.json" for index in kept}
        for record in kept.values():
            wanted |= {f"segments/{name}" for name in record["files"]}
        _delete(self.published)
        for name in files_under(self.path):
            if name.startswith(("commits/", "segments/")) and name not in wanted:
                _delete(self.path / name)


def has_commits(folder: Path) -> bool:
    """Return whether a segment of an earlier run is kept here, be it damaged."""
    return bool(_commits_in(folder))


def _commits_in(folder: Path) -> list[Path]:
    return sorted((folder / "commits").glob("*.json"))


def holds_run(folder: Path) -> bool:
    """Return whether a run is kept in a working folder."""
    return os.path.lexists(folder / _CONFIGURATION)


def stored_configuration(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of the run kept in a working folder, if any.

    Raises:
        DamagedError: it is there and cannot be read.
        ValueError: it is no plain file.
    """
    stored = _stored(folder)
    return None if stored is None else stored["configuration"]


def is_working_folder(folder: Path) -> bool:
    """Return whether the folder carries our mark, or is empty and may take it."""
    if not is_plain_folder(folder):
        return False
    names = set(os.listdir(folder))
    return _MARK in names or names <= {_LOCK}


def require_adoptable(folder: Path) -> None:
    """Raise unless this is a working folder.

    Raises:
        FileExistsError: it is something else.
    """
    if not is_working_folder(folder):
        raise FileExistsError(
            f"{folder} exists and was not made by krylax: move it away or choose "
            f"another name for the data set"
        )


def _stored(folder: Path) -> dict[str, Any] | None:
    path = folder / _CONFIGURATION
    if not os.path.lexists(path):
        return None
    advice = (
        f"delete it and give the same call or command again, with the solver that "
        f"{folder} was begun with, or delete that folder to begin anew"
    )
    stored = read_object(path, {}, advice)
    # Earlier versions kept the configuration alone.
    stored = stored if "configuration" in stored else {"configuration": stored}
    why = configuration_misfit(stored["configuration"])
    if why is not None:
        raise DamagedError(path, why, advice)
    return stored


def npy_parts(values: np.ndarray) -> tuple[bytes, memoryview]:
    """Return a .npy file as its head and the array's own memory."""
    # Not by ascontiguousarray, which gives a number an axis.
    values = np.asarray(values, order="C")
    head = io.BytesIO()
    entries = np.lib.format.header_data_from_array_1_0(values)
    np.lib.format.write_array_header_1_0(head, entries)
    return head.getvalue(), values.reshape(-1).view(np.uint8).data


def _adopt(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir()
    require_adoptable(folder)


# Not by filelock: its 3.20 empties the file of a lock that it fails to take, and so the
# holder's name; and it may lock a file that the holder has just removed.
def _locked(path: Path) -> int:
    # Not on every system, and needed only here.
    import fcntl

    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The holder may have finished and removed the file between open and lock.
        if os.fstat(descriptor).st_ino != os.stat(path).st_ino:
            raise BlockingIOError
    except OSError:
        holder = os.pread(descriptor, 200, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise BlockingIOError(
            f"another process works on {path.parent} ({holder or 'unknown'}): wait for "
            f"it or stop it"
        ) from None
    return descriptor


def _digest(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{socket.gethostname()} pid {os.getpid()}".encode(), 0)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
