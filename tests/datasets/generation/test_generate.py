"""What generate publishes, and what it refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import krylax as kx
from krylax.datasets.generation._workers import WorkerDiedError

Tree = Callable[[Path], dict[str, bytes]]
Generate = Callable[..., kx.datasets.Dataset]


@pytest.fixture(scope="module")
def some_fail(tmp_path_factory: pytest.TempPathFactory) -> kx.datasets.Dataset:
    """A data set whose solver stops two steps before its hardest system is solved."""
    folder = tmp_path_factory.mktemp("failures")
    family = kx.datasets.Darcy(
        num_points=(20, 20), coefficient="log_normal", log_scale=4.0
    )
    solver = kx.solvers.CG(rtol=1e-8)
    full = kx.datasets.generate(family, 8, folder / "all", solver, progress=False)
    steps = full["num_steps"][...]
    # The solver aims a little below rtol, so one step too few may still be enough.
    limited = kx.solvers.CG(rtol=1e-8, max_steps=int(steps.max()) - 2)
    path = folder / "some"
    with pytest.warns(
        kx.datasets.FailedSamplesWarning, match=r"of 8 samples .* failed"
    ):
        return kx.datasets.generate(family, 8, path, limited, progress=False)


def test_every_sample_is_certified(generate: Generate, tmp_path: Path) -> None:
    dataset = generate(path=tmp_path / "darcy")
    assert dataset.good.tolist() == list(range(8))
    assert np.all(dataset["relative_residual"][...] <= 1e-8)


def test_the_working_folder_is_gone_when_all_is_done(published: Path) -> None:
    names = [path.name for path in published.parent.iterdir()]
    assert names == ["darcy"]


def test_samples_are_published_in_id_order(
    published: Path, family: kx.datasets.Darcy
) -> None:
    dataset = kx.datasets.open_dataset(published)
    expected = [family.sample(i)["coefficient"] for i in range(8)]
    np.testing.assert_array_equal(dataset["coefficient"][...], expected)


def test_solve_positions_are_the_greedy_order(
    published: Path, family: kx.datasets.Darcy
) -> None:
    dataset = kx.datasets.open_dataset(published)
    features = np.stack([family.features(family.sample(i)) for i in range(8)])
    order = kx.solvers.sequences.greedy_order(features)
    assert np.argsort(dataset["solve_position"][...]).tolist() == order.tolist()


def test_without_ordering_samples_are_solved_by_id(
    generate: Generate, tmp_path: Path
) -> None:
    dataset = generate(path=tmp_path / "plain", ordering="none")
    assert dataset["solve_position"][...].tolist() == list(range(8))


def test_two_calls_publish_the_same_bytes(
    generate: Generate, published: Path, tree: Tree, tmp_path: Path
) -> None:
    generate(path=tmp_path / "again")
    assert tree(tmp_path / "again") == tree(published)


@pytest.mark.slow
def test_two_workers_publish_the_same_bytes_as_one(
    generate: Generate, published: Path, tree: Tree, tmp_path: Path
) -> None:
    generate(path=tmp_path / "two", num_workers=2)
    assert tree(tmp_path / "two") == tree(published)


def test_a_finished_data_set_is_only_opened(
    generate: Generate, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kx.datasets.Darcy, "sample", None)
    assert len(generate(path=published)) == 8


def test_what_did_not_converge_is_a_failure_and_holds_nothing(some_fail: Any) -> None:
    failed = list(some_fail.failed)
    solutions, status = some_fail["solution"][...], some_fail["status"][...]
    assert 0 < len(failed) < len(some_fail)
    assert np.all(np.isnan(solutions[failed]))
    assert np.all(np.isfinite(solutions[some_fail.good]))
    assert set(status[failed]) == {kx.Status.max_steps_reached}


def test_failures_are_reported_and_verified(some_fail: Any) -> None:
    assert kx.datasets.verify(some_fail.path).ok
    assert "max_steps_reached" in kx.datasets.describe(some_fail)
    assert f"{len(some_fail.failed)} failed" in repr(some_fail)


def test_nothing_is_published_when_every_sample_failed(
    generate: Generate, tmp_path: Path
) -> None:
    hopeless = kx.solvers.GCRODR(rtol=1e-8, restart=20, num_recycled=8, max_steps=2)
    path = tmp_path / "darcy"
    with pytest.raises(RuntimeError, match=r"8 max_steps_reached.*darcy\.partial"):
        generate(path=path, solver=hopeless)
    assert [entry.name for entry in tmp_path.iterdir()] == ["darcy.partial"]
    assert len(generate(path=path, solver=hopeless, allow_failures=True).failed) == 8
    with pytest.raises(RuntimeError, match="every sample failed"):
        generate(path=path, solver=hopeless)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"num_samples": 9}, "num_samples: 8 -> 9"),
        ({"segment_size": 4}, "segment_size: 3 -> 4"),
        ({"preconditioner": None}, "preconditioner"),
        ({"solver": kx.solvers.CG(rtol=1e-8)}, 'solver.type: "GCRODR" -> "CG"'),
        (
            {"family": kx.datasets.Darcy(num_points=(10, 8), high=13.0)},
            "family.high: 12.0 -> 13.0",
        ),
    ],
)
def test_another_configuration_is_refused_with_the_difference(
    published: Path,
    family: kx.datasets.Darcy,
    solver: Any,
    change: dict[str, Any],
    difference: str,
) -> None:
    options = {"family": family, "num_samples": 8, "solver": solver, **change}
    with pytest.raises(FileExistsError, match=difference):
        kx.datasets.generate(path=published, **{"segment_size": 3, **options})


@pytest.mark.parametrize(
    "name", ["", "..", "a/..", ".hidden", "a b", "x" * 101, "run.partial", "na\0me"]
)
def test_an_unsafe_path_is_refused(
    generate: Generate, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="name of a data set must"):
        generate(path=f"{tmp_path}/x/../{name}" if name else "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["darcy", "darcy.partial"])
def test_a_symbolic_link_is_not_followed(
    generate: Generate, tmp_path: Path, name: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="symbolic link"):
        generate(path=tmp_path / "darcy")


@pytest.mark.parametrize("name", ["darcy", "darcy.partial"])
def test_a_folder_that_is_not_ours_is_left_alone(
    generate: Generate, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("precious")
    with pytest.raises((FileExistsError, ValueError), match="krylax"):
        generate(path=tmp_path / "darcy")
    assert (tmp_path / name / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize(
    "options",
    [
        {"num_samples": 0},
        {"segment_size": 0},
        {"num_workers": 0},
        {"preconditioner": "jacobi"},
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    family: kx.datasets.Darcy, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="must be"):
        kx.datasets.generate(
            family, path=tmp_path / "darcy", **{"num_samples": 8, **options}
        )
    assert list(tmp_path.iterdir()) == []


def test_a_solver_that_cannot_be_recorded_is_refused(
    family: kx.datasets.Darcy, solver: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="could not be recorded"):
        kx.datasets.generate(
            family, 8, tmp_path / "darcy", solver, preconditioner=lambda A: A
        )


def test_a_used_up_configuration_without_results_can_be_replaced(
    generate: Generate, published: Path, tree: Tree, tmp_path: Path
) -> None:
    hopeless = kx.solvers.GCRODR(rtol=1e-30, restart=20, num_recycled=8)
    with pytest.raises(ValueError, match="rtol"):
        generate(path=tmp_path / "darcy", solver=hopeless)
    generate(path=tmp_path / "darcy")
    assert tree(tmp_path / "darcy") == tree(published)


def test_three_dimensions_and_one_are_published_too(tmp_path: Path) -> None:
    for name, shape in (("line", (9,)), ("cube", (5, 4, 3))):
        family = kx.datasets.Darcy(num_points=shape)
        solver = kx.solvers.CG(rtol=1e-8)
        dataset = kx.datasets.generate(
            family, 2, tmp_path / name, solver, progress=False
        )
        assert dataset["solution"].shape == (2, *shape)
        assert kx.datasets.verify(tmp_path / name).ok


def test_the_data_card_says_what_the_data_are(published: Path) -> None:
    card = (published / "README.md").read_text()
    for text in ("-div(k grad u) = f", "[0, 1]^2", "8 certified, 0 failed", "1e-08"):
        assert text in card


def test_a_moved_data_set_opens(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "moved")
    assert kx.datasets.verify(tmp_path / "moved").ok


def test_a_dead_worker_is_reported_with_what_is_safe(
    generate: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise WorkerDiedError

    monkeypatch.setattr("krylax.datasets.generation._run.solve_all", die)
    with pytest.raises(RuntimeError, match="0 of 8 samples are committed"):
        generate(path=tmp_path / "darcy", num_workers=2)
