"""Error bars, observations, several fields, and conditions that are not exact."""

from typing import Any

import equinox as eqx
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
    SpectralMixture,
    _system,
    infer_parameters,
    solve_pde,
)

from ...helpers import relative_error

PI = np.pi
SQUARE = ((0.0, 1.0), (0.0, 1.0))


def sine(frequency: float, change: dict[str, Any] | None = None) -> PDE:
    """u'' = f on the unit interval, of the solution sin(frequency x)."""
    sound = {
        "domain": [(0.0, 1.0)],
        "residual": lambda x, u: u(2) + frequency**2 * jnp.sin(frequency * x[0]),
        "conditions": [Dirichlet(lambda x: jnp.sin(frequency * x))],
    }
    return PDE(**(sound | (change or {})))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bars_are_those_of_dense_conditioning():
    """Of the conditioned process by its covariance, in NumPy, on a small grid."""
    solution = solve_pde(sine(8.0), 16, kernel=SpectralMixture([1.0], [0.0], 0.5))
    (basis,), (axis,) = solution.bases[0], solution.axes[0]
    x, at = axis.points, np.linspace(0.0, 1.0, 7)
    amplitude = np.linalg.norm(solution.z[0])
    # Larger than it is, so that the oracle's covariances can be subtracted.
    noise = 1e-3 * float(jnp.max(64 * jnp.abs(jnp.sin(8 * x))))
    solution = eqx.tree_at(lambda s: s.report.noise, solution, jnp.asarray(1e-3))
    left, rows = (
        amplitude * np.asarray(basis.evaluate(x, 2)),
        amplitude * np.asarray(basis.evaluate(at)),
    )
    C = left @ left.T + noise**2 * np.eye(16)
    reduced = rows @ rows.T - rows @ left.T @ np.linalg.solve(C, left @ rows.T)
    expected = np.sqrt(np.maximum(np.diag(reduced), 0))
    found = np.asarray(solution.std(at[:, None]))
    assert np.max(np.abs(found - expected)) <= 1e-8 * amplitude
    assert found[0] <= 1e-12
    draws = solution.sample(jax.random.key(0), at[:, None], 400)
    assert relative_error(jnp.std(draws, axis=0), found) <= 0.2


@pytest.mark.parametrize("num_points", [16, 24, 48])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bars_are_of_the_size_of_the_error(num_points: int):
    """Of unresolved grids too, where they are wide, and of rounding."""
    solution = solve_pde(sine(40.0), num_points)
    x = np.random.default_rng(0).random((200, 1))
    error = np.abs(solution.mean(x) - jnp.sin(40 * x[:, 0]))
    std = np.asarray(solution.std(x))
    ratio = np.median(std) / np.sqrt(np.mean(error**2))
    assert ratio >= 0.5
    assert ratio <= 100 or solution.report.status == Status.stagnated
    assert np.mean(error <= 2 * std) >= 0.9


def test_first_order_wave_system():
    """u_t = v_x, v_t = u_x from a standing wave."""
    pde = PDE(
        domain=SQUARE,
        residual=lambda x, u, v: (u(0, 1) - v(1, 0), v(0, 1) - u(1, 0)),
        conditions=[
            Initial(lambda x: jnp.sin(PI * x)),
            Initial(0.0, field=1),
            Dirichlet(0.0),
        ],
        fields=2,
    )
    solution = solve_pde(pde, 32, kernel=SpectralMixture([1.0], [0.0], 0.4))
    x, t = np.random.default_rng(0).random((2, 40))
    expected = np.stack(
        [np.sin(PI * x) * np.cos(PI * t), np.cos(PI * x) * np.sin(PI * t)], axis=-1
    )
    points = np.stack([x, t], axis=-1)
    assert relative_error(solution.mean(points), expected) <= 1e-7
    assert solution.std(points).shape == (40, 2)
    assert solution.on_grid([0.5], [0.0, 0.5]).shape == (1, 2, 2)


def test_observations_stand_for_conditions():
    """Both constants of u'' = f come from measurements, with bars of their errors."""
    rng = np.random.default_rng(0)
    x = rng.random(30)
    values = np.sin(8 * x) + 2 - x + 0.05 * rng.standard_normal(30)
    data = Observations(x[:, None], values, noise=0.05)
    solution = solve_pde(sine(8.0, {"conditions": [], "data": data}), 48)
    at = np.linspace(0.0, 1.0, 21)
    error = np.abs(solution.mean(at[:, None]) - (np.sin(8 * at) + 2 - at))
    std = np.asarray(solution.std(at[:, None]))
    # Two constants from 30 values: 0.05 times the square root of 2/30, on average.
    assert np.all(error <= 3 * std)
    assert 0.005 <= np.sqrt(np.mean(std**2)) <= 0.02


def test_penalised_conditions_hold_nearly():
    solution = solve_pde(sine(30.0), 64, boundary="penalty")
    x = np.linspace(0.0, 1.0, 50)
    assert relative_error(solution.on_grid(x), np.sin(30 * x)) <= 1e-8


