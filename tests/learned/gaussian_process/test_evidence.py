"""Kernels that the evidence finds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.gaussian_process import PDE, Dirichlet, SpectralMixture, solve_pde
from krylax.learned.gaussian_process._basis import Axis
from krylax.learned.gaussian_process._evidence import (
    axis_data,
    negative_log_evidence,
)

from ...helpers import relative_error


def test_evidence_and_its_derivative_are_those_of_a_dense_normal():
    axis = Axis(0.0, 2.0, 12)
    x = axis.points
    factors = {0: jnp.asarray(1 + x**2), 2: jnp.asarray(3.0)}
    values = np.random.default_rng(0).standard_normal((12, 2))
    data = axis_data(axis, factors, values)

    def kernel(frequency: float) -> SpectralMixture:
        return SpectralMixture([1.0, 0.3], [0.0, frequency], [0.5, 0.8])

    def found(frequency: float):
        return negative_log_evidence(kernel(frequency), data, 0.1)

    # Rows of the equation by its action on the kernel, derivative by derivative.
    lags = jnp.asarray(x[:, None] - x[None, :])
    k = [np.asarray(kernel(0.7).covariance(lags, order)) for order in range(5)]
    a, b = np.asarray(factors[0]), 3.0
    C = np.outer(a, a) * k[0] + a[:, None] * b * k[2] + b * k[2] * a[None] + b**2 * k[4]
    scale = np.sqrt(np.mean(values**2))
    C = C / scale**2 + 0.01 * np.eye(12)
    y = values / scale
    quadratic = np.trace(y.T @ np.linalg.solve(C, y)) / 2
    expected = 0.5 * quadratic + 0.5 * np.linalg.slogdet(C)[1]
    value, slope = jax.jit(jax.value_and_grad(found))(0.7)
    difference = (found(0.7 + 1e-5) - found(0.7 - 1e-5)) / 2e-5
    assert relative_error(value, expected) <= 1e-10
    assert relative_error(slope, difference) <= 1e-6


def test_frequencies_are_found_from_evenly_spaced_ones():
    """Two of 30 components are left, within half a per cent of the truth.

    Beside them are a weak neighbour of each, and the slow part of u less its lift.
    """
    u = lambda x: jnp.sin(40 * x) + 0.3 * jnp.sin(65 * x)  # noqa: E731
    pde = PDE(
        domain=[(0.0, 2.0)],
        residual=lambda x, v: (
            v(2) + 1600 * jnp.sin(40 * x[0]) + 0.3 * 4225 * jnp.sin(65 * x[0])
        ),
        conditions=[Dirichlet(u)],
    )
    solution = solve_pde(pde, 80, learn="evidence", max_frequency=14.0)
    kernel = solution.spectrum.kernels[0]
    assert isinstance(kernel, SpectralMixture)
    large = np.asarray(kernel.weights) > 1e-6 * float(jnp.max(kernel.weights))
    assert 3 <= large.sum() <= 5
    heaviest = np.argsort(-np.asarray(kernel.weights))[:3]
    found = np.sort(np.asarray(kernel.frequencies)[heaviest])[1:]
    assert relative_error(found, np.array([40, 65]) / (2 * np.pi)) <= 5e-3
    x = np.linspace(0.0, 2.0, 101)
    assert relative_error(solution.on_grid(x), u(x)) <= 1e-9


@pytest.mark.filterwarnings("ignore:.*functions on")
def test_solution_without_peaks_is_learned_by_evidence():
    """A draw of a Matérn process, of which periodograms leave an error of 0.015."""
    rng = np.random.default_rng(0)
    s, phase = 10 * rng.standard_t(7, 500), rng.uniform(0, 2 * np.pi, 500)

    def total(x: Any, weights: Any) -> Any:
        waves = jnp.vectorize(
            lambda x: weights * jnp.cos(s * x + phase), signature="()->(q)"
        )
        return jnp.sum(waves(x), axis=-1)

    pde = PDE(
        domain=[(0.0, 1.0)],
        residual=lambda x, v: v(2) + total(x[0], s**2),
        conditions=[Dirichlet(lambda x: total(x, 1.0))],
    )
    solution = solve_pde(pde, 40, kernel="matern")
    x = np.linspace(0, 1, 101)
    assert relative_error(solution.mean(x[:, None]), total(x, 1.0)) <= 1e-3
