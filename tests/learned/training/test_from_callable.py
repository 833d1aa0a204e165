"""Functions and modules of others, as surrogates and as preconditioners."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.learned import conjugate_directions as cd
from krylax.learned import training
from krylax.learned.neural_operators import Grid

from .models import fields, pointwise

X = fields(1, 5, 4)


class Scaled(eqx.Module):
    """A model of a field and its grid."""

    factor: Any

    def __call__(self, x: Any, grid: Any = None) -> Any:
        length = 1.0 if grid is None else grid.lengths[0].astype(x.dtype)
        return self.factor * length * x


class Weighted(eqx.Module):
    """A model of a field alone."""

    weight: Any

    def __call__(self, x: Any) -> Any:
        return self.weight * x


class Keyword(eqx.Module):
    """A model that takes its grid by name."""

    weight: Any

    def __call__(self, x: Any, *, grid: Any = None) -> Any:
        return self.weight * x


MODULE = Scaled(jnp.asarray(2.0))


@eqx.filter_jit
def computed(s: Any, x: Any) -> Any:
    A = kx.operators.Laplacian((5, 4))
    b = jnp.ones((5, 4))
    M = cd.from_callable(lambda r: s(r[None])[0])
    solver = kx.solvers.FlexibleCG(rtol=1e-10)
    sol = kx.solve(A, b, solver, preconditioner=M, throw=False)
    start = s.start(x[0]).value
    plain = training.from_callable(lambda u: 3 * u, num_dimensions=2)(x)
    elsewhere = s(x, Grid((jnp.arange(5.0), jnp.arange(4.0))))
    return s(x), start, plain, elsewhere, sol.status, b - A.mv(sol.value)


def test_modules_are_surrogates_and_preconditioners():
    s = training.from_callable(MODULE, num_dimensions=2)
    value, start, plain, elsewhere, status, residual = computed(s, X)
    assert np.array_equal(value, 2 * X)
    assert np.array_equal(start, 2 * X[0])
    assert np.array_equal(plain, 3 * X)
    assert np.array_equal(elsewhere, 8 * X)
    assert kx.Status(int(status)) == kx.Status.converged
    assert np.linalg.norm(residual) < 1e-9


def test_solvers_that_are_not_flexible_say_so():
    s = training.from_callable(MODULE, num_dimensions=2)
    A, b = kx.operators.Laplacian((5, 4)), np.ones((5, 4))
    for M in (s, cd.from_callable(MODULE)):
        with pytest.raises(
            ValueError, match=r"CG needs a linear pre.* flexible solver"
        ):
            kx.solve(A, b, kx.solvers.CG(), preconditioner=M)


def test_modules_of_equinox_are_taken_as_they_are():
    shapes = eqx.filter_eval_shape(
        lambda key: eqx.nn.Conv2d(2, 3, 3, padding=1, key=key), jax.random.key(0)
    )
    net = jax.tree.map(
        lambda a: np.zeros(a.shape, np.float32), shapes, is_leaf=eqx.is_array_like
    )
    s = training.from_callable(net, num_dimensions=2, in_channels=2, out_channels=3)
    found = eqx.filter_eval_shape(s, jax.ShapeDtypeStruct((2, 6, 5), np.float32))
    assert (found.shape, found.dtype) == ((3, 6, 5), np.float32)
    wrong = training.from_callable(net, num_dimensions=2, in_channels=2)
    with pytest.raises(ValueError, match=r"1 channel,.* returns, got shape .3, 6, 5"):
        eqx.filter_eval_shape(wrong, jax.ShapeDtypeStruct((2, 6, 5), np.float32))


def test_modules_are_kept_in_files_and_functions_are_not(tmp_path: Path):
    s = training.from_callable(pointwise(), num_dimensions=2)
    training.save(tmp_path / "x", s)
    assert np.array_equal(training.load(tmp_path / "x").model.lift, s.model.lift)
    training.save(tmp_path / "y", training.from_callable(MODULE, num_dimensions=2))
    with pytest.raises(
        ValueError, match="whose class was not registered; give a model"
    ):
        training.load(tmp_path / "y")
    assert training.load(tmp_path / "y", like=MODULE).model.factor == 2
    for net in (Weighted(jnp.asarray(2.0)), Keyword(jnp.asarray(2.0))):
        own = training.from_callable(net, num_dimensions=2)
        training.save(tmp_path / "w", own)
        for like in (type(net)(jnp.zeros(())), own.model):
            loaded = training.load(tmp_path / "w", like=like)
            assert jax.tree.structure(loaded) == jax.tree.structure(own)
            assert loaded.model.function.weight == 2
    with pytest.raises(ValueError, match=r"other weights.*function\.weight"):
        training.load(tmp_path / "w", like=MODULE)
    function = training.from_callable(jnp.sin, num_dimensions=2)
    with pytest.raises(TypeError, match="a function without weights, which no file"):
        training.save(tmp_path / "z", function)


def test_cards_name_what_is_called_and_no_deviations_that_nobody_measured():
    net = Weighted(jnp.asarray(2.0))
    own = training.from_callable(net, num_dimensions=1, input_names=["k"])
    assert repr(own) == "Surrogate(Weighted, 1 parameter: k -> 1 channel, 1 axis)"
    text = training.card(own)
    assert text.startswith("# Weighted: k to 1 channel\n\n1 parameter in float64.\n")
    assert "| Model | `Weighted`, of arguments that no file keeps |" in text
    assert "| Inputs, mean ± deviation | k, not normalised |" in text
    assert "| Outputs, mean ± deviation | channel 0, not normalised |" in text
    plain = training.from_callable(jnp.sin, num_dimensions=2)
    assert repr(plain).startswith("Surrogate(sin, 0 parameters")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_dimensions": 0}, "num_dimensions must be at least 1"),
        ({"out_channels": 1.5}, "out_channels must be an integer"),
        ({"input_names": ("a", "b")}, "input_names must name the 1 channel"),
        ({"output_names": "u"}, "output_names must name the 1 channel"),
    ],
)
def test_bad_arguments_are_refused(change: Any, message: str):
    with pytest.raises(ValueError, match=message):
        training.from_callable(jnp.sin, **{"num_dimensions": 2, **change})
    with pytest.raises(TypeError, match="function must be an object, got the class We"):
        training.from_callable(Weighted, num_dimensions=2)
    function: Any = 3
    with pytest.raises(TypeError, match="function must be a function of a field"):
        training.from_callable(function, num_dimensions=2)


def test_a_complex_weight_is_two_numbers():
    scaled = training.from_callable(Scaled(jnp.ones(3, complex)), num_dimensions=2)
    assert training.num_parameters(scaled.model) == 6


def by_name(x: Any, scale: float = 3.0, *, grid: Any = None) -> Any:
    return x if grid is None else scale * x


def third(x: Any, scale: float = 3.0, grid: Any = None) -> Any:
    return by_name(x, scale, grid=grid)


@pytest.mark.parametrize("function", [by_name, third])
def test_grid_is_given_wherever_the_parameter_is(function: Any):
    grid = Grid((np.arange(5.0), np.arange(4.0)))
    s = training.from_callable(function, num_dimensions=2, grid=grid)
    assert np.array_equal(s(X), 3 * X)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.astype(complex), r"got shape \(1, 5, 4\) of complex128"),
        (lambda x: (x,), "on 2 axes, got a tuple"),
        (lambda x: x[None], r"got shape \(1, 1, 5, 4\)"),
    ],
)
def test_what_is_no_real_field_is_refused(function: Any, message: str):
    s = training.from_callable(function, num_dimensions=2)
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(s, X)
