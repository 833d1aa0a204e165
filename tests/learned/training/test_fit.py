"""The training loop: what it finds, and that it can be stopped anywhere."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.training import Settings, _loop, fit

QUIET: dict[str, Any] = {"progress": False, "num_steps": 60, "validate_every": 10}


class Line(eqx.Module):
    """y = slope x + offset."""

    slope: Any
    offset: Any

    def __call__(self, x: Any) -> Any:
        return self.slope * x + self.offset


MODEL = Line(jnp.zeros(()), jnp.zeros(()))


def loss(model: Line, data: Any, key: Any) -> Any:
    """Of noisy values of 3 x - 1; the data counts the steps."""
    x = jax.random.normal(key, (32,))
    return jnp.mean((model(x) - 3 * x + 1) ** 2), data + 1


def trained(**settings: Any) -> Any:
    settings = {"learning_rate": 0.1, **QUIET, **settings}
    return fit(MODEL, loss, Settings(**settings), data=jnp.zeros((), jnp.int32))


def test_a_line_is_found():
    result = trained(num_steps=300)
    assert float(result.model.slope) == pytest.approx(3, abs=0.02)
    assert float(result.model.offset) == pytest.approx(-1, abs=0.02)
    assert result.history["loss"].shape == (300,)
    assert np.array_equal(result.history["validated"], np.arange(10, 301, 10))
    assert np.all(np.diff(result.history["seconds"]) > 0)


def test_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path):
    state = tmp_path / "state"
    whole = trained(checkpoint=tmp_path / "whole")

    class Stop(Exception):
        pass

    def stopping(model: Any) -> float:
        if float(model.slope) > 1:
            raise Stop
        return float(jnp.abs(model.slope - 3))

    def measuring(model: Any) -> float:
        return float(jnp.abs(model.slope - 3))

    settings = Settings(learning_rate=0.1, checkpoint=state, **QUIET)
    with pytest.raises(Stop):
        fit(MODEL, loss, settings, data=jnp.zeros((), jnp.int32), validate=stopping)
    assert state.exists()
    again = fit(
        MODEL, loss, settings, data=jnp.zeros((), jnp.int32), validate=measuring
    )
    assert np.array_equal(again.history["loss"], whole.history["loss"])


def test_result_does_not_depend_on_how_many_steps_a_call_makes(
    monkeypatch: pytest.MonkeyPatch,
):
    found = trained(ema=0.9)
    monkeypatch.setattr(_loop, "_next_size", lambda size, elapsed: 1)
    again = trained(ema=0.9)
    assert np.array_equal(found.history["loss"], again.history["loss"])
    assert found.model.slope == again.model.slope


def test_arrays_that_are_given_are_left_alone():
    data = jnp.zeros((), jnp.int32)
    model = Line(jnp.ones(()), jnp.zeros(()))
    fit(model, loss, Settings(**QUIET), data=data)
    assert (float(model.slope), int(data)) == (1, 0)


def test_what_is_done_is_not_trained_again(tmp_path: Path):
    first = trained(checkpoint=tmp_path / "x")
    again = trained(checkpoint=tmp_path / "x")
    for name, values in first.history.items():
        assert np.array_equal(values, again.history[name])
    assert again.model.slope == first.model.slope


def test_the_model_of_the_best_validation_is_kept():
    settings = Settings(learning_rate=0.1, **QUIET)
    values = iter([5.0, 2.0, 3.0, 7.0, 4.0, 2.0])
    seen = []

    def validate(model: Any) -> float:
        seen.append(model.slope)
        return next(values)

    result = fit(MODEL, loss, settings, data=jnp.zeros((), int), validate=validate)
    assert result.model.slope == seen[1]


def test_another_training_is_refused(tmp_path: Path):
    trained(checkpoint=tmp_path / "x")
    with pytest.raises(ValueError, match="state of another training: settings"):
        trained(checkpoint=tmp_path / "x", learning_rate=0.2)


def power(x: Any) -> Any:
    return x**2


class Implicit(Line):
    """A model that solves to a tolerance."""

    rtol: Any = eqx.field(static=True, default=1e-3)


class Curve(eqx.Module):
    """y = slope f(x), of which a checkpoint holds the slope alone."""

    slope: Any
    function: Any = eqx.field(static=True, default=jnp.sin)

    def __call__(self, x: Any) -> Any:
        return self.slope * self.function(x)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            Curve(jnp.zeros(()), power),
            "model function by default, here <function power>",
        ),
        (Curve(jnp.ones(())), "weights at the start not the same; continue that one"),
        (MODEL, "model Curve, here Line; continue that one"),
    ],
)
def test_training_of_another_model_is_refused(other: Any, message: str, tmp_path: Path):
    settings = Settings(checkpoint=tmp_path / "x", **QUIET)
    zero = jnp.zeros((), jnp.int32)
    fit(Curve(jnp.zeros(())), loss, settings, data=zero)
    with pytest.raises(ValueError, match=f"another training: .*{message}"):
        fit(other, loss, settings, data=zero)


def test_settings_and_configurations_may_be_numbers_of_numpy(tmp_path: Path):
    numbers: Any = {"seed": np.int64(3), "num_steps": np.int32(4)}
    settings = Settings(checkpoint=tmp_path / "x", **{**QUIET, **numbers})
    data, more = jnp.zeros((), jnp.int32), {"sizes": (1, np.int64(2))}
    first, again = (
        fit(MODEL, loss, settings, data=data, configuration=more) for _ in range(2)
    )
    assert np.array_equal(first.history["loss"], again.history["loss"])


def test_place_that_cannot_be_written_to_is_found_before_the_first_step(
    tmp_path: Path,
):
    def untouched(model: Any, data: Any, key: Any) -> Any:
        raise AssertionError

    settings = Settings(checkpoint=tmp_path / "missing" / "x", **QUIET)
    with pytest.raises(FileNotFoundError):
        fit(MODEL, untouched, settings, data=jnp.zeros((), jnp.int32))


def test_loss_that_is_not_finite_is_named():
    def broken(model: Line, data: Any, key: Any) -> Any:
        value, data = loss(model, data, key)
        return value / jnp.where(data < 5, 1, 0), data

    settings = Settings(**QUIET)
    with pytest.raises(FloatingPointError, match="loss of step 5 is inf"):
        fit(MODEL, broken, settings, data=jnp.zeros((), jnp.int32))


def test_equilibria_that_are_not_found_are_advised_about():
    model, zero = Implicit(jnp.zeros(()), jnp.zeros(())), jnp.zeros((), jnp.int32)
    message = "max_norm, or, as the model is NaN .* larger tolerance `equilibrium`"
    with pytest.raises(FloatingPointError, match=message):
        fit(model, loss, Settings(**QUIET), data=zero, validate=lambda model: np.nan)


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        trained(checkpoint=tmp_path / "missing" / "x")
    with pytest.raises(ValueError, match="is a folder, expected a file"):
        trained(checkpoint=tmp_path)
    other: Any = 3
    with pytest.raises(TypeError, match="checkpoint must be a path or None, got 3"):
        Settings(checkpoint=other)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_steps", 0, "num_steps must be at least 1"),
        ("batch_size", 1.5, "batch_size must be an integer"),
        ("learning_rate", float("nan"), "learning_rate must be positive and finite"),
        ("seed", 2**63, "seed must fit into 64 bits"),
        ("max_norm", -1, "max_norm must be positive and finite"),
        ("schedule", "linear", "schedule must be one of cosine, constant"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: Any, message: str):
    with pytest.raises(ValueError, match=message):
        Settings(**{name: value})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_validation_that_is_not_finite_ends_the_training(bad: float, tmp_path: Path):
    measured, files = [5.0, 2.0, bad], []
    settings = Settings(learning_rate=0.1, checkpoint=tmp_path / "x", **QUIET)

    def validate(model: Any) -> float:
        files.append((tmp_path / "x").read_bytes())
        return measured[len(files) - 1]

    zero = jnp.zeros((), jnp.int32)
    message = f"after step 30, the validation is {bad:g}; train with a smaller"
    with pytest.raises(FloatingPointError, match=message):
        fit(MODEL, loss, settings, data=zero, validate=validate)
    assert (tmp_path / "x").read_bytes() == files[-1]
    again = fit(MODEL, loss, settings, data=zero, validate=lambda model: 3.0)
    assert again.history["validation"].tolist() == [5, 2, 3, 3, 3, 3]


class Complex(eqx.Module):
    weight: Any


def test_complex_weights_and_large_gradients_descend():
    """In single precision, where squares of the gradient are beyond the dtype."""

    def distance(model: Complex, data: Any, key: Any) -> Any:
        del key
        return 1e25 * jnp.abs(model.weight - (3 - 2j)) ** 2, data

    start = Complex(jnp.asarray(0.1 + 0.1j, jnp.complex64))
    settings = Settings(**{**QUIET, "num_steps": 300}, learning_rate=0.1)
    result = fit(start, distance, settings)
    assert complex(result.model.weight) == pytest.approx(3 - 2j, abs=0.02)
