"""The preview picture and the estimate before a run."""

from pathlib import Path

import pytest

import krylax as kx


def test_a_preview_is_a_picture_beside_the_data_set(published: Path) -> None:
    place = kx.datasets.preview(published, num_samples=2)
    assert place == published.with_name("darcy.png")
    assert place.read_bytes().startswith(b"\x89PNG")
    place.unlink()


@pytest.mark.parametrize("shape", [(12,), (5, 4, 3)])
def test_lines_and_slices_are_drawn(tmp_path: Path, shape: tuple[int, ...]) -> None:
    family = kx.datasets.Darcy(num_points=shape)
    solver = kx.solvers.CG(rtol=1e-8)
    kx.datasets.generate(family, 1, tmp_path / "a", solver, progress=False)
    place = kx.datasets.preview(tmp_path / "a", out=tmp_path / "b.png")
    assert place.stat().st_size > 5000


def test_a_preview_of_nothing_is_refused(published: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        kx.datasets.preview(published, num_samples=0)


def test_an_estimate_counts_bytes_and_time(tmp_path: Path) -> None:
    family = kx.datasets.Darcy(num_points=(8, 8))
    solver = kx.solvers.CG(rtol=1e-8)
    cost = kx.datasets.estimate(family, 1000, tmp_path / "no" / "where", solver)
    arrays = 1000 * 2 * 64 * 8
    assert arrays < cost.published_bytes < 3 * arrays + 1_000_000
    assert cost.peak_bytes == cost.published_bytes + arrays
    assert cost.seconds == pytest.approx(cost.milliseconds_per_system)
