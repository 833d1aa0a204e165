"""The commands of learned maps, called as the console script calls them."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import krylax as kx
from krylax._training_data import read
from krylax.cli import main
from krylax.learned import neural_operators as no
from krylax.learned import training
from krylax.learned.training import _run_folder

from .learned.training import models

Captured = pytest.CaptureFixture[str]
CONFIG = """
folder = "{folder}"
[model]
class = "Pointwise"
in_channels = 1
out_channels = 1
width = 3
[data]
path = "{data}"
inputs = ["coefficient"]
outputs = ["solution"]
num_train = 4
num_validation = 2
[training]
num_epochs = 2
batch_size = 2
progress = false
"""


@pytest.fixture(scope="module")
def darcy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "darcy"
    family = kx.datasets.Darcy(num_points=(6, 5))
    solver = kx.solvers.GCRODR(rtol=1e-8, restart=20, num_recycled=4)
    kx.datasets.generate(family, 7, path, solver, progress=False)
    return path


def write(folder: Path, darcy: Path, old: str = "", new: str = "") -> str:
    """The file, with something in it replaced."""
    text = CONFIG.format(folder=folder / "run", data=darcy)
    assert old in text
    path = folder / "train.toml"
    path.write_text(text.replace(old, new) if old else text)
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, darcy: Path) -> Path:
    """A folder of a training, by the command line."""
    assert models.Pointwise.__name__ == "Pointwise"
    folder = tmp_path_factory.mktemp("train")
    assert main(["train", write(folder, darcy)]) == 0
    return folder / "run"


def test_finished_training_is_read_again(run: Path, darcy: Path, capsys: Captured):
    before = (run / "state.safetensors").read_bytes()
    assert main(["train", write(run.parent, darcy)]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"{run}: 4 steps\nvalidation: 2 samples\n")
    assert (run / "state.safetensors").read_bytes() == before


def test_errors_are_printed(run: Path, darcy: Path, capsys: Captured):
    assert main(["evaluate", str(run), str(darcy), "--first", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{darcy}: 3 samples"
    assert [line.split()[0] for line in lines[1:]] == ["relative_l2", "h1", "vrmse"]


def test_card_is_printed_with_the_errors_on_data(
    run: Path, darcy: Path, capsys: Captured
):
    assert main(["card", str(run)]) == 0
    assert capsys.readouterr().out == (run / "card.md").read_text()
    assert main(["card", str(run), "--data", str(darcy), "--first", "4"]) == 0
    assert "Over 3 samples, in physical units." in capsys.readouterr().out


@pytest.fixture(scope="module")
def expected(run: Path, darcy: Path) -> Any:
    return training.load(run).start(kx.datasets.open_dataset(darcy)[1])


def test_predictions_are_written(run: Path, darcy: Path, expected: Any, tmp_path: Path):
    out = tmp_path / "u.npy"
    arguments = ["predict", str(run), str(darcy), "--out", str(out)]
    assert main([*arguments, "--num-samples", "2"]) == 0
    found = np.load(out)
    assert found.shape == (2, 1, 6, 5)
    assert np.allclose(found[1, 0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[data]", "[datum]", "unknown key 'datum' for the file, did you mean 'data'?"),
        ("num_epochs", "epochs", "unknown key 'epochs' for [training], did you mean"),
        ("width", "with", "unknown key 'with' for a Pointwise, did you mean 'width'?"),
        ("in_channels = 1", "", "[model] makes no Pointwise"),
        ('class = "Pointwise"', "", "[model] needs the name of its class"),
        ("Pointwise", "Grid", "'Grid' is no model; the models are"),
        ('inputs = ["coefficient"]', "", "[data] needs inputs"),
        ("num_train = 4", "num_train = 6", "asks for 6 and 2 of 7 samples"),
        ("num_train = 4", "num_train = true", "num_train must be an integer, got T"),
        ("num_train = 4\nnum_validation = 2", 'num_validation = "2"', "an integer, g"),
        ('inputs = ["coefficient"]', "inputs = 3", "inputs must be a list of names"),
        ('["coefficient"]', '["coefficient", "coefficient"]', "name each array once"),
        ('["coefficient"]', '["coeff"]', "; did you mean 'coefficient'?"),
        ("width = 3", "width = 3\nseed = 1.5", "seed must be an integer of 64 bits"),
        ("width = 3", "width = 9999999999", "[model] width must be below 2**31, got"),
        ("progress = false", 'progress = "no"', "progress must be True or False"),
        ("progress = false", "progress = false\nloss = 3", "loss must be one of rel"),
        ("num_epochs = 2", "num_epochs = 0", "num_epochs must be at least 1"),
        ("folder =", "folder = [] #", "folder must be the name of a folder"),
        ("[model]", "[model", "is not valid TOML"),
        (
            "[model]",
            "[grid]\npoints = 3\n[model]",
            "unknown key 'points' for [grid], d",
        ),
        ("[model]", "[grid]\n[model]", "[grid] needs either num_points, of equally"),
        (
            "[model]",
            "[grid]\nnum_points = [6, 4]\n[model]",
            "the fields have shape (6, 5), the grid (6, 4)",
        ),
        (
            "[model]",
            "[grid]\ncoordinates = [[0, 1, 1], [0, 1]]\n[model]",
            "[grid] makes no grid: coordinates of axis 0 must be finite and increase",
        ),
        (
            "[model]",
            "[grid]\ncoordinates = [[0, 1], [0, 2]]\nlengths = 1\n[model]",
            "[grid] makes no grid: lengths of an axis that is not periodic must be 2,",
        ),
        (
            "[model]",
            "[constraint]\n[model]",
            "constraints are tables [[constraint]], i",
        ),
        ("[model]", "[[constraint]]\n[model]", "[[constraint]] needs the name of its"),
        (
            "[model]",
            '[[constraint]]\nclass = "NoSlipp"\n[model]',
            "'NoSlipp' is no constraint; the constraints are DivergenceFree, ",
        ),
        (
            "[model]",
            '[[constraint]]\nclass = "NoSlip"\nwidth = 2\n[model]',
            "width must be a part of the distance between two walls, in (0, 0.5]",
        ),
        (
            "[model]",
            "[grid]\ncoordinates = [[0, 1], [0, 2]]\nlengths = [nan, 2]\n[model]",
            "[grid] makes no grid: lengths must be positive and finite, got nan",
        ),
        (
            "[model]",
            "[grid]\ncoordinates = 3\n[model]",
            "[grid] makes no grid: coordinates must be a list per axis, got 3",
        ),
    ],
)
def test_files_that_say_something_else_are_refused(
    tmp_path: Path, darcy: Path, capsys: Captured, old: str, new: str, message: str
):
    assert main(["train", write(tmp_path, darcy, old, new)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_only_models_are_named_as_models(tmp_path: Path, darcy: Path, capsys: Captured):
    assert main(["train", write(tmp_path, darcy, "Pointwise", "FNNO")]) == 2
    said = capsys.readouterr().err.strip().partition("the models are ")[2]
    names, _, hint = said.partition("; ")
    assert {"FNO", "UNet", "Pointwise"} <= set(names.split(", "))
    assert "Grid" not in names
    assert hint == "did you mean 'FNO'?"


GRID = """[grid]
coordinates = [[0.0, 0.1, 0.2, 0.4, 0.6, 1.0], [0.0, 0.2, 0.4, 0.6, 0.8]]
periodic = [false, true]
lengths = [1.0, 1.0]
[[constraint]]
class = "NoSlip"
width = 0.4
[model]"""


def test_grid_of_the_file_replaces_that_of_the_data_set_and_has_walls(
    tmp_path: Path, darcy: Path, capsys: Captured
):
    assert main(["train", write(tmp_path, darcy, "[model]", GRID)]) == 0
    trained = capsys.readouterr().out.splitlines()[1:]
    surrogate = training.load(tmp_path / "run")
    assert surrogate.constraint == no.NoSlip(width=0.4)
    grid = surrogate.grid
    assert grid.periodic == (False, True)
    assert grid.coordinates[0].tolist() == [0.0, 0.1, 0.2, 0.4, 0.6, 1.0]
    command = ["evaluate", str(tmp_path / "run"), str(darcy), "--first", "4"]
    assert main([*command, "--num-samples", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == trained[1:]


def test_files_of_arrays_need_a_grid(tmp_path: Path, darcy: Path, capsys: Captured):
    data = training.from_dataset(darcy, inputs=["coefficient"], outputs=["solution"])
    arrays = tmp_path / "arrays.npz"
    np.savez(arrays, coefficient=data.inputs[:, 0], solution=data.outputs[:, 0])
    assert main(["train", write(tmp_path, arrays)]) == 2
    assert "add a table [grid] to the file" in capsys.readouterr().err
    grid = "[grid]\nnum_points = [6, 5]\n[model]"
    assert main(["train", write(tmp_path, arrays, "[model]", grid)]) == 0
    assert main(["evaluate", str(tmp_path / "run"), str(arrays)]) == 0
    assert f"{arrays}: 7 samples" in capsys.readouterr().out
    np.savez(arrays, solution=data.outputs[:, 0])
    assert main(["evaluate", str(tmp_path / "run"), str(arrays)]) == 2
    assert "has no array 'coefficient', it has 'solution'" in capsys.readouterr().err
    np.savez(arrays, coefficient=data.inputs[:1, 0])
    out = tmp_path / "u.npy"
    predict = ["predict", str(tmp_path / "run"), str(arrays), "--out", str(out)]
    assert main(predict) == 0
    assert np.load(out).shape == (1, 1, 6, 5)
    assert main([*predict, "--first", "1"]) == 2
    assert "arrays.npz has 1 sample, so that --first" in capsys.readouterr().err
    arrays.write_bytes(arrays.read_bytes()[:-9])
    assert main(["evaluate", str(tmp_path / "run"), str(arrays)]) == 2
    assert "is damaged or no file of numpy.savez" in capsys.readouterr().err


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_arrays_are_named(tmp_path: Path, save: Any):
    place, grid = tmp_path / "x.npz", training.Grid.uniform((6, 5))
    save(place, a=np.random.default_rng(0).random((7, 6, 5)))
    whole = place.read_bytes()
    # Behind the head of the only member, which nothing sums up.
    for i in range(60, len(whole) - 200, 97):
        place.write_bytes(whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :])
        with pytest.raises(ValueError, match=r"x\.npz is damaged or no file of numpy"):
            read(place, ["a"], ["a"], grid)


def test_what_is_no_field_among_arrays_is_named(tmp_path: Path):
    place, grid = tmp_path / "x.npz", training.Grid.uniform((6, 5))
    arrays = {
        "good": np.ones((7, 6, 5)),
        "fewer": np.ones((6, 6, 5)),
        "none": np.ones((0, 6, 5)),
        "text": np.full(7, "x"),
        "object": np.full(7, None),
    }
    np.savez(place, **arrays)
    messages = {
        "fewer": "fewer has 6 samples, good has 7",
        "none": "none is empty, of shape",
        "text": "text must hold real numbers, got <U1",
        "object": r"x\.npz is damaged or no file of numpy.savez: Object arrays cannot",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message):
            read(place, ["good", name], ["good"], grid)


def test_places_that_cannot_be_written_to_are_named(
    tmp_path: Path, darcy: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
):
    def refused(path: Path, *_: Any) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(_run_folder, "write_whole", refused)
    assert main(["train", write(tmp_path, darcy)]) == 1
    monkeypatch.setattr(_run_folder, "make_folder", refused)
    assert main(["train", write(tmp_path, darcy)]) == 1
    lines = capsys.readouterr().err.splitlines()
    sentence = f"{tmp_path / 'run'} cannot be written: read-only file system; give"
    assert [sentence in line for line in lines] == [True, True]
    monkeypatch.undo()
    assert main(["train", write(tmp_path, darcy, 'run"', 'x/run"')]) == 2
    assert f"there is no folder {tmp_path / 'x'} to make" in capsys.readouterr().err


def test_arrays_that_a_data_set_has_not_are_named(
    darcy: Path, tmp_path: Path, capsys: Captured
):
    own = training.from_callable(
        models.pointwise(),
        num_dimensions=2,
        input_names=["coefficient"],
        output_names=["pressure"],
    )
    training.save(tmp_path / "own", own)
    assert main(["evaluate", str(tmp_path / "own"), str(darcy)]) == 2
    error = capsys.readouterr().err
    assert f"{darcy} has no array 'pressure', it has 'coefficient'" in error
    out = ["--out", str(tmp_path / "u.npy")]
    assert main(["predict", str(tmp_path / "own"), str(darcy), *out]) == 0
    assert np.load(tmp_path / "u.npy").shape == (7, 1, 6, 5)


def test_what_is_not_there_is_named(run: Path, darcy: Path, capsys: Captured):
    given = ["evaluate", str(run), str(darcy), "--first"]
    assert main(["evaluate", str(run / "x"), str(darcy)]) == 2
    assert main([*given, "7"]) == 2
    assert main([*given, "-1"]) == 2
    assert main([*given, "4", "--num-samples", "4"]) == 2
    out = ["--out", str(run / "x" / "u.npy")]
    assert main(["predict", str(run), str(darcy), *out]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "there is no trained model at" in lines[0]
    assert (
        "has 7 samples with a solution, so that --first must be from 0 to 6" in lines[1]
    )
    assert lines[2].endswith("--first must be from 0 to 6, got -1")
    assert lines[3].endswith("--num-samples must be from 1 to 3, got 4")
    assert f"there is no folder {run / 'x'} to write" in lines[4]
