from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import neural_operators as no

from .test_fno import applied, made

RNG = np.random.default_rng(0)
MATRIX = np.linalg.qr(RNG.standard_normal((3, 3)))[0]


@eqx.filter_jit
def compiled(surrogate: Any, u0: Any, num_steps: int, options: Any) -> Any:
    return no.rollout(surrogate, u0, num_steps, **options)


def rolled(surrogate: Any, u0: Any, num_steps: int, **options: Any) -> Any:
    return compiled(surrogate, u0, num_steps, options)


def rotated(u: Any) -> Any:
    return jnp.tensordot(MATRIX, u, axes=1)


def squared(u: Any) -> Any:
    return u * u


def test_linear_map_gives_the_powers_of_its_matrix():
    u0 = RNG.standard_normal((3, 4, 2))
    result = rolled(rotated, u0, 50)
    expected = [
        np.tensordot(np.linalg.matrix_power(MATRIX, n), u0, axes=1) for n in range(51)
    ]
    assert np.max(np.abs(np.asarray(result.values) - expected)) < 1e-12
    assert (int(result.num_steps), int(result.first_nonfinite)) == (50, -1)
    assert bool(result.finite)


def test_every_few_states_are_the_same_states():
    u0 = RNG.standard_normal((3, 4))
    found, all_of_them = rolled(rotated, u0, 12, every=4), rolled(rotated, u0, 12)
    assert np.array_equal(found.values, all_of_them.values[::4])
    assert int(found.num_steps) == 12


def test_new_frames_replace_the_oldest():
    def fibonacci(u: Any) -> Any:
        return u[:2] + u[2:]

    u0 = np.repeat([[0.0], [5.0], [1.0], [5.0]], 2, axis=1)
    result = rolled(fibonacci, u0, 6, num_frames=2)
    values = np.asarray(result.values)
    assert values[:, 0, 0].tolist() == [1, 1, 2, 3, 5, 8, 13]
    assert values[:, 1, 1].tolist() == [5, 10, 15, 25, 40, 65, 105]


@pytest.mark.parametrize("every", [1, 2, 6])
def test_step_of_a_blow_up_is_exact(every: int):
    # 10^(2^n) is beyond float64 for n = 9.
    result = rolled(squared, np.full((1, 2), 10.0), 12, every=every)
    assert (int(result.first_nonfinite), int(result.num_steps)) == (9, 8)
    assert not bool(result.finite)
    is_finite = np.arange(0, 13, every) < 9
    values = np.asarray(result.values)
    assert np.all(np.isfinite(values[is_finite]))
    assert np.all(np.isnan(values[~is_finite]))


