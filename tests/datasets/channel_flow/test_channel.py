"""The channel: statistics, initial states, what it refuses."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets import channel_flow
from krylax.datasets.channel_flow._presets import PRESETS
from krylax.datasets.channel_flow._time_step import time_step


def test_statistics_are_those_of_numpy(
    flow: channel_flow.Channel, state: channel_flow.State
):
    before = flow.restarted(state)
    after = flow.run(before, 4)
    found = flow.statistics(after)
    assert int(found.num_samples) == 2
    samples = [flow.run(before, 2), after]
    axes = (0, 1, 3)
    u, v, w = (
        np.stack([np.asarray(getattr(s, name)) for s in samples]) for name in "uvw"
    )
    v = np.pad(v, ((0, 0), (0, 0), (1, 1), (0, 0)))
    mean = u.mean(axes)
    assert np.asarray(found.U) == pytest.approx(mean)
    assert np.asarray(found.u_rms) == pytest.approx(u.std(axes))
    assert np.asarray(found.w_rms) == pytest.approx(w.std(axes))
    squares = v.var(axes)
    expected = np.sqrt((squares[1:] + squares[:-1]) / 2)
    assert np.asarray(found.v_rms) == pytest.approx(expected)
    through = (v + np.roll(v, 1, 1))[:, :, 1:-1] / 2
    carried = (u[:, :, 1:] + u[:, :, :-1]) / 2
    on_faces = (through * carried).mean(axes)
    on_faces -= through.mean(axes) * (mean[1:] + mean[:-1]) / 2
    stress = np.pad(-on_faces, 1)
    assert np.asarray(found.reynolds_stress) == pytest.approx(
        (stress[1:] + stress[:-1]) / 2, abs=1e-12
    )
    widths = np.asarray(flow.grid.widths)[0, :, 0]
    assert float(found.bulk_velocity) == pytest.approx((mean * widths).sum() / 2)
    y = np.asarray(found.y)
    assert np.asarray(found.y_plus) == pytest.approx(180 * np.minimum(y, 2 - y))
    shear = (mean[0] / y[0] + mean[-1] / y[0]) / 2 / 180
    assert float(found.re_tau) == pytest.approx(180 * np.sqrt(shear))


def test_statistics_without_samples_are_those_of_the_state(
    flow: channel_flow.Channel, state: channel_flow.State
):
    found = flow.statistics(flow.restarted(state))
    assert int(found.num_samples) == 1
    assert np.asarray(found.U) == pytest.approx(np.asarray(state.u).mean((0, 2)))


def test_initial_flow_has_the_bulk_velocity_and_depends_on_the_key(
    flow: channel_flow.Channel,
):
    one, other = (flow.initial(jax.random.key(seed)) for seed in (0, 1))
    found = flow.statistics(one)
    assert float(found.bulk_velocity) == pytest.approx(float(flow.bulk_velocity))
    assert np.max(np.abs(one.u - other.u)) > 1
    assert float(np.max(np.abs(flow.divergence(one)))) <= 1e-12
    calm = flow.initial(jax.random.key(0), amplitude=0)
    assert np.max(np.abs(calm.w)) <= 1e-12


def test_bulk_velocity_is_that_of_dean():
    # Re_τ = 180: 2 U_b / ν of 5500 and a friction coefficient of 0.0084.
    flow = channel_flow.Channel(180, (4, 4, 4))
    bulk = float(flow.bulk_velocity)
    assert 2 / bulk**2 == pytest.approx(0.073 * (2 * 180 * bulk) ** -0.25)


def test_single_precision_inside_of_a_double_precision_program():
    flow = channel_flow.Channel(180, (6, 8, 4), dtype="float32", subgrid="wale")
    state = flow.run(flow.initial(jax.random.key(0)), 3)
    dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(state)}
    assert dtypes == {"float32", "int32"}
    assert flow.filtered(state, (3, 5, 2)).dtype == jnp.float32
    assert flow.statistics(state).total_stress.dtype == jnp.float32


def test_state_of_another_precision_is_refused_and_can_be_taken_over(
    flow: channel_flow.Channel, state: channel_flow.State
):
    single = channel_flow.Channel(180, (8, 12, 6), dtype="float32")
    with pytest.raises(ValueError, match="of float64, the channel of float32"):
        single.run(state, 1)
    taken = single.interpolated(state, flow)
    assert {q.dtype.name for q in (*taken.velocity, taken.time)} == {"float32"}
    assert np.asarray(taken.u) == pytest.approx(np.asarray(state.u), abs=1e-4)


def test_time_step_is_limited_by_diffusion_and_by_convection():
    box = ((8, 16, 8), (3.0, 2.0, 1.0), 0.0)
    slow = [time_step(re, *box, centreline=1e-9) for re in (0.01, 0.02)]
    assert slow[1] / slow[0] == pytest.approx(2)
    # The largest second difference of n intervals of 1/8 is a little below 4 · 64; of
    # the mirrored values it is exactly that.
    largest = 4 * 64 + 4 * (8 / 3) ** 2 + 4 * 8**2
    assert slow[0] == pytest.approx(0.7 * 2.51 * 0.01 / largest)
    fast = [time_step(1e6, *box, centreline=c) for c in (1e3, 2e3)]
    assert fast[0] / fast[1] == pytest.approx(2, rel=0.1)


def test_default_time_step_is_stable_in_diffusion():
    # Noise on the scale of the grid decays, where diffusion alone limits the step.
    flow = channel_flow.Channel(2, (8, 12, 6), (1.0, 2.0, 1.0), bulk_velocity=1.0)
    rng = np.random.default_rng(0)
    noise = [1e-3 * rng.standard_normal(s) for s in flow.grid.velocity_shapes]
    state = flow.state(*noise)
    after = flow.run(state, 200)
    assert np.max(np.abs(after.w)) < 1e-2 * np.max(np.abs(state.w))


def test_every_preset_is_a_channel():
    shapes = [
        eqx.filter_eval_shape(lambda n=name: channel_flow.preset(n)).grid.shape
        for name in ("180-toy", "180-minimal")
    ]
    assert shapes == [(24, 48, 16), (48, 96, 32)]
    assert {"395-minimal", "590-minimal", "180-quarter", "180-full"} <= set(PRESETS)
    assert channel_flow.preset("180-toy", forcing="flux").forcing == "flux"


def test_flow_that_blows_up_is_an_error_that_names_the_step(
    flow: channel_flow.Channel, state: channel_flow.State
):
    fast = eqx.tree_at(lambda f: f.dt, flow, jnp.asarray(0.5))
    with pytest.raises(FloatingPointError, match=r"not finite after t = .* smaller dt"):
        fast.run(state, 60)
    after = fast.run(state, 60, throw=False)
    assert not bool(after.is_finite)
    assert float(after.time) < float(state.time) + 30
    assert np.isfinite(np.asarray(after.sums.uu)).all()
    for method in (fast.statistics, lambda s: fast.filtered(s, (4, 6, 3))):
        with pytest.raises(FloatingPointError, match="not finite"):
            method(after)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"re_tau": 0}, "re_tau must be above 1"),
        ({"num_points": (8, 8)}, "num_points must be three integers"),
        ({"num_points": (8, 3, 8)}, "num_points must be at least 4"),
        ({"num_points": 8}, "num_points must be three integers"),
        ({"lengths": (3.0, 1.0, 1.0)}, r"lengths\[1\] must be 2.0"),
        ({"lengths": (3.0, 2.0)}, "lengths must be three numbers"),
        ({"lengths": (-3.0, 2.0, 1.0)}, "lengths must be positive"),
        ({"dt": 0.0}, "dt must be positive"),
        ({"forcing": "gravity"}, 'forcing must be "pressure" or "flux"'),
        ({"subgrid": "k-epsilon"}, "subgrid must be one of smagorinsky"),
        ({"stretching": -1}, "stretching must be in"),
        ({"bulk_velocity": -1}, "bulk_velocity must be positive"),
        ({"sample_every": 0}, "sample_every must be at least 1"),
        ({"dtype": "int32"}, "dtype must be a floating one"),
    ],
)
def test_bad_argument_is_named(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        channel_flow.Channel(**{"num_points": (4, 4, 4), **arguments})


@pytest.mark.parametrize("subgrid", [None, "dynamic_smagorinsky"])
def test_single_precision_is_kept_where_there_is_no_other(subgrid: Any):
    with jax.enable_x64(False):
        flow = channel_flow.Channel(180, (4, 8, 4), forcing="flux", subgrid=subgrid)

        def of_all(key: Any) -> Any:
            state = flow.run(flow.initial(key), 3)
            return state, flow.statistics(state), flow.filtered(state, (2, 5, 2))

        found = jax.eval_shape(of_all, jax.random.key(0))
        message = "dtype asks for float64 while jax_enable_x64 is off"
        with pytest.raises(ValueError, match=message):
            channel_flow.Channel(180, (4, 8, 4), dtype="float64")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32", "int32"}


def test_what_is_no_state_is_named(flow: channel_flow.Channel):
    with pytest.raises(TypeError, match=r"state must be one of Channel\.initial"):
        flow.run(jnp.zeros((3, 8, 12, 6)), 1)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, s: f.run(s, -1), "num_steps must be at least 0"),
        (lambda f, s: f.run(s, 1.5), "num_steps must be an integer"),
        (lambda f, s: f.filtered(s, (16, 12, 6)), r"shape must be at most \(8, 14, 6"),
        (lambda f, s: f.filtered(s, (4, 2, 2)), "shape must be at least 3"),
        (lambda f, s: f.filtered(s, (4, 2)), "shape must be three integers"),
        (lambda f, s: f.initial(0), "key must be one random key"),
        (lambda f, s: f.state(s.u, s.u, s.w), r"v must have shape \(8, 11, 6\)"),
        (
            lambda f, s: channel_flow.Channel(180, (4, 4, 4)).run(s, 1),
            "the state has velocities of shapes",
        ),
        (lambda f, s: channel_flow.preset("180"), "name must be one of 180-toy"),
    ],
)
def test_bad_call_is_named(
    flow: channel_flow.Channel, state: channel_flow.State, call: Any, message: str
):
    with pytest.raises(ValueError, match=message):
        call(flow, state)
