"""Eddy viscosities: where they vanish, and what their force does."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.datasets import channel_flow
from krylax.datasets.channel_flow import WALE, DynamicSmagorinsky, Smagorinsky
from krylax.datasets.channel_flow._grid import StaggeredGrid

MODELS = [Smagorinsky(), DynamicSmagorinsky(), WALE()]
GRID = StaggeredGrid((6, 10, 8), (3.0, 2.0, 1.0), 1.7, jnp.float64)


@jax.jit
def evaluated(model: Any, velocity: Any) -> Any:
    ν = jnp.asarray(1 / 180)
    return (
        model.eddy_viscosity(velocity, GRID, ν),
        model.acceleration(velocity, GRID, ν),
        model.mean_flux(velocity, GRID, ν),
    )


def random_velocity() -> Any:
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.standard_normal(s)) for s in GRID.velocity_shapes)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_eddy_viscosity_takes_energy_and_keeps_momentum(model: Any):
    velocity = random_velocity()
    ν, force, flux = evaluated(model, velocity)
    assert (np.asarray(ν) >= 0).all()
    assert np.max(ν) > 0
    widths = np.asarray(GRID.widths)
    volumes = (widths, np.asarray(GRID.distances)[:, 1:-1], widths)
    work = [
        np.sum(np.asarray(q) * np.asarray(a) * h)
        for q, a, h in zip(velocity, force, volumes, strict=True)
    ]
    assert sum(work) < 0
    # What it changes of u in a plane is the difference of the fluxes, none through the
    # walls, and nothing in all.
    expected = -np.diff(flux) / widths[0, :, 0]
    assert np.mean(force[0], axis=(0, 2)) == pytest.approx(expected, abs=1e-12)
    assert np.asarray(flux)[[0, -1]] == pytest.approx([0, 0], abs=1e-15)
    for q, h in ((force[0], widths), (force[2], widths)):
        assert np.sum(np.asarray(q) * h) == pytest.approx(0, abs=1e-11)


def test_wale_vanishes_in_laminar_shear_and_smagorinsky_does_not():
    y = np.asarray(GRID.centres)
    u = jnp.asarray(np.broadcast_to(90 * y * (2 - y), GRID.shape))
    velocity = (u, jnp.zeros((6, 9, 8)), jnp.zeros((6, 10, 8)))
    assert np.max(evaluated(WALE(), velocity)[0]) == 0
    ν = np.asarray(evaluated(Smagorinsky(0.1, 25.0), velocity)[0])
    # The shear is exact between the walls, where differences are central.
    length = (0.5 * np.diff(np.asarray(GRID.faces)[0, :, 0]) * 0.125) ** (1 / 3)
    distance = 180 * np.minimum(y, 2 - y)[0, :, 0]
    faces = np.asarray(GRID.faces)[0, :, 0]
    at_faces = np.diff(90 * (y * (2 - y))[0, :, 0]) / np.diff(y[0, :, 0])
    shear = np.abs(at_faces[1:] + at_faces[:-1])[2:-2] / 2
    expected = (0.1 * length * (1 - np.exp(-distance / 25))) ** 2
    assert ν[0, 3:-3, 0] == pytest.approx(expected[3:-3] * shear, rel=1e-6)
    assert len(faces) == 11


def test_dynamic_coefficient_is_that_of_a_flow_which_obeys_the_model():
    # Where the stresses of the identity vanish there is none.
    y = np.asarray(GRID.centres)
    u = jnp.asarray(np.broadcast_to(90 * y * (2 - y), GRID.shape))
    velocity = (u, jnp.zeros((6, 9, 8)), jnp.zeros((6, 10, 8)))
    assert np.max(evaluated(DynamicSmagorinsky(), velocity)[0]) <= 1e-10


def test_derivative_at_rest_is_finite():
    velocity = tuple(jnp.zeros(s) for s in GRID.velocity_shapes)

    @jax.jit
    def derivatives(direction: Any) -> Any:
        return [
            jax.jvp(
                lambda v, m=m: m.eddy_viscosity(v, GRID, jnp.asarray(0.1)),
                (velocity,),
                (direction,),
            )[1]
            for m in MODELS
        ]

    found = derivatives(random_velocity())
    assert all(np.isfinite(np.asarray(each)).all() for each in found)


def test_subgrid_stress_is_part_of_the_total():
    flow = channel_flow.Channel(180, (8, 12, 6), subgrid=Smagorinsky())
    state = flow.initial(jax.random.key(0))
    found = flow.statistics(state)
    assert np.max(found.subgrid_stress) > 1e-3
    parts = found.reynolds_stress + found.viscous_stress + found.subgrid_stress
    assert np.asarray(found.total_stress) == pytest.approx(np.asarray(parts))
    after = flow.run(state, 5)
    assert float(np.max(np.abs(flow.divergence(after)))) <= 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Smagorinsky(constant=0.0), "constant must be positive"),
        (lambda: Smagorinsky(damping=-1.0), "damping must be positive"),
        (lambda: WALE(constant=float("nan")), "constant must be positive"),
    ],
)
def test_bad_constant_is_named(make: Any, message: str):
    with pytest.raises(ValueError, match=message):
        make()
