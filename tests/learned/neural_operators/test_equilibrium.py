"""Equilibria, by themselves and as the form of the implicit models."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import neural_operators as no
from krylax.learned import training
from krylax.learned.neural_operators._implicit_step import value_or_nan
from krylax.learned.training._registry import made, recorded
from krylax.solvers import SolveError, Status

from ...helpers import relative_error

RNG = np.random.default_rng(0)
N = 6
EYE = np.eye(N)
# Not a contraction: its spectral radius is 2.
MATRIX = 2 * np.linalg.qr(RNG.standard_normal((N, N)))[0]
V0, C, V0_DOT = RNG.standard_normal((3, N))
MATRIX_DOT = RNG.standard_normal((N, N))
SHRINKING = 0.2 * RNG.standard_normal((N, N))


def value(matrix: Any, v0: Any) -> Any:
    return no.equilibrium(lambda v: matrix @ v, v0, rtol=1e-12, throw=False).value


@pytest.fixture(scope="module")
def linear() -> Any:
    """The solution for a linear f and its derivatives."""

    @jax.jit
    def everything(matrix: Any, v0: Any, c: Any, tangents: Any) -> Any:
        def weighted(a: Any) -> Any:
            return value(a * matrix, v0) @ c

        found, tangent = jax.jvp(value, (matrix, v0), tangents)
        return {
            "value": found,
            "forward": tangent,
            "reverse": jax.grad(lambda m, v: value(m, v) @ c, (0, 1))(matrix, v0),
            "second": jax.grad(jax.grad(weighted))(1.0),
        }

    return everything(MATRIX, V0, C, (MATRIX_DOT, V0_DOT))


def test_linear_equation_has_the_dense_solution(linear: Any):
    assert relative_error(linear["value"], np.linalg.solve(EYE - MATRIX, V0)) < 1e-10


def test_tangent_is_that_of_dense_algebra(linear: Any):
    v = np.linalg.solve(EYE - MATRIX, V0)
    expected = np.linalg.solve(EYE - MATRIX, V0_DOT + MATRIX_DOT @ v)
    assert relative_error(linear["forward"], expected) < 1e-10


def test_gradient_by_the_start_and_by_closed_over_weights_is_that_of_dense_algebra(
    linear: Any,
):
    v = np.linalg.solve(EYE - MATRIX, V0)
    adjoint = np.linalg.solve(EYE - MATRIX.T, C)
    by_matrix, by_v0 = linear["reverse"]
    assert relative_error(by_v0, adjoint) < 1e-10
    assert relative_error(by_matrix, np.outer(adjoint, v)) < 1e-10


def test_second_derivative_is_that_of_dense_algebra(linear: Any):
    inverse = np.linalg.inv(EYE - MATRIX)
    expected = 2 * C @ inverse @ MATRIX @ inverse @ MATRIX @ inverse @ V0
    assert relative_error(linear["second"], expected) < 1e-8


@jax.jit
def shrunken(v0: Any) -> Any:
    matrix = jnp.asarray(SHRINKING, v0.dtype)
    return no.equilibrium(lambda v: matrix @ v, v0, throw=False)


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        (1e-30, np.float32),
        (1e-18, np.float32),
        (1e30, np.float32),
        (1e-200, np.float64),
        (1e200, np.float64),
    ],
)
def test_fields_whose_squares_no_number_holds_are_solved_too(scale: float, dtype: Any):
    found = shrunken((scale * V0).astype(dtype))
    expected = np.linalg.solve(EYE - SHRINKING, V0)
    assert found.status == Status.converged
    assert found.num_newton_steps == 0
    value = np.asarray(found.value, np.float64) / scale
    assert relative_error(value, expected) < 2 * np.finfo(dtype).eps ** 0.5


def test_what_is_too_small_to_be_seen_has_not_converged():
    found = shrunken((1e-38 * V0).astype(np.float32))
    assert found.status == Status.stagnated


@pytest.mark.parametrize("order", [1, 2])
def test_leaves_that_depend_on_nothing_have_a_derivative_of_zero(order: int):
    def value(a: Any) -> Any:
        v0 = {"x": jnp.ones(2), "y": jnp.ones(2)}
        # x = 1 + a y and y = 1 + x / 2, so that x = (1 + a) / (1 - a / 2).
        found = no.equilibrium(
            lambda v: {"x": a * v["y"], "y": v["x"] / 2}, v0, rtol=1e-12, throw=False
        )
        return found.value["x"][0]

    exact = {1: 1.5 / (1 - 0.2) ** 2, 2: 1.5 / (1 - 0.2) ** 3}
    differentiated = jax.grad(value) if order == 1 else jax.grad(jax.grad(value))
    assert np.isclose(jax.jit(differentiated)(0.4), exact[order], rtol=1e-9)


class Through(eqx.Module):
    """A module that holds a function."""

    function: Any

    def __call__(self, v: Any) -> Any:
        return self.function(v)


def test_gradient_flows_to_what_a_function_in_a_module_closes_over():
    def total(a: Any) -> Any:
        f = Through(lambda v: a * v)
        return jnp.sum(no.equilibrium(f, V0, rtol=1e-12, throw=False).value)

    assert np.isclose(jax.jit(jax.grad(total))(0.4), np.sum(V0) / 0.6**2, rtol=1e-9)


STARTS = np.stack([scale * V0 for scale in (0.0, 0.01, 1.0, 30.0)])


@pytest.fixture(scope="module")
def contraction() -> Any:
    """Equilibria of one contraction for several starts, in several ways."""

    def found(matrix: Any, v0: Any) -> Any:
        weights = matrix.astype(v0.dtype)
        return no.equilibrium(lambda v: jnp.sin(weights @ v), v0, throw=False)

    def loss(matrix: Any, starts: Any) -> Any:
        together = jax.vmap(found, (None, 0))(matrix, starts)
        return jnp.sum(together.value**3), together

    @jax.jit
    def everything(starts: Any, matrix: Any) -> Any:
        slope, together = jax.grad(loss, has_aux=True)(matrix, starts)
        single = jnp.asarray(starts, jnp.float32)
        return {
            "together": together,
            "slope": slope,
            "one by one": jax.lax.map(lambda v0: found(matrix, v0), starts),
            "float32": jax.vmap(found, (None, 0))(matrix, single),
        }

    return everything(STARTS, SHRINKING)


def plainly(v0: np.ndarray) -> np.ndarray:
    """The equilibrium by many plain iterations."""
    v = v0
    for _ in range(500):
        v = v0 + np.sin(v @ SHRINKING.T)
    return v


def test_contraction_has_the_limit_of_plain_iterations(contraction: Any):
    found = contraction["together"]
    assert np.all(found.status == Status.converged)
    assert np.allclose(found.value, plainly(STARTS), rtol=1e-6, atol=1e-7)


def test_samples_of_a_batch_end_by_themselves(contraction: Any):
    together, alone = contraction["together"], contraction["one by one"]
    assert len(set(np.asarray(together.num_evaluations))) > 1
    assert np.array_equal(together.num_evaluations, alone.num_evaluations)
    assert np.allclose(together.value, alone.value, rtol=1e-12, atol=1e-12)


def test_float32_stays_and_reaches_its_own_tolerance(contraction: Any):
    found = contraction["float32"]
    assert found.value.dtype == np.float32
    assert np.all(found.status == Status.converged)
    v = np.asarray(found.value, np.float64)
    left = STARTS + np.sin(v @ SHRINKING.T) - v
    bound = np.finfo(np.float32).eps ** 0.5 * np.linalg.norm(v, axis=1)
    assert np.all(np.linalg.norm(left, axis=1) <= 1.01 * bound)


def test_gradient_of_a_batch_is_that_of_dense_algebra(contraction: Any):
    slope = np.zeros((N, N))
    for v in plainly(STARTS):
        steepness = np.cos(SHRINKING @ v)
        jacobian = EYE - steepness[:, None] * SHRINKING
        slope += np.outer(steepness * np.linalg.solve(jacobian.T, 3 * v**2), v)
    assert relative_error(contraction["slope"], slope) < 1e-6


@pytest.fixture(scope="module")
def hard() -> Any:
    """What becomes of v + v³ = v₀, of equations without a solution, and of NaN."""

    @jax.jit
    def everything(starts: Any, sign: Any) -> Any:
        def f(v: Any) -> Any:
            return jnp.where(sign > 0, -(v**3), v + v**2 + 1)

        return no.equilibrium(f, starts, rtol=1e-10, throw=False)

    starts = {"cubic": V0 * 10, "none": 0 * V0, "nan": V0 * np.nan}
    signs = {"cubic": 1.0, "none": -1.0, "nan": 1.0}
    return {name: everything(starts[name], signs[name]) for name in starts}


def test_newton_takes_over_where_iterates_fly_off(hard: Any):
    found = hard["cubic"]
    assert found.status == Status.converged
    assert found.num_newton_steps > 0
    roots = [np.roots([1, 0, 1, -b]) for b in V0 * 10]
    expected = [r[np.argmin(np.abs(r.imag))].real for r in roots]
    assert relative_error(found.value, np.array(expected)) < 1e-9


def test_equation_without_a_solution_is_reported(hard: Any):
    found = hard["none"]
    assert found.status in (Status.stagnated, Status.max_steps_reached)
    assert found.relative_residual > 1e-3
    assert hard["nan"].status == Status.nonfinite_input


@jax.jit
def slopes(a: Any) -> Any:
    def value(a: Any) -> Any:
        found = no.equilibrium(lambda v: a * (v**2 + 1), jnp.zeros(2), throw=False)
        return jnp.sum(value_or_nan(found))

    return value(a), jax.jvp(value, (a,), (1.0,))[1], jax.grad(value)(a)


def test_derivatives_are_nan_where_the_value_is():
    assert np.all(np.isnan(slopes(2.0)))
    # v = a (v² + 1), so that v = (1 - √(1 - 4a²)) / 2a.
    root = np.sqrt(1 - 4 * 0.3**2)
    value = (1 - root) / 0.6
    expected = 2 * np.array([value, *[(value**2 + 1) / root] * 2])
    assert relative_error(np.array(slopes(0.3)), expected) < 1e-6


def test_failure_raises_unless_it_is_asked_for():
    advice = r"The solve for an equilibrium stagnated: no step brings v₀ \+ f\(v\) near"
    with pytest.raises(SolveError, match=advice):
        no.equilibrium(lambda v: v + 1, np.ones(2), max_steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rtol": 1e-17}, "rtol must be between 10 times the rounding unit"),
        ({"max_steps": -1}, "max_steps must be at least 0"),
        ({"throw": None}, "throw must be True or False"),
        ({"v0": np.ones(2, np.complex128)}, "real fields of 32 or 64 bits"),
        ({"v0": jnp.ones(2, jnp.bfloat16)}, "real fields of 32 or 64 bits"),
        ({"f": lambda v: v[:1]}, "f must return a field like v0"),
    ],
)
def test_bad_arguments_are_refused(options: Any, message: str):
    arguments = {"f": jnp.sin, "v0": np.ones(2), **options}
    with pytest.raises(ValueError, match=message):
        no.equilibrium(arguments.pop("f"), arguments.pop("v0"), **arguments)


FACTORISED: dict[str, Any] = {"width": 4, "num_heads": 2, "head_width": 2}
KEY = jax.random.key(0)
MAKERS: dict[str, Any] = {
    "IFactFormer": lambda **options: no.IFactFormer(
        1, 1, 1, **FACTORISED, key=KEY, **options
    ),
    "IFNO": lambda **options: no.IFNO(
        1, num_modes=3, width=4, hidden_channels=6, padding=0.2, key=KEY, **options
    ),
}
X = RNG.standard_normal((3, 1, 10))


def of_order_one(model: Any) -> Any:
    """A model whose F is a contraction, but no small one."""
    rng = np.random.default_rng(1)

    def draw(leaf: Any) -> Any:
        drawn = 0.15 * rng.standard_normal(leaf.shape)
        return jax.device_put(drawn.astype(leaf.dtype))

    return jax.tree.map(draw, model)


def plain(model: Any, x: Any) -> Any:
    """The value of a model by iterations of v ← v₀ + F(v)."""

    def limit(v0: Any, F: Any) -> Any:
        return jax.lax.scan(lambda v, _: (v0 + F(v), None), v0, length=60)[0]

    if isinstance(model, no.IFactFormer):
        return model.ends(
            x, None, lambda v, axes: limit(v, lambda v: model.block(v, axes))
        )
    v, grid = model._entered(x, None)
    v = limit(v, lambda v: jax.nn.gelu(model.layer(v), approximate=False))
    return model.ends.leave(v[: grid.shape[0]], x)


@pytest.fixture(scope="module", params=MAKERS)
def differentiated(request: Any) -> Any:
    """Values and gradients of a model, and those of plain iterations."""
    make = MAKERS[request.param]
    model = of_order_one(
        eqx.filter_eval_shape(make, equilibrium=1e-9, dtype=jnp.float64)
    )

    @eqx.filter_jit
    def everything(model: Any) -> Any:
        def loss(model: Any, call: Any) -> Any:
            values = jax.vmap(lambda x: call(model, x))(X)
            return jnp.sum(values**2), values

        calls = {"equilibrium": lambda model, x: model(x), "plain": plain}
        return {
            name: eqx.filter_value_and_grad(loss, has_aux=True)(model, call)
            for name, call in calls.items()
        }

    return everything(model)


def test_model_is_the_limit_of_plain_iterations(differentiated: Any):
    ((_, values), _), ((_, expected), _) = (
        differentiated[name] for name in ("equilibrium", "plain")
    )
    assert relative_error(values, expected) < 1e-8


def test_gradient_of_a_model_is_that_of_plain_iterations(differentiated: Any):
    gradients = [
        jax.tree.leaves(differentiated[name][1]) for name in ("equilibrium", "plain")
    ]
    largest = max(np.max(np.abs(leaf)) for leaf in gradients[1])
    for one, other in zip(*gradients, strict=True):
        assert np.max(np.abs(one - other)) < 1e-7 * largest


@pytest.mark.parametrize("name", MAKERS)
def test_record_keeps_the_tolerance(name: str):
    model = eqx.filter_eval_shape(MAKERS[name], equilibrium=1e-3)
    found = eqx.filter_eval_shape(lambda: made(recorded(model)))
    assert type(found) is type(model)
    assert found.rtol == 1e-3


@pytest.fixture(scope="module")
def trained() -> Any:
    settings = training.Settings(
        num_steps=40, batch_size=3, learning_rate=2e-2, progress=False
    )
    data = training.Data(X, np.cumsum(X, axis=-1))
    return training.train(MAKERS["IFNO"](equilibrium=1e-3), data, None, settings)


@eqx.filter_jit
def value_and_equilibrium(model: Any, x: Any) -> Any:
    return model(x), model.equilibrium(x)


def test_training_lowers_the_loss(trained: Any):
    assert trained.history["loss"][-1] < 0.5 * trained.history["loss"][0]


def test_model_without_an_equilibrium_is_nan_and_says_so(trained: Any):
    y, found = value_and_equilibrium(trained.model, X[0])
    assert np.all(np.isfinite(y))
    assert found.status == Status.converged
    assert found.relative_residual <= 1e-3
    assert found.value.shape == (12, 4)
    large = eqx.tree_at(
        lambda m: m.layer.pointwise.weight,
        trained.model,
        3 * jnp.eye(4, dtype=jnp.float32),
    )
    y, found = value_and_equilibrium(large, 100 * X[0])
    assert np.all(np.isnan(y))
    assert found.status != Status.converged


@pytest.mark.parametrize("name", MAKERS)
def test_equilibrium_needs_a_tolerance(name: str):
    with pytest.raises(ValueError, match="equilibrium must be a relative tolerance"):
        eqx.filter_eval_shape(MAKERS[name], equilibrium=-1.0)
    found = eqx.filter_eval_shape(
        lambda: MAKERS[name](equilibrium=1e-3).equilibrium(X[0])
    )
    assert isinstance(found, no.Equilibrium)
    model = eqx.filter_eval_shape(MAKERS[name])
    with pytest.raises(ValueError, match="iterates; make one with equilibrium=1e-4"):
        eqx.filter_eval_shape(model.equilibrium, X[0])


@pytest.mark.parametrize("name", MAKERS)
def test_tolerance_that_the_dtype_cannot_meet_is_refused(name: str):
    with pytest.raises(
        ValueError, match=r"equilibrium must be at least 1\.2e-06 in fl"
    ):
        eqx.filter_eval_shape(MAKERS[name], equilibrium=1e-9)
    with pytest.raises(ValueError, match="equilibrium is for models that compute in 3"):
        eqx.filter_eval_shape(MAKERS[name], equilibrium=1e-3, dtype=jnp.bfloat16)
    wide = eqx.filter_eval_shape(MAKERS[name], equilibrium=1e-9, dtype=jnp.float64)
    narrow = jax.tree.map(lambda a: np.zeros(a.shape, np.float32), wide)
    with pytest.raises(ValueError, match=r"equilibrium must be at least 1\.2e-06"):
        eqx.filter_eval_shape(narrow, X[0].astype(np.float32))
