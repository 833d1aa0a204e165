"""The differences: solutions of the channel, and what they keep."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets import channel_flow
from krylax.datasets.channel_flow._grid import StaggeredGrid, wall_normal
from krylax.datasets.channel_flow._operators import acceleration, divergence
from krylax.datasets.channel_flow._projection import Projection


def random_velocity(grid: StaggeredGrid, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return tuple(
        jnp.asarray(rng.standard_normal(s), grid.dtype) for s in grid.velocity_shapes
    )


def volumes(grid: StaggeredGrid) -> tuple[np.ndarray, ...]:
    _, widths, distances = wall_normal(grid.shape[1], grid.stretching)
    return tuple(each[:, None] for each in (widths, distances[1:-1], widths))


@jax.jit
def projected(grid: Any, viscosity: Any, velocity: Any, projection: Any) -> Any:
    found = projection(velocity, grid)
    return found, divergence(found, grid), acceleration(found, grid, viscosity)


@pytest.mark.parametrize("stretching", [0.0, 1.7])
@pytest.mark.parametrize("shape", [(6, 10, 4), (1, 5, 3), (3, 4, 1)])
def test_projected_flow_has_no_divergence_and_convection_keeps_its_energy(
    shape: tuple[int, int, int], stretching: float
):
    grid = StaggeredGrid(shape, (3.0, 2.0, 1.0), stretching, jnp.float64)
    found, rest, a = projected(
        grid, jnp.asarray(0.0), random_velocity(grid), Projection(grid)
    )
    assert np.max(np.abs(rest)) <= 1e-12
    terms = [
        np.asarray(q) * np.asarray(n) * h
        for q, n, h in zip(found, a, volumes(grid), strict=True)
    ]
    size = sum(np.abs(term).sum() for term in terms)
    assert abs(sum(term.sum() for term in terms)) <= 1e-14 * size


def test_projection_is_the_nearest_flow_without_divergence():
    # u - P u is orthogonal to P u, in the inner product by volume.
    grid = StaggeredGrid((6, 10, 4), (3.0, 2.0, 1.0), 1.7, jnp.float64)
    given = random_velocity(grid)
    found, *_ = projected(grid, jnp.asarray(0.0), given, Projection(grid))
    products = [
        np.sum(np.asarray(q) * (np.asarray(g) - np.asarray(q)) * h)
        for q, g, h in zip(found, given, volumes(grid), strict=True)
    ]
    assert abs(sum(products)) <= 1e-11


def test_projection_in_single_precision_keeps_its_type():
    grid = StaggeredGrid((6, 10, 4), (3.0, 2.0, 1.0), 1.7, jnp.float32)
    found, rest, a = projected(
        grid, jnp.float32(0.1), random_velocity(grid), Projection(grid)
    )
    assert {q.dtype for q in (*found, *a)} == {jnp.dtype("float32")}
    assert np.max(np.abs(rest)) <= 1e-3


def laminar(grid: StaggeredGrid, viscosity: float) -> np.ndarray:
    """The discrete solution of ν u'' = -1, by a dense solve."""
    _, widths, distances = wall_normal(grid.shape[1], grid.stretching)
    n = len(widths)
    steps = np.zeros((n + 1, n))
    steps[:n] += np.eye(n)
    steps[1:] -= np.eye(n)
    # Beyond the walls is the mirror image.
    steps[0, 0], steps[-1, -1] = 2, -2
    second = np.diff(steps / distances[:, None], axis=0) / widths[:, None]
    return np.linalg.solve(viscosity * second, -np.ones(n))


def test_laminar_profile_is_steady():
    flow = channel_flow.Channel(10, (4, 12, 3), bulk_velocity=3.3)
    profile = laminar(flow.grid, 0.1)
    u = np.broadcast_to(profile[:, None], (4, 12, 3))
    state = flow.state(u, np.zeros((4, 11, 3)), np.zeros((4, 12, 3)))
    after = flow.run(state, 10)
    assert np.max(np.abs(after.u - u)) <= 1e-12
    assert np.max(np.abs(after.v)) <= 1e-12
    found = flow.statistics(after)
    assert np.asarray(found.total_stress) == pytest.approx(1 - np.asarray(found.y))
    assert float(found.re_tau) == pytest.approx(10)


def test_laminar_profile_is_of_second_order():
    errors = []
    for n in (16, 32, 64):
        grid = StaggeredGrid((1, n, 1), (1.0, 2.0, 1.0), 1.7, jnp.float64)
        y = np.asarray(grid.centres)[0, :, 0]
        errors.append(np.max(np.abs(laminar(grid, 1.0) - y * (2 - y) / 2)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx([2, 2], abs=0.1)


def test_wall_normal_faces_are_symmetric_and_end_on_the_walls():
    faces, widths, distances = wall_normal(9, 1.7)
    assert faces[[0, -1]].tolist() == [0, 2]
    assert (widths == widths[::-1]).all()
    assert widths.sum() == pytest.approx(2)
    assert widths == pytest.approx(np.diff(faces))
    assert (distances == distances[::-1]).all()
