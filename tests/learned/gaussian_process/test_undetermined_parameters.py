"""Parameters that observations say nothing of are not claimed to be known."""

import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.gaussian_process import (
    PDE,
    Initial,
    Observations,
    SpectralMixture,
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
