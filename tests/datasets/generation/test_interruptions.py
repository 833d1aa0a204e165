"""A run stopped at any moment is finished by the same call, with the same bytes."""

import errno
import fcntl
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import krylax as kx

Tree = Callable[[Path], dict[str, bytes]]
Generate = Callable[..., kx.datasets.Dataset]
FailAt = Callable[[int, BaseException], list[str]]
# More than the changes of the file system that one run makes.
_NUM_CHANGES = 190

# Runs one after the other, each killed after so many changes. The packages are imported
# once, and JAX starts its threads after the fork.
_SCRIPT = """
import os, signal, sys
from functools import partial
import jax
jax.config.update("jax_enable_x64", True)
import krylax as kx
import krylax.datasets, krylax.solvers

for argument in sys.argv[2:]:
    left = int(argument)
    child = os.fork()
    if child == 0:
        break
    _, status = os.waitpid(child, 0)
    # Else a child that ends by itself prints it again.
    print(os.waitstatus_to_exitcode(status), flush=True)
else:
    sys.exit()

def counted(real, *args, **options):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)

for name in ("fsync", "replace", "rename", "unlink", "rmdir"):
    setattr(os, name, partial(counted, getattr(os, name)))
kx.datasets.generate(
    kx.datasets.Darcy(num_points=(10, 8)), 8, sys.argv[1],
    kx.solvers.GCRODR(rtol=1e-8, restart=20, num_recycled=8),
    segment_size=3, progress=False,
)
"""


class Crash(BaseException):
    """Stands for a kill where a test wants to stay in one process."""


@pytest.mark.parametrize("n", range(1, _NUM_CHANGES, 4))
def test_a_crash_at_any_change_is_made_good_by_the_same_call(
    generate: Generate,
    published: Path,
    tree: Tree,
    tmp_path: Path,
    fail_at: FailAt,
    monkeypatch: pytest.MonkeyPatch,
    n: int,
) -> None:
    with monkeypatch.context():
        calls = fail_at(n, Crash())
        crashed = _raises(Crash, lambda: generate(path=tmp_path / "darcy"))
    assert crashed == (len(calls) >= n)
    monkeypatch.undo()
    generate(path=tmp_path / "darcy")
    assert tree(tmp_path / "darcy") == tree(published)
    assert [path.name for path in tmp_path.iterdir()] == ["darcy"]


@pytest.mark.parametrize("n", range(1, _NUM_CHANGES, 4))
def test_a_full_disk_at_any_change_loses_nothing(
    generate: Generate,
    published: Path,
    tree: Tree,
    tmp_path: Path,
    fail_at: FailAt,
    monkeypatch: pytest.MonkeyPatch,
    n: int,
) -> None:
    fail_at(n, OSError(errno.ENOSPC, "No space left on device"))
    _raises(kx.datasets.OutOfSpaceError, lambda: generate(path=tmp_path / "darcy"))
    monkeypatch.undo()
    generate(path=tmp_path / "darcy")
    assert tree(tmp_path / "darcy") == tree(published)


def test_a_full_disk_says_what_is_safe_and_what_to_do(
    generate: Generate, tmp_path: Path, fail_at: FailAt
) -> None:
    fail_at(20, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match=r"[36] of 8 samples committed.*free \d+\.\d GB"):
        generate(path=tmp_path / "darcy")


