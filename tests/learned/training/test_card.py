"""Model cards: each says what its surrogate and its training are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import neural_operators as no
from krylax.learned import training
from krylax.learned.training._card import METRICS, SETTINGS
from krylax.learned.training._normalizer import Normalizer
from krylax.learned.training._surrogate_file import FILE

from .models import pointwise

ERRORS = {
    "relative_l2": 0.2,
    "per_sample": {"relative_l2": np.array([0.125, 0.25, 0.625])},
}
RUN = {
    "data": {"inputs": "(40, 1, 4, 5)", "outputs": "(40, 1, 1, 4, 5)", "sha256": "abc"},
    "validation": {"inputs": "(8, 1, 4, 5)"},
}
LINES = [
    {"step": 5, "epoch": 1.0, "loss": 0.5, "validation": 0.25, "seconds": 1.5},
    {"step": 10, "epoch": 2.0, "loss": 0.4, "validation": 0.375, "seconds": 3.25},
]


def negative(prediction: Any, target: Any, inputs: Any) -> Any:
    """A loss that files can name and not keep."""
    del inputs
    return jnp.mean(target - prediction)


def surrogate(grid: Any = None, loss: Any = "h1", model: Any = None) -> Any:
    return training.Surrogate(
        pointwise() if model is None else model,
        Normalizer(jnp.array([2.0], jnp.float32), jnp.array([0.5], jnp.float32)),
        Normalizer(jnp.array([-1.0], jnp.float32), jnp.array([3.0], jnp.float32)),
        grid,
        num_dimensions=2,
        input_names=("coefficient",),
        settings=training.Settings(num_epochs=3, loss=loss, progress=False),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    training.save(tmp_path / FILE, surrogate())
    (tmp_path / SETTINGS).write_text(json.dumps(RUN))
    (tmp_path / METRICS).write_text("".join(json.dumps(x) + "\n" for x in LINES))
    return tmp_path


def test_card_of_a_surrogate_says_what_it_is():
    text = training.card(surrogate())
    assert text.startswith("# Pointwise: coefficient to 1 channel\n\n12 parameters in ")
    for row in (
        "| Model | `Pointwise(in_channels=1, out_channels=1, width=4)` |",
        "| Inputs, mean ± deviation | coefficient 2 ± 0.5 |",
        "| Outputs, mean ± deviation | channel 0 -1 ± 3 |",
        "| Grid | none given, 2 axes; that of the model |",
        "| Loss | h1 |",
        "| Settings that are not the default | `num_epochs=3` |",
        "training.evaluate",
        f"jax {jax.__version__}",
    ):
        assert row in text
    assert "Steps" not in text


def test_constraint_of_the_predictions_is_named():
    assert "Constraint" not in training.card(surrogate())
    several = (no.NoSlip(0.25), lambda fields, grid: fields)
    text = training.card(replace(surrogate(), constraint=several))
    assert "`NoSlip(width=0.25, channels=None)`, then `<lambda>`, of arg" in text


def test_grid_is_described_axis_by_axis():
    grid = training.Grid([np.arange(4) / 4, np.linspace(0, 2, 5)], (True, False))
    text = training.card(surrogate(grid))
    assert "4 points from 0 to 0.75 of the period 1; 5 points from 0 to 2" in text


def test_card_of_a_folder_has_data_steps_and_the_best_validation(folder: Path):
    text = training.card(folder)
    for row in (
        "| Shape of the inputs, samples first | (40, 1, 4, 5) |",
        "| Inputs of the validation | (8, 1, 4, 5) |",
        "| Steps | 10 |",
        "| Time, validations apart | 3.25 s |",
        "| Best loss of the validation | 0.25, after step 5 |",
        "- The best of 2 validations chose the model",
    ):
        assert row in text
    assert training.card(folder / FILE) == training.card(surrogate())


def test_errors_are_those_of_evaluate(folder: Path):
    text = training.card(folder, errors=ERRORS)
    assert "Over 3 samples" in text
    assert "| relative_l2 | 0.3333 | 0.25 | 0.625 |" in text
    with pytest.raises(ValueError, match="got one without per_sample"):
        training.card(folder, errors={"relative_l2": 0.1})


def test_functions_and_models_that_no_file_keeps_are_named(tmp_path: Path):
    text = training.card(surrogate(loss=negative, model=lambda x, grid=None: x))
    assert "test_card.negative |" in text
    assert "of arguments that no file keeps" in text
    assert "kept nowhere" in text
    training.save(tmp_path / "file", surrogate(loss=negative))
    assert "test_card.negative |" in training.card(tmp_path / "file")


@pytest.mark.parametrize("name", [SETTINGS, METRICS])
@pytest.mark.parametrize("text", ["{", "[]\n", '{"data": 3}\n'])
def test_damaged_records_are_named(folder: Path, name: str, text: str):
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=r"is damaged: .*; give the file of the model"):
        training.card(folder)
