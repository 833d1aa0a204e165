from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets.periodic_flow import Burgers, KolmogorovFlow

KEY = jax.random.key(3)


def cole_hopf(x: Any, t: float, viscosity: float) -> Any:
    """A solution of Burgers' equation, of u = -2 ν φ'/φ and a heat equation for φ."""
    decay = np.exp(-viscosity * (2 * np.pi) ** 2 * t)
    phi = 2 + decay * np.cos(2 * np.pi * x)
    return 2 * viscosity * 2 * np.pi * decay * np.sin(2 * np.pi * x) / phi


def test_burgers_follows_the_solution_of_cole_and_hopf():
    x = np.arange(64) / 64
    flow = Burgers((64,), viscosity=0.05, dt=5e-3)
    found = flow.trajectory(cole_hopf(x, 0, 0.05)[None], num_frames=3, interval=50)
    for frame, t in zip(found, (0, 0.25, 0.5), strict=True):
        assert np.allclose(frame[0], cole_hopf(x, t, 0.05), rtol=0, atol=1e-8)


def test_steps_have_the_order_four():
    start = np.sin(2 * np.pi * np.arange(32) / 32)[None]
    ends = [Burgers((32,), 0.05, dt=0.2 / n).run(start, n) for n in (10, 20, 40, 320)]
    errors = [float(np.max(np.abs(end - ends[-1]))) for end in ends[:-1]]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.3)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.3)


def test_vortices_of_taylor_and_green_decay_by_diffusion_and_drag():
    flow = KolmogorovFlow((12, 16), viscosity=0.05, drag=0.3, amplitude=0.0, dt=0.05)
    x, y = np.meshgrid(*[2 * np.pi * np.arange(n) / n for n in (12, 16)], indexing="ij")
    omega = 2 * np.cos(x) * np.cos(y)
    found = flow.run(omega[None], 20)
    assert np.allclose(found[0], np.exp(-(2 * 0.05 + 0.3)) * omega, atol=1e-12)
    u, v = flow.velocity(jnp.asarray(omega[None]))
    assert np.allclose(u, -np.cos(x) * np.sin(y), atol=1e-13)
    assert np.allclose(v, np.sin(x) * np.cos(y), atol=1e-13)


def test_laminar_flow_stays_where_force_and_friction_are_equal():
    flow = KolmogorovFlow((8, 16), viscosity=0.1, drag=0.2, wave_number=2, dt=0.05)
    y = 2 * np.pi * np.arange(16) / 16
    omega = np.broadcast_to(-2 * np.cos(2 * y) / (0.1 * 4 + 0.2), (1, 8, 16))
    assert np.allclose(flow.run(omega, 40), omega, atol=1e-12)
    # The force is A sin(κ y) along x.
    u, v = flow.velocity(jnp.asarray(omega))
    assert np.allclose(u, np.broadcast_to(np.sin(2 * y) / 0.6, u.shape), atol=1e-12)
    assert np.allclose(v, 0, atol=1e-12)


def test_advection_conserves_energy_and_enstrophy():
    flow = KolmogorovFlow((16, 20), amplitude=0.0)

    @jax.jit
    def rates() -> Any:
        omega = flow.initial(KEY)
        modes = jnp.fft.rfftn(omega[0])
        change = jnp.fft.irfftn(flow._nonlinear(modes), flow.num_points)
        k = jnp.fft.fftfreq(16, 1 / 16)[:, None], jnp.fft.rfftfreq(20, 1 / 20)[None]
        squares = k[0] ** 2 + k[1] ** 2
        stream = modes / jnp.where(squares > 0, squares, 1).astype(modes.dtype)
        psi = jnp.fft.irfftn(stream, flow.num_points)
        size = jnp.sum(jnp.abs(change))
        return jnp.sum(change * omega[0]) / size, jnp.sum(change * psi) / size

    assert np.allclose(rates(), 0, atol=1e-13)


def test_trajectories_depend_on_their_own_number():
    flow = Burgers((16,), dt=1e-2)
    both = flow.trajectories(2, num_frames=3, interval=2, seed=5, start=1)
    assert both.shape == (2, 3, 1, 16)
    one = flow.trajectories(1, num_frames=3, interval=2, seed=5, start=1)
    assert np.array_equal(one[0], both[0])
    assert not np.allclose(both[0], both[1])
    again = flow.run(both[1, 0], 4)
    assert np.allclose(again, both[1, 2], atol=1e-14)


def test_random_states_have_their_scale_and_no_mean():
    burgers = Burgers((64,))
    states = eqx.filter_jit(jax.vmap(burgers.initial))(jax.random.split(KEY, 200))
    assert np.allclose(np.mean(states, axis=-1), 0, atol=1e-14)
    k = 2 * np.pi * np.arange(1, 22)
    variance = np.sum(2 * 625 / (k**2 + 25) ** 2)
    assert np.std(states) == pytest.approx(np.sqrt(variance), rel=0.1)
    flow = KolmogorovFlow((16, 16))
    u, v = flow.velocity(flow.initial(KEY))
    assert np.mean(u**2 + v**2) == pytest.approx(1)


def test_transformations_agree_with_single_runs():
    flow = KolmogorovFlow((8, 8), wave_number=2, dt=0.05)
    states = jax.vmap(flow.initial)(jax.random.split(KEY, 2))
    batched = jax.vmap(lambda u: flow.run(u, 3))(states)
    assert np.allclose(batched[1], flow.run(states[1], 3), atol=1e-13)
    single = flow.run(states[1].astype(jnp.float32), 3)
    assert single.dtype == jnp.float32
    assert np.allclose(single, batched[1], atol=1e-5)

    @jax.jit
    def total(s: Any) -> Any:
        return jnp.sum(flow.run(states[0] * s, 3) ** 3)

    slope = float(jax.grad(total)(1.0))
    expected = float(total(1 + 1e-5) - total(1 - 1e-5)) / 2e-5
    assert slope == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Burgers((3,)), "num_points must be at least 4"),
        (lambda: Burgers((16, 16)), "num_points must hold 1 number"),
        (lambda: Burgers(viscosity=-1.0), "viscosity must be positive"),
        (lambda: KolmogorovFlow(dt=float("nan")), "dt must be positive"),
        (lambda: KolmogorovFlow(drag=-0.1), "drag must be finite and not negative"),
        (lambda: KolmogorovFlow(wave_number=0), "wave_number must be at least 1"),
        (lambda: KolmogorovFlow((64, 12)), "wave_number must be less than a third"),
        (
            lambda: Burgers((16,)).run(np.zeros(16), 1),
            "u must be a real array of shape",
        ),
        (lambda: Burgers((16,)).initial(jnp.ones(3)), "key must be one random key"),
    ],
)
def test_bad_input_is_refused(as_users_run_it: None, make: Any, message: str):
    with pytest.raises(ValueError, match=message):
        make()


def test_flow_that_is_not_finite_raises():
    start = 1e3 * np.sin(2 * np.pi * np.arange(16) / 16)[None]
    with pytest.raises(FloatingPointError, match="dt is too long"):
        Burgers((16,), dt=0.1).run(start, 60)
