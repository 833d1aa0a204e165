"""What cannot be written is told before a method is planned, which takes a while."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import krylax as kx
from krylax.datasets.generation import _method_request

DARCY = kx.datasets.Darcy(num_points=(8, 8))


@pytest.fixture(autouse=True)
def no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a plan was made")

    monkeypatch.setattr(_method_request, "plan", refuse)


def generate(path: Path, **options: Any) -> Any:
    settings = {"family": DARCY, "num_samples": 4, "progress": False}
    return kx.datasets.generate(path=path, **(settings | options))


def test_file_in_the_place_of_a_folder_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="file is no folder; choose another path"):
        generate(tmp_path / "file" / "darcy")


def test_something_else_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "darcy").mkdir()
    with pytest.raises(FileExistsError, match=r"is not a krylax data set: .*another"):
        generate(tmp_path / "darcy", solver=kx.solvers.CG(rtol=1e-8))


def test_working_folder_of_somebody_else_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "darcy.partial").mkdir()
    (tmp_path / "darcy.partial" / "notes").write_text("")
    with pytest.raises(FileExistsError, match="was not made by krylax"):
        generate(tmp_path / "darcy")


def test_folder_that_may_not_be_written_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An administrator may write everywhere.
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="may not be written to; choose another"):
        generate(tmp_path / "darcy")


@pytest.mark.parametrize("options", [{"num_samples": 5}, {"ordering": "none"}])
def test_another_configuration_is_told_first(
    published: Path, options: dict[str, Any]
) -> None:
    family = kx.datasets.open_dataset(published).family
    with pytest.raises(FileExistsError, match=f"{next(iter(options))}: .* -> "):
        generate(published, family=family, **options)


@pytest.mark.parametrize("read", [kx.datasets.open_dataset, kx.datasets.verify])
def test_working_folder_is_told_from_a_data_set(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    folder = tmp_path / "darcy.partial"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="interrupted run, not a data set"):
        read(folder)
