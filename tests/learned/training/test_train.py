"""Training on examples: what it finds, and that it can be stopped anywhere."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import training
from krylax.learned.neural_operators import FNO, Grid, UNet
from krylax.learned.training import _run_folder
from krylax.learned.training._state import described, differences, recorded_of

from .models import examples, fields, pointwise

DATA = examples()
TRAIN, VALIDATION = DATA[:16], DATA[16:]
QUIET: dict[str, Any] = {"batch_size": 4, "num_epochs": 4, "progress": False}
ALL: dict[str, Any] = {
    **QUIET,
    "ema": 0.9,
    "accumulate": 2,
    "augment": "square",
    "noise": 0.1,
    "weight_decay": 0.01,
    "schedule": "one_cycle",
}


def trained(
    folder: Any = None,
    data: Any = TRAIN,
    validation: Any = VALIDATION,
    **settings: Any,
) -> training.Result:
    chosen = training.Settings(**{**QUIET, "learning_rate": 0.02, **settings})
    return training.train(pointwise(), data, validation, chosen, folder=folder)


def settings_of(result: training.Result) -> training.Settings:
    assert result.surrogate is not None
    assert result.surrogate.settings is not None
    return result.surrogate.settings


def same(a: Any, b: Any) -> bool:
    leaves = [jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (a, b)]
    return all(np.array_equal(x, y) for x, y in zip(*leaves, strict=True))


def test_training_finds_the_map():
    result = trained(num_epochs=150)
    assert result.surrogate is not None
    found = training.evaluate(result.surrogate, VALIDATION)
    assert found["relative_l2"] < 0.05
    history = result.history
    assert history["loss"].shape == (600,)
    assert np.array_equal(history["validated"], np.arange(4, 601, 4))
    assert np.min(history["validation"]) < 0.2 * history["validation"][0]
    assert found["relative_l2"] == pytest.approx(np.min(history["validation"]), 1e-5)


def interrupting(patch: pytest.MonkeyPatch, after: int) -> None:
    """Kill a training when it keeps its state for the last time."""
    original, calls = _run_folder.RunFolder.write, []

    def dying(self: Any, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        original(self, *arguments)

    patch.setattr(_run_folder.RunFolder, "write", dying)


def test_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path):
    whole = trained(tmp_path / "whole", **ALL)
    with pytest.MonkeyPatch.context() as patch:
        interrupting(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "parts", **ALL)
    again = trained(tmp_path / "parts", **ALL)
    assert same(again.model, whole.model)
    for name in ("loss", "validated", "validation"):
        assert np.array_equal(again.history[name], whole.history[name])
    lines = [
        [
            json.loads(line)
            for line in (path / "metrics.jsonl").read_text().split("\n")[:-1]
        ]
        for path in (tmp_path / "whole", tmp_path / "parts")
    ]
    for a, b in zip(*lines, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert [line["epoch"] for line in lines[0]] == [1, 2, 3, 4]


def test_folder_holds_all_of_a_training(tmp_path: Path):
    first = trained(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "state.safetensors",
        "model.safetensors",
        "settings.json",
        "metrics.jsonl",
        "curves.png",
        "card.md",
    }
    again = trained(tmp_path / "run")
    assert same(first.model, again.model)
    assert np.array_equal(first.history["seconds"], again.history["seconds"])
    written = (tmp_path / "run" / "card.md").read_text()
    assert written == training.card(tmp_path / "run")
    surrogate = training.load(tmp_path / "run")
    assert same(surrogate, first.surrogate)
    assert surrogate.settings == replace(settings_of(first), progress=True)


def test_another_training_is_refused_and_nothing_is_lost(tmp_path: Path):
    trained(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match=r"settings seed 0, here 1; continue that one"):
        trained(tmp_path / "run", seed=1)
    with pytest.raises(ValueError, match=r"data inputs \(16, 1, 4, 5\), here \(12, "):
        trained(tmp_path / "run", data=TRAIN[:12])
    with pytest.raises(ValueError, match="validation inputs"):
        trained(tmp_path / "run", validation=TRAIN)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_folder_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"holds other files, such as thesis\.tex"):
        trained(tmp_path)
    with pytest.raises(ValueError, match="is no"):
        trained(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def breaking(prediction: Any, target: Any, inputs: Any) -> Any:
    """A loss that is no number once the predictions have come near to the target."""
    error = jnp.mean((prediction - target) ** 2) / jnp.var(target)
    return jnp.where(error < 0.1, jnp.nan, error)


def test_loss_that_is_not_finite_is_named_and_the_last_state_kept(tmp_path: Path):
    message = "(step [0-9]+ is|after step [0-9]+, the validation is) nan; train with"
    with pytest.raises(FloatingPointError, match=message):
        trained(tmp_path / "run", loss=breaking, num_epochs=150)
    surrogate = training.load(tmp_path / "run")
    assert training.evaluate(surrogate, VALIDATION)["relative_l2"] < 1
    loss: Any = surrogate.settings.loss if surrogate.settings else None
    with pytest.raises(TypeError, match=r"breaking is not kept in the file"):
        loss(0, 0, 0)


def test_a_batch_in_parts_is_the_whole_batch():
    one, two = trained(), trained(accumulate=2)
    assert np.allclose(one.history["loss"], two.history["loss"], rtol=1e-5)


def test_steps_of_a_number_and_of_epochs_are_the_same():
    by_steps = trained(num_epochs=None, num_steps=16, validate_every=4)
    assert np.array_equal(by_steps.history["loss"], trained().history["loss"])


def test_validation_may_be_left_out():
    result = trained(validation=None)
    means = result.history["loss"].reshape(4, 4).mean(1)
    assert np.allclose(result.history["validation"], means)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": None}, TypeError, "data must be training.Data, got a NoneType"),
        ({"validation": 3}, TypeError, "validation must be training.Data"),
        ({"settings": None}, TypeError, "settings must be Settings"),
        ({"model": 3}, TypeError, "model must be a function"),
        ({"data": DATA[:3]}, ValueError, "batch_size is 4, and data has 3 samples"),
        (
            {"validation": training.Data(fields(4, 2, 4, 5), fields(4, 1, 4, 5))},
            ValueError,
            r"validation has \(2, 1\) channels of inputs and outputs, data \(1, 1\)",
        ),
        (
            {"model": pointwise(1, 2)},
            ValueError,
            r"model returns .*\(2, 4, 5\).* outputs of data have shape \(1, 4, 5\)",
        ),
        (
            {"settings": training.Settings(num_unrolled=2, **QUIET)},
            ValueError,
            "num_unrolled is 2, and the outputs of data hold 1 step in time",
        ),
        (
            {"settings": training.Settings(checkpoint="x", **QUIET)},
            ValueError,
            "checkpoint is for training.fit",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    as_users_run_it: None, change: Any, error: Any, message: str
):
    given = {"model": pointwise(), "data": DATA, "validation": None}
    given |= {"settings": training.Settings(**QUIET), **change}
    with pytest.raises(error, match=message):
        training.train(**given)


class Step(eqx.Module):
    """The next field, a multiple of the last one."""

    factor: Any

    def __call__(self, x: Any, grid: Any = None) -> Any:
        return self.factor * x[-1:]


def growing(num_targets: int) -> training.Data:
    """Fields that grow by 2 % per step, in six trajectories."""
    start = fields(6, 1, 1, 5)
    u = start * 1.02 ** np.arange(8).reshape(1, 8, 1, 1)
    return training.Data.of_trajectories(u, num_frames=2, num_targets=num_targets)


def grown(folder: Any = None, **settings: Any) -> training.Result:
    chosen = {**QUIET, "num_unrolled": 3, "learning_rate": 0.05, "num_epochs": 20}
    data = growing(4)
    model = Step(jnp.asarray(0.5))
    return training.train(
        model,
        data,
        data[:4],
        training.Settings(**{**chosen, **settings}),
        folder=folder,
    )


@pytest.fixture(scope="module")
def whole() -> training.Result:
    return grown()


def test_steps_in_time_are_learned(whole: training.Result):
    assert whole.surrogate is not None
    assert training.evaluate(whole.surrogate, growing(1))["relative_l2"] < 0.03


def test_steps_in_time_are_learned_to_the_same_bits_after_a_stop(
    whole: training.Result, tmp_path: Path
):
    """Stopped in the second third of the training, which has two of them."""
    with pytest.MonkeyPatch.context() as patch:
        interrupting(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            grown(tmp_path / "run")
    again = grown(tmp_path / "run")
    assert np.array_equal(again.history["loss"], whole.history["loss"])
    assert again.model.factor == whole.model.factor


def test_without_a_validation_the_last_model_is_kept():
    # Of noise alone, on which losses go up and down.
    result = trained(validation=None, noise=3.0, learning_rate=0.5, validate_every=1)
    losses = result.history["validation"]
    assert np.argmin(losses) < len(losses) - 1
    longer = trained(
        validation=None, noise=3.0, learning_rate=0.5, validate_every=len(losses)
    )
    assert same(result.model, longer.model)


def test_loss_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="one number for an example, got shape"):
        trained(loss=lambda prediction, target, inputs: prediction - target)


def test_model_without_a_grid_is_refused():
    settings = training.Settings(**QUIET)
    with pytest.raises(TypeError, match=r"model\(x, grid=None\)"):
        training.train(lambda x: x, TRAIN, None, settings)


def test_folder_is_for_one_training_at_a_time(tmp_path: Path):
    place = _run_folder.RunFolder(tmp_path / "run", 4)
    with pytest.raises(BlockingIOError, match="another training is at work in"):
        trained(tmp_path / "run")
    place.close()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ValueError, match="holds other files"):
        _run_folder.RunFolder(tmp_path / "other", 4)
    (tmp_path / "other" / "file").unlink()
    _run_folder.RunFolder(tmp_path / "other", 4).close()


def power(exponent: int, prediction: Any, target: Any, inputs: Any) -> Any:
    del inputs
    return jnp.mean((prediction - target) ** exponent)


def test_functions_differ_by_what_is_bound_to_them():
    model = pointwise()
    square, same_one, other = (
        recorded_of(model, training.Settings(loss=partial(power, n), num_steps=1), None)
        for n in (2, 2, 4)
    )
    assert square == same_one
    assert differences(square, other) == ["settings loss ['2'], here ['4']"]


def shapes_of(make: Any) -> Any:
    """A model of zeros, made without computing."""
    return jax.tree.map(
        lambda leaf: (
            np.zeros(leaf.shape, leaf.dtype)
            if isinstance(leaf, jax.ShapeDtypeStruct)
            else leaf
        ),
        eqx.filter_eval_shape(make, jax.random.key(0)),
    )


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (
            lambda key: FNO(2, num_modes=5, width=12, num_layers=3, key=key),
            ["num_modes 4, here 5", "width 8, here 12", "num_layers 2, here 3"],
        ),
        (
            lambda key: FNO(2, 3, num_modes=(4, 3), width=4, num_layers=1, key=key),
            [
                "in_channels 1, here 3",
                "num_modes 4, here (4, 3)",
                "width 8, here 4",
                "and 1 other entries",
            ],
        ),
        (lambda key: UNet(width=2, key=key), ["FNO, here UNet"]),
    ],
)
def test_models_differ_by_what_they_were_made_with(other: Any, expected: Any):
    model = shapes_of(lambda key: FNO(2, num_modes=4, width=8, num_layers=2, key=key))
    theirs, ours = (
        {"model": described(m), "weights at the start": digit * 64}
        for m, digit in ((model, "0"), (shapes_of(other), "1"))
    )
    assert differences(theirs, ours) == [f"model {each}" for each in expected]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"periodic": (True, True)}, r"axes periodic \(True, False\), here \(True, Tr"),
        ({"lengths": (2.0, None)}, "another training: grid not the same; continue"),
    ],
)
def test_training_on_another_grid_is_refused(change: Any, message: str, tmp_path: Path):
    axes = (np.arange(4) / 4, np.arange(5) / 5)
    weights = (np.full(4, 0.25), np.full(5, 0.2))
    given = {"periodic": (True, False), "weights": weights}
    grids = [Grid(axes, **given), Grid(axes, **{**given, **change})]
    if "periodic" in change:
        # Of all that follows from the periods, the flags alone.
        grids[1] = eqx.tree_at(lambda g: g.lengths, grids[1], grids[0].lengths)
    model, settings = pointwise(), training.Settings(**{**QUIET, "num_epochs": 1})
    for grid in (grids[0], grids[0]):
        training.train(model, TRAIN, None, settings, grid=grid, folder=tmp_path / "x")
    with pytest.raises(ValueError, match=message):
        training.train(
            model, TRAIN, None, settings, grid=grids[1], folder=tmp_path / "x"
        )


def test_constant_channels_get_no_noise():
    x = np.concatenate([fields(8, 1, 4, 5), np.full((8, 1, 4, 5), 1e-6)], axis=1)
    seen = []

    def recorded(inputs: Any) -> None:
        seen.append(np.asarray(inputs))

    def model(x: Any, grid: Any = None) -> Any:
        jax.debug.callback(recorded, x)
        return x[:1]

    chosen = training.Settings(**{**QUIET, "num_epochs": 1, "noise": 1.0})
    data = training.Data(x, x[:, :1])
    training.train(model, data, None, chosen)
    jax.effects_barrier()
    inputs = np.concatenate([np.reshape(each, (-1, 2, 20)) for each in seen])
    # The mean of equal numbers is off by its rounding.
    assert np.max(np.abs(inputs[:, 1])) < 1e-20
    assert np.std(inputs[:, 0]) > 1.2


def test_validation_on_a_grid_that_does_not_fit_is_refused_at_once(tmp_path: Path):
    x = fields(8, 1, 3, 7)
    grid = Grid.uniform((4, 5))
    model = shapes_of(lambda key: UNet(width=2, num_levels=1, key=key))
    with pytest.raises(
        ValueError, match=r"grid has shape \(4, 5\), the field \(3, 7\)"
    ):
        training.train(
            model,
            TRAIN,
            training.Data(x, x),
            training.Settings(**QUIET),
            grid=grid,
            folder=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
