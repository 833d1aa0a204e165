"""The parts of a frame of a flow, each by itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets.families import _mac_flow as mac
from krylax.datasets.families._flow_scenes import AIR, FLUID, SOLID

from ...helpers import observed_orders

EPS = float(np.finfo(np.float64).eps)


def constant(shape: tuple[int, ...], *values: float) -> mac.Velocity:
    return tuple(
        jnp.full([n + (a == axis) for a, n in enumerate(shape)], value)
        for axis, value in enumerate(values)
    )


def rotation(n: int) -> mac.Velocity:
    """Once around the middle of the square in a time of 2 pi."""
    y, x = (mac.positions((n, n), axis, jnp.dtype(float)) for axis in (0, 1))
    return 0.5 - y[1], x[0] - 0.5


def blob(n: int, x: float, y: float) -> jax.Array:
    points = mac.positions((n, n), None, jnp.dtype(float))
    squares = (points[0] - x) ** 2 + (points[1] - y) ** 2
    return jnp.exp(-squares / 0.15**2)


@pytest.mark.parametrize("shape", [(9, 6), (5, 4, 6)])
def test_constants_are_carried_along_exactly(shape: tuple[int, ...]):
    velocity = constant(shape, 0.7, -1.1, 0.3)[: len(shape)]
    density = jnp.full(shape, 2.0)
    found = jax.jit(mac.advect)(velocity, density, 0.1)
    for moved, before in zip(jax.tree.leaves(found), [*velocity, density], strict=True):
        np.testing.assert_allclose(moved, before, rtol=4 * EPS)


def test_a_shift_by_whole_cells_is_exact_away_from_walls():
    density = jnp.asarray(np.random.default_rng(0).random((8, 8)))
    velocity = constant((8, 8), 1.0, -1.0)
    _, moved = jax.jit(mac.advect)(velocity, density, 2 / 8)
    np.testing.assert_allclose(moved[2:, :-2], density[:-2, 2:], rtol=1e-12)


def test_a_blob_that_goes_round_comes_back_at_first_order():
    @jax.jit
    def quarter(density: Any) -> Any:
        n = density.shape[0]

        def step(_: Any, density: Any) -> Any:
            return mac.advect(rotation(n), density, np.pi / n)[
                1
            ]  # n/2 steps of a quarter turn

        return jax.lax.fori_loop(0, n // 2, step, density)

    errors = [
        float(jnp.max(jnp.abs(quarter(blob(n, 0.5, 0.25)) - blob(n, 0.75, 0.5))))
        for n in (32, 64, 128)
    ]
    # Interpolation in n/2 steps leaves a diffusion of n h²; 0.81 and 0.90, and rising.
    coarse, fine = observed_orders(errors)
    assert 0.75 < coarse < fine
    assert fine > 0.85


def test_a_velocity_carries_itself_along():
    angle, inside = 0.01, (slice(8, 24), slice(8, 24))
    (moved, _), _ = jax.jit(mac.advect)(rotation(32), blob(32, 0.5, 0.5), angle)
    x, y = (p - 0.5 for p in mac.positions((32, 32), 0, jnp.dtype(float)))
    # Of the place from which a rotation by the angle leads here.
    expected = np.sin(angle) * x - np.cos(angle) * y
    np.testing.assert_allclose(moved[inside], expected[inside], atol=angle**3)


def test_divergence_is_that_of_the_fluxes_through_faces():
    random = np.random.default_rng(1)
    u, v = random.random((5, 3)), random.random((4, 4))
    cells = np.full((4, 3), FLUID)
    cells[1, 2] = SOLID
    found = mac.negative_divergence(
        (jnp.asarray(u), jnp.asarray(v)), jnp.asarray(cells)
    )
    for i, j in np.ndindex(4, 3):
        out = 4 * (u[i + 1, j] - u[i, j]) + 3 * (v[i, j + 1] - v[i, j])
        expected = 0 if (i, j) == (1, 2) else -out
        assert abs(found[i, j] - expected) <= 10 * EPS


def test_faces_of_solids_walls_and_fluid_are_found():
    cells = jnp.asarray([[SOLID, FLUID, AIR, AIR]], jnp.int32)
    is_fluid, is_solid, open_solid = (
        np.asarray(found)[0].tolist()
        for found in (
            mac.is_fluid_face(cells, 1, False),
            mac.is_solid_face(cells, 1, False),
            mac.is_solid_face(cells, 1, True),
        )
    )
    assert is_fluid == [False, True, True, False, False]
    assert is_solid == [True, True, False, False, True]
    assert open_solid == [True, True, False, False, False]


def test_values_are_extrapolated_layer_by_layer():
    values = jnp.asarray([[5.0, 3.0, 0.0, 9.0, 9.0]] * 3)
    is_known = jnp.asarray([[True, True, False, False, False]] * 3)
    found = jax.jit(mac.extrapolate, static_argnums=2)(values, is_known, 2)
    np.testing.assert_array_equal(found, [[5.0, 3.0, 3.0, 3.0, 0.0]] * 3)


def test_distances_get_the_slope_one_and_keep_their_sign():
    n = 32
    x, y = mac.positions((n, n), None, jnp.dtype(float))
    distance = jnp.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2) - 0.3
    found = jax.jit(mac.redistanced)(2 * distance)
    # Within the four cells that the steps reach, and to a third of a cell.
    is_near = abs(distance) < 3 / n
    assert np.max(np.abs(found - distance), where=is_near, initial=0) < 1 / 3 / n
    assert np.all(np.sign(found) == np.sign(distance))


def test_a_liquid_fills_as_many_cells_as_before():
    distance = jnp.asarray(np.random.default_rng(2).standard_normal((9, 7)))
    for count in (1, 30, 62):
        cells, found = jax.jit(mac.liquid)(distance, jnp.asarray(count))
        assert np.count_nonzero(cells == FLUID) == count
        assert np.count_nonzero(found < 0) == count


def test_the_mean_over_the_fluid_is_taken_out():
    cells = jnp.asarray([[FLUID, SOLID, FLUID, FLUID]])
    found = mac.without_mean(jnp.asarray([[1.0, 0.0, 2.0, 6.0]]), cells)
    np.testing.assert_allclose(found, [[-2.0, 0.0, -1.0, 3.0]])
