"""Surrogates: physical units, files, starts of solves."""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.learned import neural_operators as no
from krylax.learned import training
from krylax.learned.training._checkpoint import read_arrays, write_arrays
from krylax.learned.training._normalizer import Normalizer
from krylax.learned.training._registry import made

from .models import fields, pointwise


class Box(eqx.Module):
    """A grid."""

    coordinates: tuple[Any, ...]
    name: str = eqx.field(static=True, default="box")


class Private(eqx.Module):
    """A model that files cannot name."""

    weight: Any

    def __call__(self, x: Any, grid: Any = None) -> Any:
        return self.weight * x[:1]


training.register(Box)
AXES = (np.linspace(0, 1, 4, dtype=np.float32), np.linspace(0, 1, 5))
SETTINGS = training.Settings(num_epochs=3, learning_rate=0.1, augment="square")


def surrogate(model: Any = None, grid: Any = None, num_inputs: int = 1) -> Any:
    x = np.array([[2.0, 1.0]] * num_inputs, np.float32)
    return training.Surrogate(
        pointwise(num_inputs) if model is None else model,
        Normalizer(jnp.asarray(x[:, 0]), jnp.asarray(x[:, 1])),
        Normalizer(jnp.array([-1.0], jnp.float32), jnp.array([3.0], jnp.float32)),
        grid,
        num_dimensions=2,
        input_names=("coefficient", "source")[:num_inputs],
        output_names=("solution",),
        settings=SETTINGS,
    )


@eqx.filter_jit
def applied(s: Any, x: Any) -> Any:
    return s(x), s.model((x.astype(jnp.float32) - 2) / 1), s(x.astype(jnp.float32))


def test_predictions_are_in_physical_units_and_in_the_precision_of_the_input():
    x = fields(1, 4, 5)
    found, inside, single = applied(surrogate(), x)
    assert found.dtype == np.float64
    assert single.dtype == np.float32
    assert np.array_equal(found, single)
    assert np.allclose(found, 3 * inside - 1, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5), (1, 4, 5, 3)])
def test_fields_of_other_channels_and_axes_are_refused(shape: Any):
    with pytest.raises(ValueError, match="of 1 channel on 2 axes, got shape"):
        surrogate()(np.zeros(shape))


def test_what_is_saved_is_loaded(tmp_path: Path):
    saved = surrogate(grid=Box(tuple(map(jnp.asarray, AXES))))
    training.save(tmp_path / "x", saved)
    loaded = training.load(tmp_path / "x")
    assert jax.tree.structure(loaded) == jax.tree.structure(saved)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(saved), strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert loaded.settings == SETTINGS


class Recorded(eqx.Module):
    """A model that keeps the arguments that it was made with."""

    weight: Any
    arguments: Any = eqx.field(static=True)

    def __init__(self, sizes: Any, scale: Any = None, *, dtype: Any, key: Any) -> None:
        self.arguments = training.arguments_of(locals())
        self.weight = jax.random.normal(key, tuple(sizes), dtype)

    def __call__(self, x: Any, grid: Any = None) -> Any:
        return x


training.register(Recorded)


@pytest.fixture(scope="module")
def recorded() -> Any:
    return Recorded([2, 3], dtype=jnp.float32, key=jax.random.key(1))


def test_arguments_of_a_constructor_make_the_model_again(recorded: Any, tmp_path: Path):
    training.save(tmp_path / "x", surrogate(recorded))
    loaded = training.load(tmp_path / "x").model
    assert np.array_equal(loaded.weight, recorded.weight)
    given = {"sizes": (2, 3), "scale": None, "dtype": "float32"}
    assert dict(loaded.arguments) == given
    with pytest.raises(TypeError, match="no file can hold <ufunc 'sin'>"):
        training.save(tmp_path / "x", surrogate(with_scale(np.sin)))
    with pytest.raises(TypeError, match=r"no file can hold <class .*Path"):
        training.save(tmp_path / "x", surrogate(with_scale(Path)))
    training.save(tmp_path / "x", surrogate(with_scale([np.float64(2)])))
    assert dict(training.load(tmp_path / "x").model.arguments)["scale"] == (2,)


def with_scale(scale: Any) -> Any:
    like = eqx.filter_eval_shape(
        lambda key: Recorded((2, 3), scale, dtype=jnp.float32, key=key),
        jax.random.key(0),
    )
    return eqx.tree_at(lambda m: m.weight, like, np.zeros((2, 3), np.float32))


class Unsaid(eqx.Module):
    """A model that nothing says the arguments of."""

    weight: Any

    def __init__(self, size: int, *, key: Any) -> None:
        self.weight = jnp.zeros(size)


training.register(Unsaid)


def test_models_that_do_not_say_how_they_are_made_are_refused(tmp_path: Path):
    model = Unsaid(3, key=None)
    with pytest.raises(TypeError, match="a Unsaid has no attribute 'size' to make it"):
        training.save(tmp_path / "x", surrogate(model))


