"""No slip at walls and no divergence, beside dense algebra."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned import neural_operators as no
from krylax.learned import training
from krylax.learned.training._grid import grid_of_cells
from krylax.learned.training._normalizer import Normalizer

Y = np.array([0.0, 0.1, 0.3, 0.55, 0.8, 1.1, 1.2])
CHANNEL = no.Grid(
    (np.arange(4) * 0.5, Y, np.arange(3) * 0.7), periodic=(True, False, True)
)
EMPTY_WALLS = no.Grid(
    CHANNEL.coordinates[:2],
    periodic=(True, False),
    weights=(CHANNEL.weights[0], np.r_[0, 0.2, 0.25, 0.25, 0.25, 0.25, 0]),
)
CELLS = grid_of_cells((np.array([0.1, 0.3, 0.5, 0.7]), np.array([0.2, 0.7, 0.9])))
FEW = no.Grid((np.arange(2) * 0.5, np.array([0.0, 0.4, 1.0])), periodic=(True, False))
GRIDS = {"channel": CHANNEL, "empty walls": EMPTY_WALLS, "cells": CELLS, "few": FEW}
PROJECT, LIFT = no.DivergenceFree(), no.NoSlip(width=0.25)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def spectral(n: int, length: float) -> np.ndarray:
    k = np.fft.fftfreq(n, 1 / n) * (2 * np.abs(np.fft.fftfreq(n)) < 1)
    hat = 2j * np.pi / length * k[:, None] * np.fft.fft(np.eye(n), axis=0)
    return np.fft.ifft(hat, axis=0).real


def between_walls(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """The slopes of parabolas through three points, the walls among them."""
    points = np.concatenate([[low - 1, low] if low < x[0] else [low - 1], x])
    points = np.concatenate([points, [high, high + 1] if high > x[-1] else [high + 1]])
    D = np.zeros((len(x), len(x)))
    for i, here in enumerate(x):
        j = int(np.flatnonzero(points == here)[0])
        near = points[j - 1 : j + 2]
        slopes = np.linalg.inv(np.vander(near - here, 3, increasing=True))[1]
        for point, slope in zip(near, slopes, strict=True):
            D[i, x == point] = slope
    on_wall = (x == low) | (x == high)
    D[on_wall], D[:, on_wall] = 0, 0
    return D


def kron(*factors: np.ndarray) -> np.ndarray:
    result = np.eye(1)
    for factor in factors:
        result = np.kron(result, factor)
    return result


def oracle(grid: no.Grid, walls: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The divergence, and the projection onto what has none, as matrices."""
    axes = list(zip(grid.coordinates, grid.periodic, grid.lengths, walls, strict=True))
    Ds = [
        spectral(len(x), float(L)) if p else between_walls(np.asarray(x), *w)
        for x, p, L, w in axes
    ]
    on = [
        np.zeros(len(x)) if p else np.isin(x, np.asarray(w)).astype(float)
        for x, p, _, w in axes
    ]
    eyes = [np.eye(len(D)) for D in Ds]
    inside = kron(*[np.diag(1 - each) for each in on])
    parts = [kron(*eyes[:i], D, *eyes[i + 1 :]) for i, D in enumerate(Ds)]
    D = inside @ np.hstack(parts)
    normal = np.concatenate(
        [
            np.diag(kron(*eyes[:i], np.diag(each), *eyes[i + 1 :]))
            for i, each in enumerate(on)
        ]
    )
    # What has no weight is on walls, where no condition relates it to what has.
    weights = [np.where(np.asarray(w) > 0, w, 1) for w in grid.weights]
    W = np.tile(np.diag(kron(*[np.diag(w) for w in weights])), len(Ds))
    C = np.vstack([D * (1 - normal), np.diag(normal)]) / np.sqrt(W)
    onto = np.eye(len(W)) - np.linalg.pinv(C, rcond=1e-12) @ C
    return D, onto * np.sqrt(W) / np.sqrt(W)[:, None]


def walls_of(name: str) -> list[Any]:
    if name == "cells":
        return [(0.0, 0.8), (-0.05, 1.0)]
    grid = GRIDS[name]
    return [None, (0.0, grid.coordinates[1][-1]), None][: len(grid.shape)]


@eqx.filter_jit
def computed(fields: dict[str, Any], cotangent: Any) -> Any:
    """All that is needed, in one program."""
    others = ("empty walls", "cells", "few")
    found = {name: PROJECT(fields[name], GRIDS[name]) for name in others}
    u = fields["channel"]

    def project(u: Any) -> Any:
        return PROJECT(u, CHANNEL)

    first, forward = jax.jvp(project, (jnp.zeros_like(u),), (u,))
    backward = jax.vjp(project, u)[1](cotangent)[0]
    found["channel"] = first + forward
    batch = jax.vmap(project)(jnp.stack([found["channel"], u]))
    single = PROJECT(u.astype(jnp.float32), CHANNEL)
    left = PROJECT.divergence(single, CHANNEL)
    named = no.DivergenceFree(channels=(3, 0))
    mixed = jnp.concatenate([fields["cells"], fields["cells"]])
    return found, (first, forward, backward), batch, (single, left), named(mixed, CELLS)


