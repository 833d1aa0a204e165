"""Opening and reading a published data set."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import krylax as kx


@pytest.fixture
def dataset(published: Path) -> kx.datasets.Dataset:
    return kx.datasets.open_dataset(published)


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "copy"))


def test_names_lead_to_arrays_over_all_samples(dataset: kx.datasets.Dataset) -> None:
    shapes = {name: dataset[name].shape for name in dataset.names}
    assert shapes["coefficient"] == shapes["solution"] == (8, 10, 8)
    assert {shapes[name] for name in dataset.names[2:]} == {(8,)}


@pytest.mark.parametrize("index", [0, 7, -1, np.int64(3)])
def test_a_sample_is_its_row_of_every_array(
    dataset: kx.datasets.Dataset, index: Any
) -> None:
    sample = dataset[index]
    assert tuple(sample) == dataset.names
    for name in dataset.names:
        np.testing.assert_array_equal(sample[name], dataset[name][...][index])


def test_iteration_visits_every_sample(dataset: kx.datasets.Dataset) -> None:
    positions = [int(sample["solve_position"]) for sample in dataset]
    assert sorted(positions) == list(range(len(dataset)))


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (8, IndexError, "no sample 8; there are 8"),
        (-9, IndexError, "no sample -9; there are 8"),
        ("u", KeyError, "no array 'u'"),
        (1.0, TypeError, "got 1.0"),
    ],
)
def test_a_wrong_key_is_refused(
    dataset: kx.datasets.Dataset, key: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dataset[key]


def test_the_family_is_rebuilt(
    dataset: kx.datasets.Dataset, family: kx.datasets.Darcy
) -> None:
    assert dataset.family == family


def test_coordinates_are_the_cell_centres(dataset: kx.datasets.Dataset) -> None:
    np.testing.assert_allclose(dataset.coordinates["x"][[0, -1]], [0.05, 0.95])
    np.testing.assert_allclose(dataset.coordinates["y"][[0, -1]], [0.0625, 0.9375])


def test_provenance_names_seed_versions_and_configuration(
    dataset: kx.datasets.Dataset,
) -> None:
    provenance = dataset.provenance
    assert provenance["seed"] == 0
    assert provenance["versions"]["krylax"] == kx.__version__
    assert len(provenance["configuration_hash"]) == 64
    assert provenance["configuration"]["solver"]["rtol"] == 1e-8


def test_repr_and_description_say_what_it_is(dataset: kx.datasets.Dataset) -> None:
    assert "Darcy flow in 2-D, 8 samples" in repr(dataset)
    assert "solution: float64 (8, 10, 8)" in kx.datasets.describe(dataset)


def test_zarr_alone_reads_the_solution(published: Path) -> None:
    zarr = pytest.importorskip("zarr")
    solution = zarr.open_group(str(published), mode="r")["solution"]
    assert np.all(np.isfinite(solution[...]))


def test_a_missing_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no data set"):
        kx.datasets.open_dataset(tmp_path / "nothing")


def test_a_partial_run_says_how_to_continue(tmp_path: Path) -> None:
    (tmp_path / "darcy.partial").mkdir()
    (tmp_path / "darcy.partial" / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="to continue"):
        kx.datasets.open_dataset(tmp_path / "darcy")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"format": "something"}, "not a krylax data set"),
        ({"format": "krylax", "format_version": 999}, "upgrade krylax"),
    ],
)
def test_a_foreign_or_newer_data_set_is_refused(
    copy: Path, attributes: dict[str, Any], message: str
) -> None:
    metadata = json.loads((copy / "zarr.json").read_text())
    metadata["attributes"] = attributes
    (copy / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=message):
        kx.datasets.open_dataset(copy)


def test_a_folder_without_zarr_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a krylax data set"):
        kx.datasets.open_dataset(tmp_path)


def test_an_unknown_family_is_named(dataset: kx.datasets.Dataset) -> None:
    dataset.configuration["family"]["type"] = "Stokes"
    with pytest.raises(ValueError, match=r"Stokes.*Darcy"):
        _ = dataset.family


@pytest.fixture
def spoiled(copy: Path, request: pytest.FixtureRequest) -> Path:
    file = copy / request.param
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    return copy


@pytest.mark.parametrize(
    "spoiled",
    ["solution/c/1/0/0", "coefficient/c/0/0/0", "README.md", "zarr.json", "x/c/0"],
    indirect=True,
)
def test_verify_names_the_file_with_a_flipped_bit(
    spoiled: Path, request: pytest.FixtureRequest
) -> None:
    problems = kx.datasets.verify(spoiled).problems
    assert problems[0].startswith("file ")
    assert request.node.callspec.params["spoiled"] in problems[0]


def test_verify_finds_all_well(published: Path) -> None:
    report = kx.datasets.verify(published)
    assert report.ok
    assert report.num_samples == 8
    assert 0 < report.worst_residual <= 1e-8


def test_verify_finds_missing_and_extra_files(copy: Path) -> None:
    (copy / "y" / "c" / "0").unlink()
    (copy / "notes.txt").write_text("mine")
    problems = kx.datasets.verify(copy).problems
    assert problems[:2] == (
        "file y/c/0: missing (array y)",
        "file notes.txt: not in the manifest",
    )


def test_verify_computes_the_residuals_itself(copy: Path) -> None:
    zarr = pytest.importorskip("zarr")
    solution = zarr.open_group(str(copy), mode="r+")["solution"]
    solution[4] = solution[4] * 1.001
    problems = kx.datasets.verify(copy).problems
    assert any("sample 4: array solution has relative residual" in p for p in problems)


def test_verify_needs_the_manifest(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(ValueError, match="cannot be verified"):
        kx.datasets.verify(copy)
