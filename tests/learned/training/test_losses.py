"""Losses: their formulas, their derivatives, and what they do at zero."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from krylax.learned import training
from krylax.learned.training._augment import square

from .models import fields

N = 64
T = np.arange(N) / N
GRID: Any = SimpleNamespace(coordinates=(jnp.asarray(T), jnp.asarray(2 * T)))
LOSSES = (
    training.relative_l2,
    training.vrmse,
    training.h1,
    lambda p, y: training.h1(p, y, GRID),
)


@jax.jit
def values(p: Any, y: Any) -> Any:
    return jnp.stack([loss(p, y) for loss in LOSSES])


def test_losses_agree_with_their_formulas():
    y, p = fields(1, 2, N, N)[0], fields(1, 2, N, N, seed=1)[0]
    y[0] += 3

    def sobolev(e: Any, steps: Any) -> Any:
        parts = [np.mean((np.diff(e, axis=a + 1) / steps[a]) ** 2) for a in (0, 1)]
        return np.mean(e**2) + sum(parts)

    axes = (1, 2)
    expected = [
        np.linalg.norm(p - y) / np.linalg.norm(y),
        np.mean(np.sqrt(np.mean((p - y) ** 2, axes) / (np.var(y, axes) + 1e-7))),
    ]
    for steps in ((1 / (N - 1), 1 / (N - 1)), (1 / N, 2 / N)):
        expected.append(np.sqrt(sobolev(p - y, steps) / sobolev(y, steps)))
    assert np.allclose(values(p, y), expected, rtol=1e-12)


def test_error_in_h1_is_that_of_the_derivative():
    """Of sin 2πx against a thousandth of sin 32πx: 16 times as steep."""
    y = np.sin(2 * np.pi * T)[:, None] * np.ones(N)
    e = 1e-3 * np.sin(32 * np.pi * T)[:, None] * np.ones(N)
    found = values((y + e)[None], y[None])
    assert np.isclose(found[0], 1e-3)
    # Differences of the steeper wave are short of its derivative by sin(a)/a.
    slope = 1e-3 * 16 * np.sinc(16 / N) / np.sinc(1 / N)
    assert np.isclose(found[3], slope, rtol=0.03)


@jax.jit
def slopes(p: Any, y: Any) -> Any:
    return [jax.grad(loss)(p, y) for loss in LOSSES]


def test_derivatives_of_no_error_and_of_nothing_are_zero():
    y = fields(1, 2, N, N)[0]
    assert all(np.all(slope == 0) for slope in slopes(y, y))
    zero = np.zeros_like(y)
    assert all(np.all(slope == 0) for slope in slopes(zero, zero))
    assert np.all(np.isfinite(values(y, zero)))


def test_errors_do_not_depend_on_the_unit_and_not_a_number_stays_so():
    y, p = fields(1, 2, N, N)[0], fields(1, 2, N, N, seed=1)[0]
    expected = np.asarray(values(p, y))
    for unit in (1e-200, 1e200):
        found = np.asarray(values(unit * p, unit * y))
        # The floor of the other one is a number in the unit of the field.
        compared = [0, 2, 3] if unit < 1 else [0, 1, 2, 3]
        assert np.allclose(found[compared], expected[compared], rtol=1e-6)
    for slope, scaled in zip(slopes(p, y), slopes(1e200 * p, 1e200 * y), strict=True):
        assert np.allclose(1e200 * np.asarray(scaled), slope, rtol=1e-6)
    p[0, 3, 4] = np.nan
    assert np.all(np.isnan(values(p, y)))


@jax.jit
def turned(x: Any, y: Any, keys: Any) -> Any:
    return jax.vmap(lambda key: square(x, y, key))(keys)


def test_square_has_eight_symmetries():
    x = np.arange(18.0).reshape(2, 3, 3)
    y = 10 * x[:1, None]
    keys = jax.random.split(jax.random.key(0), 200)
    found, outputs = map(np.asarray, turned(x, y, keys))
    expected = {
        np.ascontiguousarray(each).tobytes()
        for k in range(4)
        for each in (np.rot90(x, k, (1, 2)), np.rot90(x.transpose(0, 2, 1), k, (1, 2)))
    }
    assert {each.tobytes() for each in found} == expected
    # The chance that one of them is missing in 200 draws is 2e-11.
    assert len(expected) == 8
    assert np.array_equal(outputs[:, 0, 0], 10 * found[:, 0])


def test_axes_of_other_lengths_are_not_exchanged():
    x = np.arange(6.0).reshape(1, 2, 3)
    keys = jax.random.split(jax.random.key(0), 100)
    found, _ = turned(x, x, keys)
    assert found.shape == (100, 1, 2, 3)
    assert len({np.asarray(each).tobytes() for each in found}) == 4