FIELDS = {
    name: drawn(len(grid.shape), *grid.shape, seed=i)
    for i, (name, grid) in enumerate(GRIDS.items())
}
COTANGENT = drawn(*FIELDS["channel"].shape, seed=9)


@pytest.fixture(scope="module")
def results() -> Any:
    return jax.tree.map(np.asarray, computed(FIELDS, COTANGENT))


@pytest.mark.parametrize("name", GRIDS)
def test_result_is_the_nearest_field_without_divergence(name: str, results: Any):
    D, onto = oracle(GRIDS[name], walls_of(name))
    found = results[0][name].reshape(-1)
    assert np.allclose(found, onto @ FIELDS[name].reshape(-1), rtol=0, atol=1e-12)
    assert np.max(np.abs(D @ found)) < 1e-12 * np.max(np.abs(D))


def test_projection_is_idempotent_and_the_same_in_a_batch(results: Any):
    found, batch = results[0]["channel"], results[2]
    assert np.allclose(batch[0], found, rtol=0, atol=1e-13)
    assert np.allclose(batch[1], found, rtol=0, atol=1e-13)


def test_derivatives_at_zero_and_elsewhere_are_the_projection_and_its_transpose(
    results: Any,
):
    _, onto = oracle(CHANNEL, walls_of("channel"))
    first, forward, backward = results[1]
    assert np.all(first == 0)
    assert np.allclose(forward, results[2][1], rtol=0, atol=1e-13)
    expected = (onto.T @ COTANGENT.reshape(-1)).reshape(backward.shape)
    assert np.allclose(backward, expected, rtol=0, atol=1e-12)
    W = np.ones(backward.shape) * np.asarray(CHANNEL.weights[1])[:, None]
    # Self-adjoint in the norm of the weights.
    a, b = FIELDS["channel"], COTANGENT
    assert np.isclose(
        np.sum(W * b * (onto @ a.reshape(-1)).reshape(a.shape)),
        np.sum(W * a * (onto @ b.reshape(-1)).reshape(a.shape)),
    )


def test_single_precision_has_no_divergence_but_rounding(results: Any):
    single, left = results[3]
    assert single.dtype == left.dtype == np.float32
    assert np.allclose(single, results[0]["channel"], rtol=0, atol=1e-5)
    D, _ = oracle(CHANNEL, walls_of("channel"))
    assert np.max(np.abs(left)) < 100 * np.finfo(np.float32).eps * np.max(np.abs(D))


def test_velocity_may_be_some_of_the_channels_in_any_order(results: Any):
    u, found = FIELDS["cells"], results[4]
    _, onto = oracle(CELLS, walls_of("cells"))
    expected = (onto @ np.stack([u[1], u[0]]).reshape(-1)).reshape(u.shape)
    assert np.array_equal(found[1:3], np.stack([u[1], u[0]]))
    assert np.allclose(found[[3, 0]], expected, rtol=0, atol=1e-12)


@jax.jit
def rough(u: Any, grid: no.Grid) -> Any:
    single, half = u.astype(jnp.float32), u.astype(jnp.bfloat16)
    return PROJECT(single, grid), PROJECT(half, grid)


def in_units(unit: float) -> no.Grid:
    """A grid in single precision with lengths of another unit."""
    return jax.tree.map(
        lambda a: (np.asarray(a, np.float64) * unit).astype(np.float32), EMPTY_WALLS
    )


@pytest.mark.parametrize("unit", [1e-25, 1.0, 1e25])
def test_unit_of_length_does_not_matter(unit: float, results: Any):
    single, half = rough(FIELDS["empty walls"], in_units(unit))
    assert single.dtype == np.float32
    assert np.allclose(single, results[0]["empty walls"], rtol=0, atol=1e-5)
    assert half.dtype == jnp.bfloat16
    half = np.asarray(half, np.float64)
    assert np.allclose(half, results[0]["empty walls"], rtol=0, atol=0.03)


def test_what_is_not_finite_is_not_half_projected():
    u = FIELDS["empty walls"].copy()
    u[0, 1, 2] = np.nan
    assert np.all(np.isnan(rough(u, in_units(1.0))[0]))


def test_traced_grid_that_does_not_suit_gives_nan():
    grid = in_units(1.0)
    changed = eqx.tree_at(lambda g: g.weights[1], grid, grid.weights[1] * 0)
    assert np.all(np.isnan(rough(FIELDS["empty walls"], changed)[0]))
    moved = grid.coordinates[0] + np.array([0, 0.1, 0, 0], np.float32)
    changed = eqx.tree_at(lambda g: g.coordinates[0], grid, moved)
    assert np.all(np.isnan(rough(FIELDS["empty walls"], changed)[0]))


@jax.jit
def seen(u: Any, grid: no.Grid, wide: no.Grid) -> Any:
    one = no.NoSlip(width=0.25, channels=(2,))
    together = PROJECT(LIFT(u, grid), grid)
    return LIFT(u, grid), one(u, grid), LIFT(u[:2, 0, :4, 0], wide), together


