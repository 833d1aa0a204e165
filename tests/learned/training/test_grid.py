from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets.channel_flow import FilteredGrid
from krylax.learned import training


@pytest.mark.parametrize(
    ("periodic", "exact"), [(False, np.e - 1), (True, 1.2660658777520084)]
)
def test_weights_integrate_at_the_order_of_the_trapezoidal_rule(
    periodic: bool, exact: float
):
    errors = []
    for n in (8, 16, 32):
        (x,), (w,) = (
            (grid := training.Grid.uniform((n,), periodic=periodic)).coordinates,
            (grid.weights),
        )
        f = np.exp(np.cos(2 * np.pi * x)) if periodic else np.exp(x)
        errors.append(abs(float(np.sum(w * f)) - exact))
    if periodic:
        assert max(errors) < 1e-6
    else:
        # The intervals are n - 1.
        assert errors[0] / errors[2] == pytest.approx((31 / 7) ** 2, rel=0.01)


def test_weights_of_stretched_points_sum_to_the_length():
    y = np.tanh(np.linspace(-2, 2, 9))
    grid = training.Grid((y, np.arange(4) / 4), periodic=(False, True))
    assert [float(w.sum()) for w in grid.weights] == pytest.approx([y[-1] - y[0], 1])
    assert [float(n) for n in grid.lengths] == pytest.approx([y[-1] - y[0], 1])


def test_weights_around_an_uneven_period_sum_to_it():
    grid = training.Grid(([0.0, 0.1, 0.5],), periodic=True, lengths=(2.0,))
    assert grid.weights[0].tolist() == pytest.approx([0.8, 0.25, 0.95])


def test_grid_passes_through_transformations():
    def total(stretch: Any) -> Any:
        grid = training.Grid(
            (jnp.linspace(0, 1, 5) ** stretch, jnp.arange(3.0)), (False, True)
        )
        return sum(
            jnp.sum(w * x**2)
            for w, x in zip(grid.weights, grid.coordinates, strict=True)
        )

    stretches = jnp.array([1.0, 2.0])
    batched = jax.jit(jax.vmap(total))(stretches)
    one_by_one = jax.jit(lambda: [total(1.0), total(2.0)])()
    assert batched.tolist() == pytest.approx([float(s) for s in one_by_one])


def test_points_of_a_channel_integrate_over_its_box():
    y, weights = np.array([0, 0.3, 1.0, 1.7, 2]), np.array([0, 0.6, 0.8, 0.6, 0])
    x, z = (np.arange(4) + 0.5) / 2, (np.arange(2) + 0.5) / 3
    sides = (np.full(4, 0.5), weights, np.full(2, 1 / 3))
    points = FilteredGrid(x, y, z, sides, (2.0, 2.0, 2 / 3))
    grid = training.Grid.of_channel(points)
    assert grid.periodic == (True, False, True)
    assert [float(n) for n in grid.lengths] == pytest.approx([2, 2, 2 / 3])
    assert [float(w.sum()) for w in grid.weights] == pytest.approx([2, 2, 2 / 3])
    other: Any = (x, y, z)
    with pytest.raises(
        TypeError, match=r"must be what Channel[.]filtered_grid returns"
    ):
        training.Grid.of_channel(other)


def test_grid_of_double_precision_is_one_of_single_precision_without_x64():
    with jax.enable_x64(False):
        grid = training.Grid(([0.0, 1.0, 2.0],), weights=(np.array([0.5, 1.0, 0.5]),))
        traced = jax.eval_shape(
            lambda w: training.Grid((np.arange(3.0),), weights=(w,)), grid.weights[0]
        )
    assert grid.weights[0].dtype == grid.coordinates[0].dtype == np.float32
    assert traced.weights[0].dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((),), "coordinates must hold an array per axis"),
        ((([0.0],),), "two points or more"),
        ((([0.0, 1.0, 1.0],),), "coordinates of axis 0 must be finite and increase"),
        ((([0.0, np.nan],),), "finite and increase"),
        ((([0.0, 1 + 1j],),), "coordinates of axis 0 must be real numbers"),
        ((([0.0, 1.0],), (True, False)), "or 1, one for each axis, got 2"),
        ((([0.0, 1.0, 3.0],), True), "give its period in lengths"),
        ((([0.0, 1.0],), True, (1.0,)), "leave out the last point"),
        ((([0.0, 1.0],), False, (1.0,)), "axis 0 is not periodic"),
        ((([0.0, 1.0],), False, None, ([1.0],)), "weights of axis 0 must have shape"),
        ((([0.0, 1.0],), False, None, ([1.0, np.nan],)), "weights of axis 0 must be f"),
        ((([0.0, 1.0],), False, None, ([1.0, 1j],)), "weights of axis 0 must be real"),
    ],
)
def test_bad_grids_are_refused(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ValueError, match=message):
        training.Grid(*arguments)