def test_models_that_files_cannot_name_are_loaded_like_others(tmp_path: Path):
    saved = surrogate(Private(jnp.asarray(2.0)))
    training.save(tmp_path / "x", saved)
    with pytest.raises(ValueError, match="not registered; give a model of the same"):
        training.load(tmp_path / "x")
    loaded = training.load(tmp_path / "x", like=Private(jnp.zeros(())))
    assert loaded.model.weight == 2
    with pytest.raises(ValueError, match=r"other weights than its architecture.*lift"):
        training.load(tmp_path / "x", like=pointwise())
    with pytest.raises(
        ValueError, match=r"weight of shape \(\), its architecture has \(3,\)"
    ):
        training.load(tmp_path / "x", like=Private(jnp.zeros(3)))
    with pytest.raises(ValueError, match="dtype float64, its architecture has int64"):
        training.load(tmp_path / "x", like=Private(jnp.zeros((), int)))


def test_what_cannot_be_saved_is_refused(tmp_path: Path, as_users_run_it: None):
    model: Any = pointwise()
    with pytest.raises(TypeError, match="must be a Surrogate, got a Pointwise"):
        training.save(tmp_path / "x", model)
    with pytest.raises(TypeError, match="grid of class Private is not registered"):
        training.save(tmp_path / "x", surrogate(grid=Private(1.0)))
    bad = eqx.tree_at(lambda s: s.model.bias, surrogate(), jnp.full(4, jnp.nan))
    with pytest.raises(ValueError, match=r"model\.bias was not written: it holds NaN"):
        training.save(tmp_path / "x", bad)
    assert list(tmp_path.iterdir()) == []