@pytest.fixture(scope="module")
def lifted() -> Any:
    wide = grid_of_cells((np.array([0.1, 0.3, 0.5, 0.7]),))
    return jax.tree.map(np.asarray, seen(FIELDS["channel"], CHANNEL, wide))


def test_velocity_vanishes_on_walls_and_is_untouched_away_from_them(lifted: Any):
    u, found = FIELDS["channel"], lifted[0]
    inside = (Y >= 0.3) & (Y <= 0.9)
    assert np.all(found[:, :, [0, -1]] == 0)
    assert np.array_equal(found[:, :, inside], u[:, :, inside])
    assert np.allclose(found[:, :, 1], u[:, :, 1] * (1 - (1 - 0.1 / 0.3) ** 3))
    assert np.allclose(found[:, :, 5], u[:, :, 5] * (1 - (1 - 0.1 / 0.3) ** 3))


def test_channels_that_are_no_velocity_are_untouched(lifted: Any):
    assert np.array_equal(lifted[1][:2], FIELDS["channel"][:2])
    assert np.array_equal(lifted[1][2], lifted[0][2])


def test_walls_of_cells_are_where_the_cells_end(lifted: Any):
    u, found = FIELDS["channel"][:2, 0, :4, 0], lifted[2]
    assert np.allclose(found[:, 0], u[:, 0] * (1 - (1 - 0.1 / 0.2) ** 3))
    assert np.array_equal(found[:, 1:3], u[:, 1:3])


def test_projected_velocity_still_vanishes_on_the_walls(lifted: Any):
    assert np.all(lifted[3][:, :, [0, -1]] == 0)


PERIODIC = no.Grid.uniform((4, 4), periodic=True)
UNEQUAL = no.Grid((np.r_[0, 0.1, 0.5],), periodic=True, lengths=(1.0,))
UNEVEN = no.Grid((np.arange(4) * 0.5,), periodic=True, weights=([1.0, 0.1, 1.0, 0.1],))
HOLE = no.Grid((np.arange(4) * 0.5,), weights=([1.0, 0.0, 1.0, 1.0],))
REFUSED: dict[str, tuple[Any, Any, Any, str]] = {
    "no grid": (LIFT, (2, 4, 4), None, "NoSlip needs the grid of the field"),
    "nor here": (PROJECT, (2, 4, 4), None, "DivergenceFree needs the grid of the"),
    "no walls": (LIFT, (2, 4, 4), PERIODIC, "all axes of this one are periodic"),
    "channels": (PROJECT, (3, 4, 4), PERIODIC, "got 3 channels on 2 axes; name them"),
    "shape": (PROJECT, (2, 4, 5), PERIODIC, r"grid of shape \(4, 4\), got \(2, 4, 5\)"),
    "batch": (LIFT, (5, 2, 4, 3), CELLS, "batches by jax.vmap"),
    "few": (no.NoSlip(channels=(2,)), (2, 4, 3), CELLS, "and the field has 2"),
    "spacings": (PROJECT, (1, 3), UNEQUAL, "axis 0 are not equally far"),
    "weights": (PROJECT, (1, 4), UNEVEN, "weights of axis 0 must be equal, as the"),
    "no weight": (PROJECT, (1, 4), HOLE, "axis 0 must be positive between its ends"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_fields_and_grids_that_do_not_fit_are_refused(name: str, as_users_run_it: None):
    constraint, shape, grid, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        eqx.filter_eval_shape(lambda u: constraint(u, grid), np.zeros(shape))


def test_other_arguments_are_refused(as_users_run_it: None):
    other: Any = "grid"
    with pytest.raises(TypeError, match="NoSlip needs a Grid, got 'grid'"):
        LIFT(jnp.zeros((2, 4, 3)), other)
    with pytest.raises(ValueError, match="for real fields, got int"):
        PROJECT(jnp.zeros((2, 4, 3), jnp.int32), CELLS)
    widths: tuple[Any, ...] = (0, 0.6, "x")
    for width in widths:
        with pytest.raises(ValueError, match=r"width must be a part of .* \(0, 0.5\]"):
            no.NoSlip(width)
    several: tuple[Any, ...] = (0, (), (1, 1), (-1,), (0.5,), "uv")
    for channels in several:
        with pytest.raises(ValueError, match="channels must be"):
            no.DivergenceFree(channels)


def test_constraints_are_kept_in_files(tmp_path: Path):
    unit = Normalizer(jnp.zeros(2), jnp.ones(2))
    # Of a model without weights nothing is computed.
    model = no.NoSlip()
    given = (no.NoSlip(0.2), no.DivergenceFree(channels=(1, 0)))
    training.save(
        tmp_path / "x",
        training.Surrogate(
            model, unit, unit, CELLS, num_dimensions=2, constraint=given
        ),
    )
    lift, project = training.load(tmp_path / "x").constraint
    assert (lift.width, lift.channels) == (0.2, None)
    assert (type(project), project.channels) == (no.DivergenceFree, (1, 0))