def test_too_little_space_is_seen_before_it_is_needed(
    generate: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(kx.datasets.OutOfSpaceError, match="0 of 8 samples committed"):
        generate(path=tmp_path / "darcy")


@pytest.mark.slow
def test_twenty_kills_in_a_row_publish_the_same_bytes(
    published: Path, generate: Generate, tree: Tree, tmp_path: Path
) -> None:
    path = tmp_path / "darcy"
    choices = random.Random(0)
    # Enough changes to get past the recovery now and then, and never to the end.
    changes = [choices.randint(1, 90) for _ in range(20)]
    codes = _run_script(path, changes)
    assert len(codes) == 20
    assert set(codes) <= {-signal.SIGKILL, 0}
    assert codes.count(-signal.SIGKILL) >= 15
    generate(path=path)
    assert tree(path) == tree(published)
    assert [entry.name for entry in tmp_path.iterdir()] == ["darcy"]


def test_a_committed_segment_is_not_solved_again(
    generate: Generate, tmp_path: Path, fail_at: FailAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(20, Crash())
    _raises(Crash, lambda: generate(path=tmp_path / "darcy"))
    monkeypatch.undo()
    commit = tmp_path / "darcy.partial" / "commits" / "000000.json"
    before = commit.stat().st_mtime_ns
    fail_at(12, Crash())
    _raises(Crash, lambda: generate(path=tmp_path / "darcy"))
    assert commit.stat().st_mtime_ns == before


def test_a_damaged_segment_is_solved_again(
    generate: Generate,
    published: Path,
    tree: Tree,
    tmp_path: Path,
    fail_at: FailAt,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_at(20, Crash())
    _raises(Crash, lambda: generate(path=tmp_path / "darcy"))
    monkeypatch.undo()
    file = tmp_path / "darcy.partial" / "segments" / "000000.solution.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    generate(path=tmp_path / "darcy")
    assert tree(tmp_path / "darcy") == tree(published)


def test_an_interrupted_run_of_another_configuration_is_refused(
    generate: Generate, tmp_path: Path, fail_at: FailAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(20, Crash())
    _raises(Crash, lambda: generate(path=tmp_path / "darcy"))
    monkeypatch.undo()
    with pytest.raises(FileExistsError, match="segment_size: 3 -> 4"):
        generate(path=tmp_path / "darcy", segment_size=4)


def test_a_damaged_configuration_is_named_with_the_remedy(
    generate: Callable[..., Any], tmp_path: Path
) -> None:
    partial_folder = tmp_path / "darcy.partial"
    partial_folder.mkdir()
    (partial_folder / "krylax-run").touch()
    (partial_folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged .*: delete"):
        generate(path=tmp_path / "darcy")


def test_without_resume_an_interrupted_run_is_refused(
    generate: Generate, tmp_path: Path, fail_at: FailAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(20, Crash())
    _raises(Crash, lambda: generate(path=tmp_path / "darcy"))
    monkeypatch.undo()
    with pytest.raises(FileExistsError, match="resume=True"):
        generate(path=tmp_path / "darcy", resume=False)


def test_a_second_process_learns_who_works_there(
    generate: Generate, tmp_path: Path
) -> None:
    (tmp_path / "darcy.partial").mkdir()
    with open(tmp_path / "darcy.partial" / "run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("somewhere pid 7")
        lock.flush()
        with pytest.raises(BlockingIOError, match="somewhere pid 7"):
            generate(path=tmp_path / "darcy")


def test_a_link_in_the_place_of_the_lock_is_not_followed(
    generate: Generate, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    (tmp_path / "darcy.partial").mkdir()
    (tmp_path / "darcy.partial" / "run.lock").symlink_to(tmp_path / "thesis.tex")
    with pytest.raises(ValueError, match="symbolic link"):
        generate(path=tmp_path / "darcy")
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_commits_keep_what_the_data_set_must_not(
    generate: Generate, tmp_path: Path, fail_at: FailAt
) -> None:
    fail_at(20, Crash())
    _raises(Crash, lambda: generate(path=tmp_path / "darcy"))
    commit = tmp_path / "darcy.partial" / "commits" / "000000.json"
    record = json.loads(commit.read_text())
    assert {"host", "versions", "configuration_hash", "files"} < set(record)
    assert all(sample["wall_seconds"] > 0 for sample in record["samples"])


def _raises(kind: type[BaseException], call: Callable[[], object]) -> bool:
    try:
        call()
    except kind:
        return True
    return False


def _run_script(path: Path, changes: list[int]) -> list[int]:
    """Exit codes of the runs."""
    command = [sys.executable, "-c", _SCRIPT, str(path), *map(str, changes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [int(line) for line in done.stdout.split()]
