"""The bounded record of residual norms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import krylax as kx
from krylax.solvers.core._history import LENGTH, history_from

from ..cases import operator, problem


def history_of_zero(max_steps: int) -> Any:
    return history_from(jnp.zeros(()), max_steps)


@jax.jit
def recorded(history: Any, num_steps: Any) -> Any:
    """A history of the numbers 0, 1, 2, ..., num_steps."""
    return lax.fori_loop(
        1, num_steps + 1, lambda i, h: h.record(i, i.astype(jnp.float64)), history
    )


@pytest.mark.parametrize("num_steps", [0, 1, 510, 511, 512, 513, 1023, 1024, 5000])
def test_record_holds_every_stride_th_value_up_to_the_last(num_steps: int):
    history = recorded(history_of_zero(10_000), jnp.asarray(num_steps, "int32"))
    values, stride = np.asarray(history.values), int(history.stride)
    reached = num_steps // stride + 1
    assert values.shape == (LENGTH,)
    assert np.array_equal(values[:reached], stride * np.arange(reached))
    assert np.all(np.isinf(values[reached:]))


@pytest.mark.parametrize(("num_steps", "stride"), [(511, 1), (512, 2), (1024, 4)])
def test_stride_doubles_when_the_record_is_full(num_steps: int, stride: int):
    history = recorded(history_of_zero(10_000), jnp.asarray(num_steps, "int32"))
    assert int(history.stride) == stride


@pytest.mark.parametrize("max_steps", [1, 2, 3, 10, 511])
def test_record_of_few_steps_holds_them_all(max_steps: int):
    history = recorded(history_of_zero(max_steps), jnp.asarray(max_steps, "int32"))
    assert np.asarray(history.values)[: max_steps + 1].tolist() == [
        *range(max_steps + 1)
    ]
    assert int(history.stride) == 1


def test_records_under_vmap_are_kept_apart():
    start = history_of_zero(10_000)
    many = jax.vmap(recorded, in_axes=(None, 0))(start, jnp.array([3, 600], jnp.int32))
    assert many.stride.tolist() == [1, 2]
    assert np.asarray(many.values)[0, :4].tolist() == [0, 1, 2, 3]


def test_history_of_thousands_of_steps_is_that_of_the_first_ones_thinned():
    matrix, b = problem("poisson_1d")
    A = operator("gmres", matrix)
    solver = kx.solvers.GMRES(rtol=1e-14, restart=4, max_steps=4000)
    long = kx.solve(A, b, solver, throw=False).stats
    solver = kx.solvers.GMRES(rtol=1e-14, restart=4, max_steps=500)
    short = kx.solve(A, b, solver, throw=False).stats
    stride = int(long.history_stride)
    assert (long.history.shape, short.history.shape) == ((512,), (501,))
    assert stride >= 4
    thinned = np.asarray(short.history)[::stride]
    assert np.array_equal(np.asarray(long.history)[: len(thinned)], thinned)
