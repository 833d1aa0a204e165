"""Runs that cannot fit are refused before anything is made, with their sizes."""

import time
from pathlib import Path
from typing import Any

import pytest

import krylax as kx
from krylax.datasets.generation import _sizes

PETA = 10**15


@pytest.fixture
def much_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10**30})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)


@pytest.mark.parametrize(
    ("num_points", "options", "message"),
    [
        ((64, 64), {"num_samples": 10**12}, r"needs 132 PB"),
        ((100_000, 100_000), {"num_samples": 4}, r"needs 1.28 TB"),
        ((10**9, 10**12), {"num_samples": 4}, "larger than an array can be"),
        ((64, 64), {"num_samples": 10**40}, "num_samples must be"),
    ],
)
def test_sizes_that_cannot_be_are_refused_at_once(
    tmp_path: Path, num_points: Any, options: Any, message: str
) -> None:
    family = kx.datasets.Darcy(num_points=num_points)
    start = time.perf_counter()
    with pytest.raises((ValueError, kx.datasets.OutOfSpaceError), match=message):
        kx.datasets.generate(family, path=tmp_path / "a", **options)
    assert time.perf_counter() - start < 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("much_disk")
@pytest.mark.parametrize(
    ("num_points", "options"),
    [
        ((100_000, 100_000), {"num_samples": 4}),
        # The noise is drawn for a square.
        ((1_000_000, 4), {"num_samples": 4}),
        ((64, 64), {"num_samples": 10**12, "ordering": "none"}),
        ((64, 64), {"num_samples": 10**9, "segment_size": 10**9}),
    ],
)
def test_what_does_not_fit_into_the_memory_is_refused_at_once(
    tmp_path: Path, num_points: Any, options: Any
) -> None:
    family = kx.datasets.Darcy(num_points=num_points)
    with pytest.raises(ValueError, match=r"need at least .* of memory, and this"):
        kx.datasets.generate(family, path=tmp_path / "a", **options)
    assert list(tmp_path.iterdir()) == []


def test_features_and_workers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    family = kx.datasets.Darcy(num_points=(16, 16))
    monkeypatch.setattr(_sizes, "memory_bytes", lambda: 30_000_000)
    _sizes.check_memory(family, 20_000, segment_size=128)
    with pytest.raises(ValueError, match=r"need at least 57.* MB of memory"):
        _sizes.check_memory(family, 20_000, segment_size=128, ordering="greedy")
    with pytest.raises(ValueError, match="solved by 100 workers"):
        _sizes.check_memory(family, 20_000, segment_size=128, num_workers=100)


@pytest.mark.parametrize("call", [kx.datasets.plan, kx.datasets.estimate])
def test_plan_and_estimate_refuse_what_does_not_fit(call: Any, tmp_path: Path) -> None:
    family = kx.datasets.Darcy(num_points=(100_000, 100_000))
    options = {} if call is kx.datasets.plan else {"num_samples": 4, "path": tmp_path}
    with pytest.raises(ValueError, match="need at least"):
        call(family, **options)


def test_what_a_run_has_written_counts_as_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = kx.datasets.Darcy(num_points=(16, 16))
    monkeypatch.setattr(_sizes, "free_bytes", lambda folder: 1_060_000)
    with pytest.raises(kx.datasets.OutOfSpaceError, match="0 of 8 samples committed"):
        _sizes.check_disk(family, 8, tmp_path / "a")
    folder = tmp_path / "a.partial"
    folder.mkdir()
    (folder / "krylax-run").touch()
    (folder / "rest").write_bytes(bytes(4 * 4096))
    _sizes.check_disk(family, 8, tmp_path / "a")
