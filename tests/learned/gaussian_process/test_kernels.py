"""Kernels are what their densities say, and their derivatives those of calculus."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.gaussian_process import SpectralMixture
from krylax.learned.gaussian_process._basis import Axis, Functional, grid_basis

from ...helpers import relative_error

ENVELOPES = ["gaussian", "matern52", "matern72", "matern92"]
LAGS: Any = np.array([-0.31, -0.05, 0.0, 0.07, 0.4])


def kernel(envelope: Any) -> SpectralMixture:
    return SpectralMixture([1.0, 0.5], [0.0, 3.0], [0.2, 0.3], envelope)


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_covariance_is_the_cosine_transform_of_the_density(envelope: Any):
    frequencies = np.linspace(0, 400, 400_001)
    weights = np.full(frequencies.shape, frequencies[1])
    weights[0] /= 2
    integrand = kernel(envelope).density(frequencies) * weights
    expected = np.cos(2 * np.pi * LAGS[:, None] * frequencies) @ integrand
    assert relative_error(kernel(envelope).covariance(LAGS), expected) <= 1e-11


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_derivatives_are_those_of_automatic_differentiation(envelope: Any):
    @jax.jit
    def both(lags: Any) -> Any:
        def of(order: int) -> Any:
            def one(lag: Any) -> Any:
                return kernel(envelope).covariance(lag, order)

            return one

        found = [jax.vmap(of(order + 1))(lags) for order in range(4)]
        expected = [jax.vmap(jax.grad(of(order)))(lags) for order in range(4)]
        return jnp.stack(found), jnp.stack(expected)

    for found, expected in zip(*both(jnp.asarray(LAGS)), strict=True):
        assert relative_error(found, expected) <= 1e-13


def test_derivative_that_a_matern_kernel_has_not_is_refused():
    with pytest.raises(ValueError, match="derivatives of orders 0 to 4, got 5"):
        kernel("matern52").covariance(LAGS, 5)


def test_unknown_envelope_is_refused():
    with pytest.raises(ValueError, match="envelope must be one of"):
        kernel("cubic")


def test_basis_is_the_process_given_its_conditions():
    """Its covariance is that of dense conditioning on u(0) = 0 and u'(1) = 0."""
    k = kernel("gaussian")
    axis = Axis(0.0, 1.0, 20, (Functional(0, 0), Functional(1, 1)))
    basis = grid_basis(k, axis, 1e-14)
    x = axis.points

    def cov(a: Any, m: int, b: Any, n: int) -> np.ndarray:
        return (-1) ** n * np.asarray(k.covariance(a[:, None] - b, m + n))

    low, high = np.zeros(1), np.ones(1)
    cross = np.hstack([cov(x, 0, low, 0), cov(x, 0, high, 1)])
    gram = np.block(
        [
            [cov(low, 0, low, 0), cov(low, 0, high, 1)],
            [cov(high, 1, low, 0), cov(high, 1, high, 1)],
        ]
    )
    expected = cov(x, 0, x, 0) - cross @ np.linalg.solve(gram, cross.T)
    functions = basis.evaluate(x)
    assert relative_error(functions @ functions.T, expected) <= 1e-13
    assert np.abs(basis.evaluate(low)).max() <= 1e-13
    assert np.abs(basis.evaluate(high, 1)).max() <= 1e-12
    assert relative_error(np.linalg.norm(functions, axis=0), basis.sizes) <= 1e-13


def test_periodic_basis_is_periodic():
    basis = grid_basis(kernel("gaussian"), Axis(0.0, 2.0, 32, (), True), 1e-14)
    ends = [
        basis.evaluate(np.array([x]), order) for x in (0.0, 2.0) for order in (0, 1)
    ]
    assert relative_error(ends[0], ends[2]) <= 1e-12
    assert relative_error(ends[1], ends[3]) <= 1e-12
