"""Parameters from observations of a solution that is known."""

from typing import Any

import numpy as np
import pytest

from krylax.learned.gaussian_process import (
    PDE,
    Initial,
    Observations,
    SpectralMixture,
    infer_parameters,
)

TIMES = np.linspace(0.1, 1.0, 10)


def decay(t: Any, u: Any, rates: Any) -> Any:
    return u(1) + (rates[0] + rates[1]) * u()


@pytest.mark.filterwarnings("ignore:axis 0")
def test_parameters_that_the_data_do_not_tell_apart_have_no_error_bar():
    pde = PDE(
        domain=[(0.0, 1.0)],
        residual=decay,
        conditions=[Initial(1.0)],
        parameters=(0.5, 2.0),
        data=Observations(TIMES[:, None], np.exp(-3.0 * TIMES), noise=0.01),
    )
    with pytest.warns(UserWarning, match="do not determine all parameters"):
        posterior = infer_parameters(pde, 32, kernel=SpectralMixture(1.0, 0.0, 0.5))
    # Their sum is known; of the difference the start is kept.
    first, second = (float(rate) for rate in posterior.mean)
    assert abs(first + second - 3.0) < 1e-4
    assert abs(second - first - 1.5) < 1e-4
    assert np.all(np.isinf(posterior.covariance))
    assert np.all(np.isinf(posterior.std))
