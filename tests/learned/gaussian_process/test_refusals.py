"""What is no equation, no condition and no kernel is refused, and why."""

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
    Neumann,
    Periodic,
    SpectralMixture,
    Spectrum,
    solve_pde,
)
from krylax.solvers import SolveError

LOW: Any = "low"
PAIR: Any = (0, "low")
SOUND: dict[str, Any] = {
    "domain": [(0.0, 1.0)],
    "residual": lambda x, u: u(2) + jnp.cos(2 * np.pi * x[0]),
    "conditions": [Dirichlet(0.0)],
}


def sound_but(**change: Any) -> PDE:
    return PDE(**{**SOUND, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"residual": lambda x, u: jax.lax.complex(u(2), u())},
            "must be real, got complex",
        ),
        ({"residual": lambda x, u: u(2) > 0}, "must be real, got bool"),
        (
            {"conditions": [Dirichlet(lambda x: jax.lax.complex(x, x))]},
            "must be real numbers",
        ),
        (
            {"conditions": [Dirichlet(lambda x: jnp.ones(3))]},
            r"got float64 of shape \(3,\)",
        ),
        ({"conditions": [Dirichlet(np.sin)]}, "write it with jax.numpy"),
        ({"conditions": [Dirichlet(0.0, LOW)]}, '"low" or "high"'),
        ({"conditions": [Dirichlet(0.0, PAIR)]}, '"low" or "high"'),
        ({"conditions": [Periodic(0), Dirichlet(0.0)]}, "Dirichlet has no face left"),
        ({"conditions": [Initial(1.0), Neumann(0.0)]}, "Neumann has no face left"),
        ({"domain": [(0.0, 1.0)] * 4}, "one to 3 axes, got 4"),
        ({"conditions": [Dirichlet(0.0, field=0.5)]}, "there are 1 fields"),  # type: ignore[arg-type]
        ({"residual": lambda x, u: u(1.5)}, "orders 0 to 4"),
    ],
)
def test_equations_that_are_not_real_are_refused(change: Any, message: str):
    with pytest.raises(ValueError, match=message):
        solve_pde(sound_but(**change), 32)


@pytest.mark.parametrize(
    ("weights", "frequencies", "length"),
    [
        ([0.0], [1.0], 0.2),
        ([-1.0], [1.0], 0.2),
        ([np.nan], [1.0], 0.2),
        ([1.0], [np.inf], 0.2),
        ([1.0], [1.0], -0.2),
        ([1.0], [1.0], np.nan),
    ],
)
def test_kernels_without_a_density_are_refused(
    weights: Any, frequencies: Any, length: float
):
    with pytest.raises(ValueError, match=r"the kernel|lengths must be"):
        solve_pde(sound_but(), 32, kernel=SpectralMixture(weights, frequencies, length))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": 0}, "key must be one random key"),
        ({"parameters": 1.0}, "has no parameters; give PDE"),
    ],
)
def test_arguments_that_would_have_no_effect_are_refused(options: Any, message: str):
    with pytest.raises(ValueError, match=message):
        solve_pde(sound_but(), 32, **options)


@pytest.mark.parametrize(
    "residual", [lambda x, u: u(2) + u, lambda x, u: u(2) + jnp.sin(x)]
)
def test_residual_that_takes_u_or_x_for_arrays_is_told_what_they_are(residual: Any):
    with pytest.raises(TypeError) as raised:
        solve_pde(sound_but(residual=residual), 32)
    assert "u() is the field itself, and u(2)" in "".join(raised.value.__notes__)


def test_arguments_of_a_solution_that_do_not_fit_are_refused():
    kernel = SpectralMixture([1.0], [0.0], 0.5)
    solution = solve_pde(sound_but(), 64, kernel=kernel)
    with pytest.raises(ValueError, match=r"take points\[:, None\]"):
        solution.mean(np.zeros(3))
    with pytest.raises(ValueError, match="key must be one random key"):
        solution.sample(0, np.zeros((3, 1)))
    with pytest.raises(ValueError, match="noise must be at least 0"):
        solution.suggest(1, noise=-1.0)


def test_traced_values_in_the_equation_ask_for_a_spectrum():
    def solve(a: Any) -> Any:
        return solve_pde(sound_but(residual=lambda x, u: u(2) + a), 32).z

    with pytest.raises(ValueError, match=r"spectrum=solution\.spectrum"):
        jax.jit(solve)(1.0)


@pytest.mark.filterwarnings("ignore:.*functions on")
def test_source_that_is_not_finite_is_no_finite_input():
    pde = sound_but(residual=lambda x, u: u(2) + 1 / (x[0] - 1.0 + 0 * u()))
    with pytest.raises(SolveError) as raised:
        solve_pde(pde, 32, kernel=SpectralMixture([1.0], [0.0], 0.2))
    assert raised.value.solution.report.status == Status.nonfinite_input


@pytest.mark.filterwarnings("ignore:.*functions on")
@pytest.mark.parametrize("condition", [Neumann(0.0), Periodic(0)])
def test_constant_that_is_free_is_a_warning_and_in_the_error_bars(condition: Any):
    pde = sound_but(conditions=[condition])
    with pytest.warns(UserWarning, match="constants that may be added"):
        solution = solve_pde(pde, 40, learn="peaks")
    x = np.array([[0.0], [0.5]])
    exact = np.cos(2 * np.pi * x[:, 0]) / (4 * np.pi**2)
    errors = np.abs(solution.mean(x) - exact)
    assert np.all(errors <= 3 * np.asarray(solution.std(x)))
    assert np.all(np.asarray(solution.std(x)) > 0.1 * np.max(exact))


def test_number_of_points_that_is_not_the_spectrums_is_refused():
    kernel = SpectralMixture(1.0, 0.0, 0.5)
    spectrum = Spectrum((kernel,), (32,))
    with pytest.raises(
        ValueError, match=r"a grid of \(32,\) points, got num_points=64"
    ):
        solve_pde(sound_but(), 64, spectrum=spectrum)
