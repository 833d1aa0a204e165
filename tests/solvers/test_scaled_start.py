from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers import ScaledStart
from krylax.solvers.core._scaled_start import nearest_multiple

RNG = np.random.default_rng(0)
A = kx.operators.Laplacian((7, 6))
DENSE = np.asarray(A.as_matrix())
B = RNG.standard_normal((7, 6))
X = np.linalg.solve(DENSE, B.ravel()).reshape(7, 6)
NOISY = X + 0.3 * np.linalg.norm(X) / 6.5 * RNG.standard_normal((7, 6))
CG = kx.solvers.CG(1e-10)


@eqx.filter_jit
def solved(A: Any, b: Any, x0: Any, solver: Any = CG, unroll: int | None = None) -> Any:
    return kx.solve(A, b, solver, x0=x0, throw=False, unroll=unroll)


@pytest.mark.parametrize("factor", [-3.0, 1e-200, 1e200])
def test_length_of_a_start_does_not_matter(factor: float):
    ours = solved(A, B, ScaledStart(factor * NOISY))
    best = np.vdot(NOISY, B) / np.vdot(NOISY, DENSE @ NOISY.ravel())
    plain = solved(A, B, best * NOISY)
    assert ours.stats.is_start_used
    assert ours.stats.num_steps == plain.stats.num_steps
    assert np.allclose(ours.value, X, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("factor", "size"), [(1e200, 1e-200), (1e-200, 1e200)])
def test_start_may_be_larger_or_smaller_than_b_by_any_factor(
    factor: float, size: float
):
    ours = solved(A, size * B, ScaledStart(factor * X))
    assert ours.stats.is_start_used
    assert ours.stats.num_steps == 0


def test_no_product_is_made_beside_that_of_a_plain_start():
    ours, plain = solved(A, B, ScaledStart(X)), solved(A, B, jnp.asarray(X))
    assert ours.stats.num_steps == plain.stats.num_steps == 0
    assert ours.stats.num_matvecs == plain.stats.num_matvecs


@pytest.mark.parametrize("is_definite", [True, False])
@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
def test_start_is_the_nearest_multiple(is_definite: bool, size: float):
    tags = {"positive_definite"} if is_definite else set()
    M = kx.operators.Dense(size * DENSE, tags=tags)
    x, b = NOISY.ravel(), B.ravel()
    test = x if is_definite else DENSE @ x
    x0, r0, is_used = eqx.filter_jit(nearest_multiple)(
        M, b, x, kx.solvers.InnerProduct()
    )
    expected = np.vdot(test, b) / np.vdot(test, DENSE @ x)
    assert is_used
    assert np.allclose(size * x0, expected * x, rtol=1e-13)
    assert np.allclose(r0, b - expected * (DENSE @ x), atol=1e-13)


@pytest.mark.parametrize(
    "start", [np.zeros((7, 6)), np.roll(np.eye(7, 6), 1), np.full((7, 6), 1e-320)]
)
def test_start_that_knows_nothing_costs_no_steps(start: Any):
    b = np.zeros((7, 6))
    b[3, 3] = 1.0
    without = solved(A, b, None)
    ours = solved(A, b, ScaledStart(start))
    assert kx.Status(int(ours.status)) == kx.Status.converged
    assert ours.stats.num_steps <= without.stats.num_steps + 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_start_that_is_not_finite_is_reported(bad: float):
    ours = solved(A, B, ScaledStart(np.full((7, 6), bad)))
    assert kx.Status(int(ours.status)) == kx.Status.nonfinite_input


def test_prediction_in_single_precision_starts_a_solve_in_double():
    ours = solved(A, B, ScaledStart(X.astype(np.float32)))
    assert ours.value.dtype == jnp.float64
    assert 0 < ours.stats.num_steps < solved(A, B, None).stats.num_steps


def test_lanes_are_scaled_one_by_one():
    factors = np.array([1.0, -20.0])

    @jax.vmap
    def steps(factor: Any) -> Any:
        sol = kx.solve(A, jnp.asarray(B), CG, x0=ScaledStart(factor * X), throw=False)
        return sol.stats.num_steps

    assert jax.jit(steps)(factors).tolist() == [0, 0]


def test_unrolled_solve_has_a_derivative_with_respect_to_the_start():
    @jax.jit
    def error(x0: Any) -> Any:
        sol = kx.solve(A, jnp.asarray(B), CG, x0=ScaledStart(x0), unroll=2)
        return jnp.sum((sol.value - X) ** 2)

    direction = RNG.standard_normal((7, 6))
    step = 1e-5
    ahead, behind = error(NOISY + step * direction), error(NOISY - step * direction)
    slope = np.vdot(jax.jit(jax.grad(error))(NOISY), direction)
    assert slope == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-5)


def test_start_is_used_like_the_array_that_it_holds():
    start = ScaledStart(X)
    assert (start.shape, start.dtype) == ((7, 6), np.float64)
    assert np.array_equal(np.asarray(start), X)
    assert np.array_equal(jnp.asarray(start), X)


def test_bad_starts_are_refused():
    with pytest.raises(ValueError, match="x0"):
        kx.solve(A, B, CG, x0=ScaledStart(np.ones(3)))
    with pytest.raises(TypeError, match="use its value"):
        ScaledStart((X, X)).shape  # noqa: B018  # the access is what is tested
    with pytest.raises(ValueError, match="give the value of the ScaledStart"):
        kx.solve(A, B, kx.solvers.LSMR(), x0=ScaledStart(X))
