"""Long times in slabs: equations with known solutions, and dense algebra."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax import Status
from krylax.learned.gaussian_process import (
    PDE,
    Dirichlet,
    Initial,
    Observations,
    Periodic,
    SlabSolution,
    SpectralMixture,
    Spectrum,
    solve_pde,
)
from krylax.learned.gaussian_process._slab_equation import ends_of
from krylax.learned.gaussian_process._slab_posterior import (
    slab_draws,
    slab_posterior,
)
from krylax.learned.gaussian_process._system import System

from ...helpers import relative_error

PI = np.pi


def error_of(solution: Any, u: Any) -> float:
    """The relative error at points off the grid."""
    axes = [np.linspace(low, high, 41) for low, high in solution.pde.domain]
    low, high = solution.pde.domain[-1]
    axes[-1] = np.linspace(low, high, 173)
    expected = u(*np.meshgrid(*axes, indexing="ij", sparse=True))
    return relative_error(solution.on_grid(*axes), expected)


def one(frequency: float, length: float) -> SpectralMixture:
    return SpectralMixture([1.0, 1.0], [0.0, frequency], length)


def root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


OSCILLATOR = PDE(
    domain=[(1.0, 81.0)],
    residual=lambda x, u, w: u(2) + w * u(),
    conditions=[Initial(1.0), Initial(0.0, order=1)],
    parameters=4.0,
)


@pytest.fixture(scope="module")
def oscillation() -> Any:
    return solve_pde(OSCILLATOR, 48, num_slabs=10, kernel=one(1 / PI, 2.0))


def test_values_and_derivatives_go_from_slab_to_slab(oscillation: Any):
    assert isinstance(oscillation, SlabSolution)
    assert oscillation.report.status == Status.converged
    assert error_of(oscillation, lambda t: np.cos(2 * (t - 1))) <= 1e-8
    t = np.random.default_rng(0).uniform(1, 81, (40, 1))
    slope = oscillation.derivative((1,), t)
    assert relative_error(slope, -2 * np.sin(2 * (t[:, 0] - 1))) <= 1e-8


def test_points_under_jit_are_found_in_their_slabs(oscillation: Any):
    t = np.random.default_rng(1).uniform(1, 81, (7, 1))
    found = jax.jit(lambda points: oscillation.mean(points))(t)
    assert relative_error(found, oscillation.mean(t)) <= 1e-12


def test_derivatives_in_parameters_go_through_all_slabs(oscillation: Any):
    end = np.array([[80.5]])

    @jax.jit
    def last(w: Any) -> Any:
        found = solve_pde(
            OSCILLATOR, parameters=w, spectrum=oscillation.spectrum, num_slabs=10
        )
        return found.mean(end)[0]

    # cos √w s has the derivative -s sin(√w s) / (2 √w).
    expected = -79.5 * np.sin(2 * 79.5) / 4
    assert relative_error(jax.jacfwd(last)(4.0), expected) <= 1e-6


def test_slopes_in_time_are_whole_where_slabs_meet(oscillation: Any):
    t = jnp.array([1.0, 9.0, 20.0, 81.0])
    slope = jax.grad(lambda t: jnp.sum(oscillation.mean(t[:, None])))(t)
    assert relative_error(slope, -2 * np.sin(2 * (t - 1))) <= 1e-8


def test_coordinates_on_a_grid_are_vectors(oscillation: Any):
    with pytest.raises(ValueError, match="vectors of coordinates"):
        oscillation.on_grid(2.0)


@pytest.mark.filterwarnings("ignore:.*functions on")
def test_axis_of_space_may_have_its_condition_as_initial():
    """What flows in at one end."""
    pde = PDE(
        domain=[(0.0, 1.0), (1.0, 3.0)],
        residual=lambda x, u: u(0, 1) + u(1, 0),
        conditions=[
            Initial(lambda t: jnp.sin(1 - t), axis=0),
            Initial(lambda x: jnp.sin(x)),
        ],
    )
    spectrum = Spectrum((one(0.2, 0.5), one(0.2, 0.5)), (16, 16))
    solution = solve_pde(pde, spectrum=spectrum, num_slabs=2)
    assert error_of(solution, lambda x, t: np.sin(x - t + 1)) <= 1e-8


@pytest.mark.parametrize("is_dense", [True, False])
def test_errors_of_initial_data_go_on_as_the_equation_says(
    oscillation: Any, is_dense: bool
):
    """By u'' + 4u = 0 a slab of length τ turns (2u, u') by the angle 2τ."""
    slab, length = oscillation.slabs[3], oscillation.length
    given = slab.system, slab.z, slab.parameters, 1e-16
    ends = ends_of(slab.bases, length)
    if is_dense:
        _, L = slab_posterior(*given, jnp.eye(2), ends, length)
    else:
        keys, (u, v) = jax.random.split(jax.random.key(0)), jnp.eye(2)
        _, ((a, b),) = slab_draws(*given, ((u, v),), keys, ends, length)
        L = jnp.stack([a, b])
    c, s = np.cos(2 * length), np.sin(2 * length)
    expected = np.array([[c, s / 2], [-2 * s, c]])
    assert relative_error(L @ L.T, expected @ expected.T) <= 1e-6


def test_error_bars_by_draws_are_near_those_of_the_joint_distribution(
    oscillation: Any, monkeypatch: pytest.MonkeyPatch
):
    t = np.linspace(1, 81, 50)[:, None]
    dense = oscillation.std(t)
    monkeypatch.setattr(System, "is_dense", property(lambda self: False))
    drawn = oscillation.std(t)
    assert 0.1 < root_mean_square(drawn) / root_mean_square(dense) < 10


def test_error_bars_grow_as_errors_do():
    """Advection, whose errors in phase add up."""
    pde = PDE(
        domain=[(0.0, 2 * PI), (0.0, 12.0)],
        residual=lambda x, u: u(0, 1) + 5 * u(1, 0),
        conditions=[Periodic(0), Initial(lambda x: jnp.sin(x))],
    )
    spectrum = Spectrum((one(1 / (2 * PI), 2.0), one(5 / (2 * PI), 0.5)), (16, 40))
    solution = solve_pde(pde, spectrum=spectrum, num_slabs=6)
    u = lambda x, t: np.sin(x - 5 * t)  # noqa: E731
    assert error_of(solution, u) <= 1e-5
    rng = np.random.default_rng(0)
    x, early = rng.uniform(0, 2 * PI, 64), rng.uniform(0, 2, 64)
    points = [np.stack([x, early + shift], 1) for shift in (0.0, 10.0)]
    stds = [root_mean_square(solution.std(p)) for p in points]
    errors = [root_mean_square(solution.mean(p) - u(*p.T)) for p in points]
    assert stds[1] > 3 * stds[0]
    assert all(0.05 < s / e < 100 for s, e in zip(stds, errors, strict=True))


def test_conditions_that_depend_on_time_and_two_initial_values():
    """A wave between ends that move."""
    pde = PDE(
        domain=[(0.0, 1.0), (0.0, 6.0)],
        residual=lambda x, u: u(0, 2) - u(2, 0),
        conditions=[
            Dirichlet(lambda x, t: 0.1 * x * t),
            Initial(lambda x: jnp.sin(2 * PI * x)),
            Initial(lambda x: 0.1 * x, order=1),
        ],
    )
    spectrum = Spectrum((one(1.0, 0.3), one(1.0, 0.3)), (32, 32))
    solution = solve_pde(pde, spectrum=spectrum, num_slabs=6)

    def u(x: Any, t: Any) -> Any:
        return np.sin(2 * PI * x) * np.cos(2 * PI * t) + 0.1 * x * t

    assert error_of(solution, u) <= 1e-6


def test_auto_takes_more_slabs_where_time_needs_more_functions():
    pde = PDE(
        domain=[(0.0, 200.0)],
        residual=lambda x, u: u(2) + u(),
        conditions=[Initial(0.0), Initial(1.0, order=1)],
    )
    kernel = one(1 / (2 * PI), 10.0)
    solution = solve_pde(pde, 40, num_slabs="auto", kernel=kernel, rtol=1e-6)
    assert isinstance(solution, SlabSolution)
    assert solution.num_slabs in (4, 8, 16)
    assert error_of(solution, np.sin) <= 1e-4


def test_slab_that_is_not_resolved_is_named():
    """u' = cos t²: later slabs have higher frequencies than the grid."""
    pde = PDE(
        domain=[(0.0, 16.0)],
        residual=lambda x, u: u(1) - 2 * x[0] * jnp.cos(x[0] ** 2),
        conditions=[Initial(0.0)],
    )
    with pytest.warns(UserWarning, match="wrong from time") as issued:
        solution = solve_pde(pde, 64, num_slabs=4, kernel=one(1.0, 0.5))
    assert solution.report.status == Status.stagnated
    assert not any("slab 0" in str(w.message) for w in issued)


HEAT = {
    "domain": [(0.0, PI), (0.0, 1.0)],
    "residual": lambda x, u: u(0, 1) - u(2, 0),
    "conditions": [Dirichlet(0.0), Initial(lambda x: jnp.sin(x))],
}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"num_slabs": 0}, 'must be a positive integer or "auto", got 0'),
        ({}, {"num_slabs": "many"}, 'must be a positive integer or "auto"'),
        ({}, {"num_slabs": 2, "boundary": "penalty"}, 'need boundary="exact"'),
        ({"conditions": [Dirichlet(0.0)]}, {}, "Initial to be|to be Initial alone"),
        ({"conditions": [Periodic(1), Dirichlet(0.0)]}, {}, "needs an Initial"),
        ({"data": Observations([[1.0, 0.5]], [0.1])}, {}, "num_slabs=1 with"),
        ({"conditions": [Dirichlet(0.0, [(1, "low")])]}, {}, r"give Initial\(g\)"),
    ],
)
def test_equations_without_slabs_are_refused(change: Any, options: Any, message: str):
    with pytest.raises(ValueError, match=message):
        solve_pde(PDE(**(HEAT | change)), 16, **({"num_slabs": 2} | options))