CHANGES: dict[str, tuple[Any, str]] = {
    "class": (
        lambda c: c["model"].update({"class": "Popen"}),
        "'Popen' is none of the",
    ),
    "argument": (
        lambda c: c["model"]["arguments"].update(shell=1),
        "describes no object of this krylax: .*shell",
    ),
    "width": (
        lambda c: c["model"]["arguments"].update(width=5),
        r"architecture has \(5",
    ),
    "huge": (
        lambda c: c["model"]["arguments"].update(width=10**30),
        r"width is 10+, and there are no more than 3 arrays of 12 numbers",
    ),
    "infinite": (
        lambda c: c.update(num_dimensions=float("inf")),
        "describes no surrogate.*infinity",
    ),
    "no model": (lambda c: c.pop("model"), "describes no surrogate.*model"),
    "a list": (lambda c: c.update(model=[1]), "describes no object"),
    "settings": (lambda c: c["settings"].update(seed="x"), "seed must be an integer"),
    "unknown": (lambda c: c["settings"].update(fast=1), "describes no surrogate.*fast"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_files_that_describe_something_else_are_refused(
    name: str, tmp_path: Path, as_users_run_it: None
):
    training.save(tmp_path / "x", surrogate())
    arrays, configuration = read_arrays(tmp_path / "x", "surrogate", 1)
    change, message = CHANGES[name]
    change(configuration)
    write_arrays(tmp_path / "x", "surrogate", 1, configuration, arrays)
    with pytest.raises(ValueError, match=message):
        training.load(tmp_path / "x")


assert no.FNO.__name__ == "FNO"
HUGE = 10**9
MADE = {
    "FNO": {"num_dimensions": 1, "num_layers": HUGE},
    "IFNO": {"num_dimensions": 1, "num_iterations": HUGE},
    "UNet": {"num_dimensions": 1, "num_levels": HUGE},
    "FactFormer": {"num_dimensions": 1, "num_output_mlps": HUGE},
    "IFactFormer": {"num_dimensions": HUGE},
    "modes": {"num_dimensions": 2, "num_modes": [4, HUGE]},
}


@pytest.mark.parametrize("name", MADE)
def test_counts_beyond_the_arrays_of_a_file_are_refused_at_once(name: str):
    record = {"class": "FNO" if name == "modes" else name, "arguments": MADE[name]}
    many = {str(i): np.zeros(HUGE // 100, bool) for i in range(3)}
    culprit = next(n for n, v in MADE[name].items() if "000" in str(v))
    with pytest.raises(ValueError, match=f"{culprit} is .*no more than 3 arrays"):
        made(record, many)


def test_normalisers_that_normalise_nothing_are_refused(tmp_path: Path):
    training.save(tmp_path / "x", surrogate())
    arrays, configuration = read_arrays(tmp_path / "x", "surrogate", 1)
    arrays["input_normalizer.std"] = np.zeros(1, np.float32)
    write_arrays(tmp_path / "x", "surrogate", 1, configuration, arrays)
    with pytest.raises(ValueError, match="input_normalizer that normalises nothing"):
        training.load(tmp_path / "x")
    del arrays["input_normalizer.std"]
    write_arrays(tmp_path / "x", "surrogate", 1, configuration, arrays)
    with pytest.raises(ValueError, match=r"describes no surrogate.*std"):
        training.load(tmp_path / "x")


def test_truncated_and_missing_files_are_refused(tmp_path: Path):
    training.save(tmp_path / "x", surrogate())
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data[:-1])
    with pytest.raises(ValueError, match="damaged or no file of krylax"):
        training.load(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match=r"holds no model\.safetensors"):
        training.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no trained model at"):
        training.load(tmp_path / "y")


def test_files_hold_json_and_numbers_alone(tmp_path: Path):
    training.save(tmp_path / "x", surrogate())
    data = (tmp_path / "x").read_bytes()
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    model = json.loads(metadata["configuration"])["model"]
    arguments = {"in_channels": 1, "out_channels": 1, "width": 4}
    assert model == {"class": "Pointwise", "arguments": arguments}


def test_another_class_of_the_same_name_is_refused():
    other = type("Box", (), {"__module__": "elsewhere"})
    with pytest.raises(ValueError, match="is registered as Box already"):
        training.register(other)


FAMILY = kx.datasets.Darcy(num_points=(4, 5))


class Solve(eqx.Module):
    """A model that knows the solution, but for its size."""

    @property
    def solver(self) -> Any:
        return kx.solvers.CG(rtol=1e-10)

    def __call__(self, x: Any, grid: Any = None) -> Any:
        A, b = FAMILY.system({"coefficient": x[0]})
        return kx.solve(A, b, self.solver, throw=False).value[None]


@eqx.filter_jit
def started(s: Any, parameters: Any) -> Any:
    A, b = FAMILY.system(parameters)
    x0 = s.start(parameters)
    sol = kx.solve(A, b, kx.solvers.CG(rtol=1e-3), x0=x0, throw=False)
    cold = kx.solve(A, b, kx.solvers.CG(rtol=1e-3), throw=False)
    same = s.start(parameters["coefficient"]), s.start(parameters["coefficient"][None])
    return x0, sol.stats.num_steps, cold.stats.num_steps, sol.stats.is_start_used, same


def test_prediction_is_a_start_of_a_solve():
    one = Normalizer(jnp.zeros(1), jnp.ones(1))
    s = training.Surrogate(
        Solve(), one, one, num_dimensions=2, input_names=("coefficient",)
    )
    parameters = {k: jnp.asarray(v) for k, v in FAMILY.sample(0).items()}
    x0, steps, cold, is_used, same = started(s, parameters)
    assert x0.shape == (4, 5)
    assert x0.dtype == np.float64
    assert (int(steps), bool(is_used)) == (0, True)
    assert int(cold) > 0
    assert np.array_equal(same[0], x0)
    assert np.array_equal(same[1], x0)


@eqx.filter_jit
def stacked(s: Any, parameters: Any) -> Any:
    return s.start(parameters), s(
        jnp.stack([parameters["coefficient"], jnp.full((4, 5), parameters["source"])])
    )


def test_fields_and_numbers_become_the_channels_of_their_names():
    s = surrogate(num_inputs=2)
    x = {"source": jnp.asarray(3.0), "coefficient": jnp.asarray(fields(4, 5))}
    found, expected = stacked(s, x)
    assert np.array_equal(found, expected[0])
    with pytest.raises(
        ValueError, match="takes the fields coefficient, source; parameters hold"
    ):
        s.start({"coefficient": np.ones((4, 5))})
    with pytest.raises(ValueError, match="must hold a field, got numbers alone"):
        s.start({"coefficient": 1.0, "source": 2.0})


def test_fields_of_other_grids_are_not_rearranged():
    s = surrogate(num_inputs=2)
    with pytest.raises(ValueError, match="coefficient, source must lie on one grid"):
        s.start({"coefficient": np.ones((4, 5)), "source": np.ones((5, 4))})


def test_errors_are_means_over_the_samples():
    x, y = fields(5, 1, 4, 5), fields(5, 1, 4, 5, seed=1)
    s = surrogate()
    found = training.evaluate(s, training.Data(x, y), batch_size=2)
    p = np.asarray(applied_to_all(s, x))
    each = np.linalg.norm((p - y).reshape(5, -1), axis=1)
    each /= np.linalg.norm(y.reshape(5, -1), axis=1)
    assert np.allclose(found["per_sample"]["relative_l2"], each, rtol=1e-5)
    assert found.keys() == {"relative_l2", "h1", "vrmse", "per_sample"}
    for name, values in found["per_sample"].items():
        assert values.shape == (5,)
        assert np.isclose(found[name], np.mean(values))


@eqx.filter_jit
def applied_to_all(s: Any, x: Any) -> Any:
    return jax.vmap(s)(x)


def test_what_cannot_be_evaluated_is_refused(as_users_run_it: None):
    data = training.Data(fields(2, 1, 4, 5), fields(2, 3, 4, 5))
    with pytest.raises(ValueError, match="outputs of 1 channel, the data have 3"):
        training.evaluate(surrogate(), data)
    other: Any = fields(2, 1, 4, 5)
    with pytest.raises(TypeError, match="expected a Data, got a ndarray"):
        training.evaluate(surrogate(), other)
