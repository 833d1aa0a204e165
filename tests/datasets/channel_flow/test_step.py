"""The time step: its order, its forcings, its derivatives."""

from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets import channel_flow


def with_dt(flow: channel_flow.Channel, dt: float) -> channel_flow.Channel:
    return eqx.tree_at(lambda f: f.dt, flow, jnp.asarray(dt))


def test_steps_are_of_third_order(
    flow: channel_flow.Channel, state: channel_flow.State
):
    found = [
        np.asarray(with_dt(flow, 0.016 / n).run(state, n).u) for n in (8, 16, 32, 64)
    ]
    steps = [np.linalg.norm(a - b) for a, b in pairwise(found)]
    orders = np.log2(np.array(steps[:-1]) / steps[1:])
    assert orders == pytest.approx([3, 3], abs=0.2)


def test_shear_waves_decay_as_they_should():
    # u = cos(2π z / L) has neither convection nor pressure; walls do not matter where
    # the middle is watched for a short time.
    flow = channel_flow.Channel(
        10, (4, 16, 16), (2.0, 2.0, 1.0), dt=1e-4, forcing="flux"
    )
    flow = eqx.tree_at(lambda f: f.bulk_velocity, flow, jnp.asarray(0.0))
    wave = np.cos(2 * np.pi * (np.arange(16) + 0.5) / 16)
    u = np.broadcast_to(wave, (4, 16, 16))
    after = flow.run(flow.state(u, np.zeros((4, 15, 16)), np.zeros((4, 16, 16))), 100)
    rate = 0.1 * (2 * 16 * np.sin(np.pi / 16)) ** 2
    expected = np.exp(-rate * 0.01) * wave
    assert np.max(np.abs(np.asarray(after.u)[:, 8] - expected)) <= 1e-6


def test_divergence_stays_at_rounding(
    flow: channel_flow.Channel, state: channel_flow.State
):
    assert float(np.max(np.abs(flow.divergence(state)))) <= 1e-12


def test_constant_flux_keeps_the_bulk_velocity():
    flow = channel_flow.Channel(180, (8, 12, 6), forcing="flux", bulk_velocity=14.0)
    state = flow.run(flow.initial(jax.random.key(1)), 30)
    found = flow.statistics(flow.restarted(state))
    bulk = found.bulk_velocity * found.friction_velocity
    assert float(bulk) == pytest.approx(14.0, rel=1e-13)
    assert float(found.friction_velocity) == pytest.approx(float(found.re_tau) / 180)
    assert float(np.max(np.abs(flow.divergence(state)))) <= 1e-12


def test_pressure_and_shear_balance_in_each_step(
    flow: channel_flow.Channel, state: channel_flow.State
):
    # dU_b/dt = 1 - τ_w: the differences neither lose momentum nor make any.
    fine = with_dt(flow, 1e-5)
    start, after = (
        flow.statistics(flow.restarted(s)) for s in (state, fine.run(state, 1))
    )
    change = float(after.bulk_velocity - start.bulk_velocity) / 1e-5
    shear = (float(start.re_tau) / 180) ** 2
    assert change == pytest.approx(1 - shear, abs=1e-3)


def test_gradient_through_steps_is_that_of_finite_differences(
    flow: channel_flow.Channel, state: channel_flow.State
):
    direction = jnp.asarray(np.random.default_rng(0).standard_normal(state.v.shape))

    @jax.jit
    def along(size: Any) -> Any:
        moved = eqx.tree_at(lambda s: s.v, state, state.v + size * direction)
        after = flow.run(moved, 3)
        return jnp.sum(after.u**2) + jnp.sum(after.w**3)

    @jax.jit
    def derivatives(size: Any) -> Any:
        return jax.grad(along)(size), jax.jvp(along, (size,), (jnp.asarray(1.0),))[1]

    reverse, forward = map(float, derivatives(jnp.asarray(0.0)))
    h = 1e-4
    expected = float(along(jnp.asarray(h)) - along(jnp.asarray(-h))) / (2 * h)
    assert reverse == pytest.approx(forward, rel=1e-10)
    assert reverse == pytest.approx(expected, rel=1e-6)


def test_flows_run_side_by_side_as_they_do_alone(
    flow: channel_flow.Channel, state: channel_flow.State
):
    run = jax.jit(jax.vmap(lambda s: flow.run(s, 2)))
    both = run(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state))
    alone = flow.run(state, 2)
    assert np.asarray(both.u[1]) == pytest.approx(np.asarray(alone.u), abs=1e-12)
    assert both.num_steps.tolist() == [22, 22]
    assert both.sums.count.tolist() == [11, 11]


def test_a_run_in_parts_is_the_same_run(
    flow: channel_flow.Channel, state: channel_flow.State
):
    parts = flow.run(flow.run(state, 3), 4)
    whole = flow.run(state, 7)
    assert (np.asarray(parts.u) == np.asarray(whole.u)).all()
    assert int(parts.sums.count) == int(whole.sums.count)
    assert (np.asarray(parts.sums.uv) == np.asarray(whole.sums.uv)).all()
