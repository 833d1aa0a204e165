"""Constraints of predictions: in the loss, in the surrogate, in files and folders."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

from krylax.learned import training
from krylax.learned.training import _run_folder
from krylax.learned.training._checkpoint import read_arrays, write_arrays
from krylax.learned.training._normalizer import Normalizer

from .models import examples, pointwise


class Mean(eqx.Module):
    """Fields of a given mean."""

    value: float = eqx.field(static=True)

    def __call__(self, fields: Any, grid: Any) -> Any:
        return fields - jnp.mean(fields) + self.value


class Private(eqx.Module):
    """A constraint that files cannot name."""

    def __call__(self, fields: Any, grid: Any) -> Any:
        return fields


class Rounded(eqx.Module):
    """A constraint that does not keep what it was made of."""

    digits: int = eqx.field(static=True)

    def __init__(self, digits: int) -> None:
        self.digits = digits + 1

    def __call__(self, fields: Any, grid: Any) -> Any:
        return jnp.round(fields, self.digits)


training.register(Mean)
training.register(Rounded)
HALF = Mean(0.5)
DATA = examples()
TRAIN, VALIDATION = DATA[:16], DATA[16:]
SETTINGS = training.Settings(
    num_epochs=3, batch_size=4, learning_rate=0.02, progress=False
)


def trained(folder: Any = None, constraint: Any = HALF) -> training.Result:
    return training.train(
        pointwise(), TRAIN, VALIDATION, SETTINGS, folder=folder, constraint=constraint
    )


def surrogate(constraint: Any) -> training.Surrogate:
    unit = Normalizer(jnp.zeros(1, jnp.float32), jnp.ones(1, jnp.float32))
    return training.Surrogate(
        pointwise(), unit, unit, num_dimensions=2, constraint=constraint
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: Any) -> tuple[Path, training.Result]:
    folder = tmp_path_factory.mktemp("run") / "whole"
    return folder, trained(folder)


def test_predictions_satisfy_the_constraint_in_the_loss_as_in_use(whole: Any):
    _, result = whole
    found = training.evaluate(result.surrogate, VALIDATION)
    assert found["relative_l2"] == pytest.approx(np.min(result.history["validation"]))
    prediction = result.surrogate(VALIDATION.inputs[0])
    assert np.mean(prediction) == pytest.approx(0.5, rel=1e-5)


def test_constrained_training_is_kept_and_goes_on(whole: Any, tmp_path: Path):
    folder, result = whole
    original, calls = _run_folder.RunFolder.write, []

    def dying(self: Any, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run_folder.RunFolder, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "parts")
    again = trained(tmp_path / "parts")
    assert np.array_equal(again.history["loss"], result.history["loss"])
    loaded = training.load(folder)
    assert type(loaded.constraint) is Mean
    x = VALIDATION.inputs[0]
    assert np.array_equal(loaded(x), result.surrogate(x))


def test_folder_of_another_constraint_is_refused(whole: Any):
    folder, _ = whole
    with pytest.raises(
        ValueError, match=r"constraint \[.*Mean.*0\.5.*here \[.*Mean.*0\.25"
    ):
        trained(folder, Mean(0.25))
    with pytest.raises(ValueError, match=r"constraint \[.*Mean.*, here None"):
        trained(folder, None)


def test_what_is_no_constraint_is_refused_before_training(tmp_path: Path):
    with pytest.raises(TypeError, match="class Private is not registered, so that no"):
        trained(tmp_path / "run", (Mean(0.5), Private()))
    assert not (tmp_path / "run").exists()
    for other in ("mean", 3, (Mean(0.5), None)):
        with pytest.raises(TypeError, match="constraint must be a function"):
            trained(None, other)
    with pytest.raises(TypeError, match=r"got the class Mean; make one, as Mean\("):
        trained(None, Mean)
    with pytest.raises(TypeError, match="constraint must be an object, got the class"):
        surrogate(Mean)(DATA.inputs[0])
    with pytest.raises(
        ValueError, match=r"shape \(1, 4, 5\) that it is given, got \(4"
    ):
        trained(None, lambda fields, grid: fields[0])


def test_constraints_follow_each_other():
    x = DATA.inputs[0]
    double = surrogate([Mean(0.5), lambda fields, grid: 2 * fields])(x)
    once = surrogate(Mean(0.5))(x)
    assert np.allclose(double, 2 * once)


def test_files_without_a_constraint_have_none_and_others_what_they_say(
    tmp_path: Path, as_users_run_it: None
):
    training.save(tmp_path / "x", surrogate(None))
    arrays, configuration = read_arrays(tmp_path / "x", "surrogate", 1)
    assert "constraint" not in configuration
    assert training.load(tmp_path / "x").constraint is None
    changes = {
        "Popen": (dict[str, Any](), "none of the classes"),
        "Pointwise": ({"in_channels": 1, "out_channels": 1}, "constraint but a model"),
        "Grid": ({"coordinates": [[0.0, 1.0]]}, "constraint must be a function"),
    }
    for name, (arguments, message) in changes.items():
        records = [{"class": name, "arguments": arguments}]
        changed = {**configuration, "constraint": records}
        write_arrays(tmp_path / "x", "surrogate", 1, changed, arrays)
        with pytest.raises(ValueError, match=message):
            training.load(tmp_path / "x")
    with pytest.raises(TypeError, match="class Private is not registered"):
        training.save(tmp_path / "y", surrogate(Private()))


def test_records_that_make_another_constraint_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"Rounded of what .*'digits': 3.* is another"):
        trained(tmp_path / "run", Rounded(2))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="is another one; give training"):
        training.save(tmp_path / "x", surrogate(Rounded(2)))


def test_model_whose_weights_no_record_holds_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"cannot be made again .* but a model, whose"):
        trained(tmp_path / "run", pointwise())
    assert not (tmp_path / "run").exists()


def test_constraint_of_any_number_is_read_again(tmp_path: Path):
    for value in (100_000, float("nan"), float("inf")):
        training.save(tmp_path / "x", surrogate(Mean(value)))
        assert str(training.load(tmp_path / "x").constraint.value) == str(value)


class Positive(eqx.Module):
    """A constraint that looks at the numbers of its grid."""

    def __call__(self, fields: Any, grid: Any) -> Any:
        if not isinstance(grid, Tracer) and grid < 0:
            raise ValueError("a grid of positive numbers")
        return fields


def test_another_grid_is_looked_at_by_the_constraint():
    model = surrogate(Positive())
    with pytest.raises(ValueError, match="a grid of positive numbers"):
        model(DATA.inputs[0], np.float64(-1))


def test_complex_numbers_are_no_field():
    with pytest.raises(ValueError, match="constraint must return a real field"):
        trained(None, lambda fields, grid: fields.astype(jnp.complex64))