def test_missing_conditions_are_a_warning_and_wide_bars():
    low = sine(8.0, {"conditions": [Dirichlet(0.0, faces=[(0, "low")])]})
    with pytest.warns(UserWarning, match="axis 0 has 1 condition, and the derivatives"):
        solution = solve_pde(low, 64)
    x = np.linspace(0.0, 1.0, 9)[:, None]
    assert float(solution.std(x)[-1]) >= 0.1


def test_conditions_that_disagree_where_faces_meet_are_refused():
    top: Any = [(1, "high")]
    sides: Any = [(0, "low"), (0, "high"), (1, "low")]
    pde = PDE(
        SQUARE,
        lambda x, u: u(2, 0) + u(0, 2),
        [Dirichlet(0.0, faces=sides), Dirichlet(1.0, faces=top)],
    )
    with pytest.raises(ValueError, match=r"disagree where these meet, by 1\.0e\+00"):
        solve_pde(pde, 16)


def test_resonance_is_a_warning():
    pde = PDE(
        [(0.0, 1.0)],
        lambda x, u: u(2) + (2 * PI) ** 2 * u() - 1.0,
        [Dirichlet(0.0)],
    )
    with pytest.warns(UserWarning, match="a resonance"):
        solve_pde(pde, 48)


@pytest.mark.filterwarnings("ignore:.*functions on")
@pytest.mark.parametrize("most_dense", [1500, 10])
def test_resonance_of_a_plate_is_a_warning(
    most_dense: int, monkeypatch: pytest.MonkeyPatch
):
    """By dense least squares, and by the eigenvalues of the mean equation."""
    monkeypatch.setattr(_system, "MOST_PREFERRED", most_dense)
    pde = PDE(
        SQUARE,
        lambda x, u: u(2, 0) + u(0, 2) + 5 * PI**2 * u() - jnp.exp(x[0] + 0 * x[1]),
        [Dirichlet(0.0)],
    )
    with pytest.warns(UserWarning, match="a resonance"):
        solve_pde(pde, 20, kernel=SpectralMixture([1.0], [0.0], 0.4), throw=False)


def test_inverse_solves_for_other_sources_and_has_its_transpose():
    solution = solve_pde(sine(8.0), 40)
    A, x = solution.inverse, np.linspace(0.0, 1.0, 40)
    u = A.mv(jnp.asarray(-(9 * PI**2) * np.sin(3 * PI * x)))
    assert relative_error(u, np.sin(3 * PI * x)) <= 1e-8
    a, b = np.random.default_rng(0).standard_normal((2, 40))
    left, right = b @ A.mv(jnp.asarray(a)), a @ A.T.mv(jnp.asarray(b))
    assert abs(left - right) <= 1e-10 * abs(left)


def test_suggested_points_are_where_nothing_is_known():
    """A second condition is missing at the high end: there a value tells most."""
    low = sine(8.0, {"conditions": [Dirichlet(0.0, faces=[(0, "low")])]})
    with pytest.warns(UserWarning, match="axis 0 has 1 condition"):
        solution = solve_pde(low, 64)
    point = solution.suggest(1)
    assert point.shape == (1, 1)
    assert float(point[0, 0]) >= 0.5


def test_diffusivity_is_inferred_with_its_error():
    """From 30 noisy values of a decaying mode; its initial value is not given."""
    rng = np.random.default_rng(1)
    t = rng.random(30)
    values = 3 * np.exp(-2 * t) + 0.02 * rng.standard_normal(30)
    pde = PDE(
        domain=[(0.0, 1.0)],
        residual=lambda x, u, rate: u(1) + rate["decay"] * u(),
        conditions=[],
        parameters={"decay": 1.0},
        data=Observations(t[:, None], values, noise=0.02),
    )
    posterior = infer_parameters(pde, 48)
    # The same by a fit of both constants, in NumPy.
    fit = 3 * np.exp(-2 * t)
    H = np.stack([fit / 3, -t * fit], axis=-1) / 0.02
    expected = np.sqrt(np.linalg.inv(H.T @ H)[1, 1])
    assert posterior.is_settled
    assert relative_error(posterior.std["decay"], expected) <= 0.1
    assert abs(posterior.mean["decay"] - 2.0) <= 3 * expected


def test_parameters_need_observations():
    with pytest.raises(ValueError, match="needs observations"):
        infer_parameters(sine(8.0), 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": [[2.0]], "values": [1.0]}, "outside, such as"),
        ({"points": [0.5], "values": [1.0]}, "must have shape"),
        ({"points": [[0.5]], "values": [np.nan]}, "must be finite"),
        ({"points": [[0.5]], "values": [1.0], "noise": 0.0}, "noise must be positive"),
        ({"points": [[0.5]], "values": [1.0], "field": 1}, "there are 1 fields"),
        ({"points": [[0.5]], "values": [1.0], "field": 0.5}, "there are 1 fields"),
        ({"points": np.zeros((0, 1)), "values": []}, "at least one point"),
    ],
)
def test_bad_observations_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        sine(8.0, {"data": Observations(**change)})
