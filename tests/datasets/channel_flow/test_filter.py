"""Fields on coarse grids: means, points, other channels."""

import numpy as np
import pytest

from krylax.datasets import channel_flow


@pytest.mark.parametrize("shape", [(4, 6, 3), (3, 8, 4), (8, 14, 6), (1, 3, 1)])
def test_filter_keeps_the_mean_and_is_zero_on_the_walls(
    flow: channel_flow.Channel, state: channel_flow.State, shape: tuple[int, int, int]
):
    field = np.asarray(flow.filtered(state, shape))
    assert field.shape == (3, *shape)
    assert (field[:, :, [0, -1]] == 0).all()
    weights = flow.filtered_grid(shape).weights
    integral = np.einsum("cxyz,x,y,z->c", field, *weights)
    widths = np.asarray(flow.grid.widths)[0, :, 0]
    volume = 3.14 * 1.07
    assert integral[0] == pytest.approx(
        volume * (np.asarray(state.u).mean((0, 2)) @ widths)
    )
    assert integral[2] == pytest.approx(
        volume * (np.asarray(state.w).mean((0, 2)) @ widths), abs=1e-12
    )
    # No flow goes through the walls, so that the mean of v is zero in each plane.
    assert integral[1] == pytest.approx(0, abs=1e-12)


def test_filter_onto_the_cells_themselves_is_interpolation(
    flow: channel_flow.Channel, state: channel_flow.State
):
    field = np.asarray(flow.filtered(state, (8, 14, 6)))[:, :, 1:-1]
    u, w = np.asarray(state.u), np.asarray(state.w)
    v = np.pad(np.asarray(state.v), ((0, 0), (1, 1), (0, 0)))
    assert field[0] == pytest.approx((u + np.roll(u, -1, 0)) / 2, abs=1e-13)
    assert field[1] == pytest.approx((v[:, 1:] + v[:, :-1]) / 2, abs=1e-13)
    assert field[2] == pytest.approx((w + np.roll(w, -1, 2)) / 2, abs=1e-13)


def test_filter_is_the_mean_over_boxes(
    flow: channel_flow.Channel, state: channel_flow.State
):
    # Where coarse faces are fine ones it is a mean by widths: 12 cells to 3 of 4 on a
    # uniform grid, and blocks of 2 and 3 along the walls.
    uniform = channel_flow.Channel(180, (8, 12, 6), stretching=0.0)
    moved = uniform.state(state.u, state.v, state.w)
    fine = np.asarray(uniform.filtered(moved, (8, 14, 6)))[:, :, 1:-1]
    coarse = np.asarray(uniform.filtered(moved, (4, 5, 2)))[:, :, 1:-1]
    blocks = fine.reshape(3, 4, 2, 3, 4, 2, 3).mean((2, 4, 6))
    assert coarse == pytest.approx(blocks, abs=1e-12)


def test_grid_has_points_on_the_walls_and_centres_between(flow: channel_flow.Channel):
    grid = flow.filtered_grid((4, 6, 3))
    assert grid.x == pytest.approx(3.14 / 4 * (np.arange(4) + 0.5))
    assert grid.z == pytest.approx(1.07 / 3 * (np.arange(3) + 0.5))
    assert grid.y[[0, -1]].tolist() == [0, 2]
    assert grid.y == pytest.approx(2 - grid.y[::-1])
    assert [w.sum() for w in grid.weights] == pytest.approx([3.14, 2.0, 1.07])
    assert grid.weights[1][[0, -1]].tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(16, 24, 12), (4, 6, 3), (5, 13, 6)])
def test_flow_on_another_grid_is_nearly_the_same_flow(
    flow: channel_flow.Channel, state: channel_flow.State, shape: tuple[int, int, int]
):
    other = channel_flow.Channel(180, shape)
    moved = other.interpolated(state, flow)
    assert float(np.max(np.abs(other.divergence(moved)))) <= 1e-12
    before, after = (
        f.statistics(s) for f, s in ((flow, flow.restarted(state)), (other, moved))
    )
    assert float(after.bulk_velocity) == pytest.approx(
        float(before.bulk_velocity), rel=0.03
    )
    assert float(moved.time) == float(state.time)


def test_flow_on_its_own_grid_is_the_same_flow(
    flow: channel_flow.Channel, state: channel_flow.State
):
    same = flow.interpolated(state, flow)
    for name in "uvw":
        assert np.asarray(getattr(same, name)) == pytest.approx(
            np.asarray(getattr(state, name)), abs=1e-12
        )
