"""A data set or a run that somebody has changed: a sentence, or what is lost anew."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import krylax as kx
from krylax.cli import main
from krylax.datasets.store._commits import sealed
from krylax.datasets.store._record import configuration_hash

Tree = Callable[[Path], dict[str, bytes]]
Generate = Callable[..., kx.datasets.Dataset]
NO_OBJECT = [b"", b"{", b"{}", b"[1]", b"null", b"[" * 100_000, b"\xff"]


class Crash(BaseException):
    """Stands for a kill."""


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "copy"))


@pytest.fixture(scope="module")
def stopped(generate: Generate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of a run with some segments done, to be copied."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        left, real = 20, os.fsync

        def fsync(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash
            real(descriptor)

        patch.setattr(os, "fsync", fsync)
        with pytest.raises(Crash):
            generate(path=folder / "darcy")
    assert (folder / "darcy.partial" / "commits" / "000000.json").exists()
    return folder / "darcy.partial"


@pytest.fixture
def partial(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "darcy.partial"))


def replaced_by(kind: str, place: Path, elsewhere: Path) -> None:
    """Put something else in the place of a file or folder, which is moved."""
    if os.path.lexists(place):
        shutil.move(place, elsewhere)
    else:
        elsewhere.write_text("precious")
    if kind == "link":
        place.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(place)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("link", "solution/c/0/0/0"),
        ("pipe", "solution/c/0/0/0"),
        ("link", "coefficient"),
        ("link", "zarr.json"),
        ("pipe", "README.md"),
        ("link", "extra"),
    ],
)
def test_what_is_no_plain_file_or_folder_is_refused(
    copy: Path, tmp_path: Path, kind: str, place: str
) -> None:
    replaced_by(kind, copy / place, tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=f"{place} is a .*plain"):
        kx.datasets.open_dataset(copy)
    problems = kx.datasets.verify(copy).problems
    assert problems[0].startswith(f"file {place}: ")


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_manifest_that_is_no_plain_file_is_refused(
    copy: Path, tmp_path: Path, kind: str
) -> None:
    replaced_by(kind, copy / "manifest.json", tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"manifest\.json is a"):
        kx.datasets.verify(copy)


@pytest.mark.parametrize(
    "data", [*NO_OBJECT, b'{"sha256": ["x"]}', b'{"sha256":{"x":1}}']
)
def test_a_damaged_manifest_is_a_sentence(
    copy: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    (copy / "manifest.json").write_bytes(data)
    assert main(["verify", str(copy)]) == 2
    said = capsys.readouterr().err
    assert "manifest.json is damaged" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": "1"},
        {"failed": [99]},
        {"failed": ["0"]},
        {"sample_arrays": None},
        {"sample_arrays": []},
        {"coordinate_arrays": ["../x"]},
        {"configuration": {}},
        {"configuration": [1]},
        {"configuration_hash": "0"},
        {"card": {}},
        {"status_names": [0]},
    ],
)
def test_hostile_attributes_are_a_sentence(copy: Path, change: dict[str, Any]) -> None:
    metadata = json.loads((copy / "zarr.json").read_text())
    metadata["attributes"] |= change
    (copy / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=r"zarr\.json is damaged"):
        kx.datasets.open_dataset(copy)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"null", b"[" * 100_000, b"\xff"])
def test_metadata_that_are_no_object_are_a_sentence(copy: Path, data: bytes) -> None:
    (copy / "zarr.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"zarr\.json is damaged"):
        kx.datasets.open_dataset(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**12]},
        {"codecs": [{"name": "none of ours"}]},
        {"data_type": "chalk"},
        {"node_type": "group"},
        {"chunk_grid": None},
    ],
)
@pytest.mark.parametrize("command", ["info", "verify"])
def test_hostile_metadata_of_an_array_are_a_sentence(
    copy: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], command: str
) -> None:
    place = copy / "num_steps" / "zarr.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | change))
    assert main([command, str(copy)]) in (1, 2)
    assert "num_steps" in capsys.readouterr().err


def test_a_data_set_of_a_family_that_is_not_imported_is_read(copy: Path) -> None:
    metadata = json.loads((copy / "zarr.json").read_text())
    configuration = metadata["attributes"]["configuration"]
    configuration["family"]["type"] = "Stokes"
    metadata["attributes"]["configuration_hash"] = configuration_hash(configuration)
    (copy / "zarr.json").write_text(json.dumps(metadata))
    dataset = kx.datasets.open_dataset(copy)
    assert dataset[3]["solution"].shape == (10, 8)
    with pytest.raises(ValueError, match="'Stokes' is not known"):
        _ = dataset.family


def test_a_solution_of_another_shape_is_refused(copy: Path) -> None:
    place = copy / "solution" / "zarr.json"
    shape = {"shape": [8, 10, 9]}
    place.write_text(json.dumps(json.loads(place.read_text()) | shape))
    with pytest.raises(ValueError, match=r"solution/zarr\.json is damaged"):
        kx.datasets.open_dataset(copy)[0]


def test_a_chunk_that_cannot_be_decoded_is_a_sentence(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "num_steps" / "c" / "0").write_bytes(b"nothing")
    assert main(["info", str(copy)]) == 2
    assert "num_steps is damaged" in capsys.readouterr().err


def test_a_family_that_cannot_be_made_is_a_sentence(copy: Path) -> None:
    dataset = kx.datasets.open_dataset(copy)
    dataset.configuration["family"]["colour"] = "red"
    with pytest.raises(ValueError, match="cannot be made"):
        _ = dataset.family


@pytest.mark.parametrize(
    "place",
    [
        "krylax-run",
        "run.lock",
        "config.json",
        "config.json.tmp",
        "order.npy",
        "order.npy.tmp",
        "segments",
        "commits",
        "published",
        "commits/000000.json",
        "segments/000001.solution.npy.tmp",
    ],
)
def test_a_link_in_a_working_folder_is_never_written_through(
    generate: Generate, partial: Path, tmp_path: Path, tree: Tree, place: str
) -> None:
    for name in (place, "published"):
        if (partial / name).is_dir():
            shutil.rmtree(partial / name)
            (partial / name).mkdir()
    elsewhere = tmp_path / "elsewhere"
    replaced_by("link", partial / place, elsewhere)
    before = tree(tmp_path)
    with pytest.raises(ValueError, match=f"{place} is a symbolic link"):
        generate(path=tmp_path / "darcy")
    after = tree(tmp_path)
    # The lock is ours, and signed.
    assert {**before, "darcy.partial/run.lock": b""} == {
        **after,
        "darcy.partial/run.lock": b"",
    }


def test_a_pipe_in_a_working_folder_is_refused(
    generate: Generate, partial: Path, tmp_path: Path
) -> None:
    os.mkfifo(partial / "commits" / "000007.json")
    with pytest.raises(ValueError, match="is a named pipe"):
        generate(path=tmp_path / "darcy")


def unbounded(record: dict[str, Any]) -> bytes:
    """A record as earlier versions wrote it: without what rounding allows."""
    del record["sha256"]
    for sample in record["samples"]:
        del sample["attainable"]
    return sealed(record)


def altered(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "samples": [{**s, "status": 3} for s in record["samples"]]}


@pytest.mark.parametrize(
    "damage",
    [
        *NO_OBJECT,
        lambda text: text[: len(text) // 2],
        lambda text: json.dumps(altered(json.loads(text))).encode(),
        lambda text: unbounded(json.loads(text)),
    ],
)
def test_a_segment_with_a_damaged_record_is_solved_again(
    generate: Generate,
    partial: Path,
    published: Path,
    tmp_path: Path,
    tree: Tree,
    damage: Any,
) -> None:
    commit = partial / "commits" / "000000.json"
    is_bytes = isinstance(damage, bytes)
    commit.write_bytes(damage if is_bytes else damage(commit.read_bytes()))
    generate(path=tmp_path / "darcy")
    assert tree(tmp_path / "darcy") == tree(published)


@pytest.mark.parametrize("damage", ["empty", "truncated", "repeated", "other", "gone"])
def test_a_damaged_order_is_found_again(
    generate: Generate,
    partial: Path,
    published: Path,
    tmp_path: Path,
    tree: Tree,
    damage: str,
) -> None:
    place = partial / "order.npy"
    if damage == "empty":
        place.write_bytes(b"")
    elif damage == "truncated":
        place.write_bytes(place.read_bytes()[:-3])
    elif damage == "repeated":
        np.save(place, np.zeros(8, np.int64))
    elif damage == "other":
        np.save(place, np.arange(8)[::-1])
    else:
        place.unlink()
    generate(path=tmp_path / "darcy")
    assert tree(tmp_path / "darcy") == tree(published)


@pytest.mark.parametrize("data", NO_OBJECT)
def test_a_damaged_configuration_of_a_run_says_what_to_do(
    generate: Generate, partial: Path, tmp_path: Path, data: bytes
) -> None:
    (partial / "config.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"config\.json is damaged.*delete"):
        generate(path=tmp_path / "darcy")


def test_a_run_whose_configuration_is_gone_is_continued_or_left_alone(
    generate: Generate, partial: Path, published: Path, tmp_path: Path, tree: Tree
) -> None:
    (partial / "config.json").unlink()
    commits = tree(partial / "commits")
    with pytest.raises(FileExistsError, match="another configuration, which is lost"):
        generate(path=tmp_path / "darcy", segment_size=4)
    assert tree(partial / "commits") == commits
    generate(path=tmp_path / "darcy")
    assert tree(tmp_path / "darcy") == tree(published)


def test_a_run_with_the_configuration_alone_is_continued(
    generate: Generate, partial: Path, published: Path, tmp_path: Path, tree: Tree
) -> None:
    stored = json.loads((partial / "config.json").read_text())["configuration"]
    (partial / "config.json").write_text(json.dumps(stored))
    generate(path=tmp_path / "darcy")
    assert tree(tmp_path / "darcy") == tree(published)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_picture_is_not_drawn_over_what_is_no_plain_file(
    published: Path, tmp_path: Path, kind: str
) -> None:
    replaced_by(kind, tmp_path / "a.png", tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"a\.png is a"):
        kx.datasets.preview(published, 1, tmp_path / "a.png")
    assert (tmp_path / "elsewhere").read_text() == "precious"
