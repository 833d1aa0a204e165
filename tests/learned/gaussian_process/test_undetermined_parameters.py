"""Parameters that observations say nothing of are not claimed to be known."""

import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.gaussian_process import (
    PDE,
    Initial,
    Observations,
    SpectralMixture,
    Spectrum,
    infer_parameters,
    solve_pde,
)


@pytest.mark.filterwarnings("ignore:.*functions on")
def test_combination_that_is_not_observed_is_a_warning_and_has_a_wide_std():
    """Of u' + ab u = 0 the product alone is observed."""
    t = np.linspace(0.05, 1, 12)
    pde = PDE(
        [(0.0, 1.0)],
        lambda x, u, theta: u(1) + theta[0] * theta[1] * u(),
        conditions=[Initial(1.0)],
        parameters=jnp.array([1.0, 1.5]),
        data=Observations(t[:, None], np.exp(-2 * t), noise=0.02),
    )
    kernel = SpectralMixture([1.0], [0.0], 0.5)
    spectrum = solve_pde(pde, 24, kernel=kernel).spectrum
    with pytest.warns(UserWarning, match="do not determine all parameters"):
        found = infer_parameters(pde, spectrum=spectrum)
    assert abs(found.mean[0] * found.mean[1] - 2) <= 0.01
    assert np.all(np.asarray(found.std) > 1e3)


@pytest.mark.filterwarnings("ignore:.*functions on")
def test_start_without_a_finite_solution_is_a_warning_and_not_settled():
    pde = PDE(
        [(0.0, 1.0)],
        lambda x, u, theta: u(1) + jnp.sqrt(theta) * u(),
        conditions=[Initial(1.0)],
        parameters=-1.0,
        data=Observations([[0.5]], [0.4]),
    )
    with pytest.warns(UserWarning, match="give another start"):
        found = infer_parameters(pde, 24, kernel=SpectralMixture([1.0], [0.0], 0.5))
    assert not found.is_settled


def test_solution_that_does_not_solve_the_equation_is_a_warning():
    """u' + θu² = 0 without conditions, whose steps do not come away from u = 0."""
    t = np.linspace(0.05, 1, 10)
    pde = PDE(
        [(0.0, 1.0)],
        lambda x, u, theta: u(1) + theta * u() ** 2,
        conditions=[],
        parameters=1.0,
        data=Observations(t[:, None], 1 / (1 + 1.5 * t), noise=0.02),
    )
    spectrum = Spectrum((SpectralMixture([1.0], [0.0], 0.5),), (24,))
    with pytest.warns(UserWarning, match="mean and std may be wrong"):
        infer_parameters(pde, spectrum=spectrum)
