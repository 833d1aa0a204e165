"""The commands of learned maps, called as the console script calls them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import krylax as kx
from krylax.cli import main
from krylax.learned import training

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
        ("Pointwise", "FN0", "'FN0' is none of the classes that files can name"),
        ('inputs = ["coefficient"]', "", "[data] needs inputs"),
        ("num_train = 4", "num_train = 6", "asks for 6 and 2 of 7 samples"),
        ("num_epochs = 2", "num_epochs = 0", "num_epochs must be at least 1"),
        ("folder =", "folder = [] #", "folder must be the name of a folder"),
        ("[model]", "[model", "is not valid TOML"),
    ],
)
def test_files_that_say_something_else_are_refused(
    tmp_path: Path, darcy: Path, capsys: Captured, old: str, new: str, message: str
):
    assert main(["train", write(tmp_path, darcy, old, new)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_what_is_not_there_is_named(run: Path, darcy: Path, capsys: Captured):
    assert main(["evaluate", str(run / "x"), str(darcy)]) == 2
    assert main(["evaluate", str(run), str(darcy), "--first", "7"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "there is no trained model at" in lines[0]
    assert "has the samples 0 to 6 with a solution" in lines[1]