def test_one_value_ends_all_of_them():
    u0 = np.array([[10.0, 0.5]])
    result = rolled(squared, u0, 12)
    assert np.all(np.isnan(result.values[9:]))
    assert np.all(np.isfinite(result.values[:9]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_start_that_is_not_finite_is_step_zero(bad: float):
    result = rolled(rotated, np.full((3, 2), bad), 4)
    assert (int(result.first_nonfinite), int(result.num_steps)) == (0, 0)
    assert np.all(np.isnan(result.values))


def test_nothing_is_computed_after_the_end():
    calls = []

    def recorded(u: Any) -> Any:
        jax.debug.callback(lambda u: calls.append(float(u[0, 0])), u)
        return u * u

    result = jax.block_until_ready(rolled(recorded, np.full((1, 1), 10.0), 12))
    jax.effects_barrier()
    assert len(calls) == int(result.first_nonfinite) == 9


def test_starts_of_a_batch_end_by_themselves():
    starts = np.array([10.0, 0.5, 1e200]).reshape(3, 1, 1)
    batch = jax.jit(jax.vmap(lambda u: no.rollout(squared, u, 12)))(starts)
    assert batch.first_nonfinite.tolist() == [9, -1, 1]
    assert batch.num_steps.tolist() == [8, 12, 0]
    for i, u0 in enumerate(starts):
        one = rolled(squared, u0, 12)
        assert np.array_equal(batch.values[i], one.values, equal_nan=True)


@jax.jit
def slope_at_the_end(factor: Any, num_frames_start: Any) -> Any:
    def final(factor: Any) -> Any:
        result = no.rollout(lambda u: factor * u, num_frames_start, 5)
        return jnp.sum(result.values[-1])

    return jax.grad(final)(factor), jax.jvp(final, (factor,), (1.0,))[1]


def test_derivative_is_that_of_the_power():
    found = slope_at_the_end(1.5, np.ones((1, 2)))
    assert [float(d) for d in found] == pytest.approx([2 * 5 * 1.5**4] * 2)


@jax.jit
def slope_before_the_end(start: Any) -> Any:
    def value(start: Any) -> Any:
        return no.rollout(squared, start, 12).values[2, 0, 0]

    return jax.grad(value)(start)


def test_derivatives_of_finite_states_are_finite_after_a_blow_up():
    assert float(slope_before_the_end(np.full((1, 1), 10.0))[0, 0]) == 4000


class Exponential(eqx.Module):
    """u -> exp(w u), whose derivative is infinite where it is."""

    weight: Any

    def __call__(self, u: Any) -> Any:
        return jnp.exp(self.weight * u)


@eqx.filter_jit
def slopes(model: Any, u0: Any) -> Any:
    def value(model: Any, u0: Any) -> Any:
        result = no.rollout(eqx.filter_checkpoint(model), u0, 9)
        return jnp.sum(jnp.where(jnp.isfinite(result.values), result.values, 0))

    def one(u0: Any) -> Any:
        by_weight = jax.grad(value)(model, u0).weight
        by_start = jax.grad(value, 1)(model, u0)
        forward = jax.jvp(lambda m: value(m, u0), (model,), (Exponential(1.0),))[1]
        return by_weight, by_start, forward

    return one(u0[0]), jax.vmap(one)(u0)


def test_step_that_overflows_has_no_part_in_derivatives():
    """From 1: 1, e, e^e, e^(e^e), and what is beyond float64."""
    u0 = np.array([1.0, -3.0]).reshape(2, 1, 1)
    (by_weight, by_start, forward), batch = slopes(Exponential(jnp.ones(())), u0)
    u, by_w, by_u, sums = 1.0, 0.0, 1.0, [0.0, 1.0]
    for _ in range(3):
        new = np.exp(u)
        u, by_w, by_u = new, new * (u + by_w), new * by_u
        sums = [sums[0] + by_w, sums[1] + by_u]
    assert float(by_weight) == pytest.approx(sums[0], rel=1e-12)
    assert float(forward) == pytest.approx(sums[0], rel=1e-12)
    assert float(by_start[0, 0]) == pytest.approx(sums[1], rel=1e-12)
    assert np.allclose(batch[0][0], by_weight)
    assert all(np.all(np.isfinite(values)) for values in batch)


def test_states_have_the_dtype_of_the_start():
    u0 = np.ones((1, 2), np.float32)
    result = rolled(lambda u: u.astype(jnp.float64) * 2, u0, 2)
    assert result.values.dtype == np.float32
    turned = rolled(lambda u: 1j * u, np.ones((1, 2), complex), 4)
    assert np.array_equal(turned.values[:, 0, 0], [1, 1j, -1, -1j, 1])


def test_models_are_rolled_out():
    model, u0 = made(1, num_modes=3, width=4, num_layers=1), RNG.standard_normal((1, 8))
    values = np.asarray(rolled(model, u0, 3).values)
    assert values.shape == (4, 1, 8)
    assert np.max(np.abs(values[1] - applied(model, u0))) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((rotated, np.ones((3, 2)), 0), {}, "num_steps must be at least 1"),
        ((rotated, np.ones((3, 2)), 5), {"every": 2}, "every must divide num_steps 5"),
        ((rotated, np.ones((3, 2))), {"every": 0}, "every must be at least 1"),
        ((rotated, np.ones((3, 2))), {"num_frames": 2}, "with num_frames 2, got"),
        ((rotated, np.float64(1)), {}, "u0 must have shape"),
        ((rotated, np.ones((3, 2), int)), {}, "real or complex floats, got int64"),
        ((lambda u: u[:1], np.ones((3, 2))), {}, r"of shape \(3, 2\), got shape"),
        ((lambda u: (u,), np.ones((3, 2))), {}, r"of shape \(3, 2\), got tuple"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, options: Any, message: str):
    with pytest.raises(ValueError, match=message):
        no.rollout(*arguments, **options)


def test_surrogates_are_functions():
    with pytest.raises(TypeError, match="surrogate must be a function"):
        no.rollout(None, np.ones((1, 2)))  # pyright: ignore[reportArgumentType]
