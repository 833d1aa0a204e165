"""Derivatives in the parameters, against closed forms and differences."""

import io
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.learned.gaussian_process import (
    PDE,
    Dirichlet,
    Observations,
    SpectralMixture,
    Spectrum,
    _system,
    solve_pde,
)

from ...helpers import relative_error

X = jnp.array([[0.3], [0.8]])


@pytest.mark.filterwarnings("ignore:.*functions on")
def test_derivative_where_observations_determine_the_solution():
    """u' + θu = 0 is c exp(-θx), and c the regression of the observations.

    Their noise is said to be less than it is, so that the prior has no part.
    """
    t = np.linspace(0.05, 1, 12)
    y = np.exp(-2 * t) + 0.1 * np.random.default_rng(0).normal(size=12)
    pde = PDE(
        [(0.0, 1.0)],
        lambda x, u, theta: u(1) + theta * u(),
        conditions=[],
        parameters=2.5,
        data=Observations(t[:, None], y, noise=0.01),
    )
    kernel = SpectralMixture([1.0], [0.0], 0.5)
    spectrum = solve_pde(pde, 24, kernel=kernel).spectrum

    def expected(theta: Any) -> Any:
        wave = jnp.exp(-theta * t)
        return jnp.sum(wave * y) / jnp.sum(wave**2) * jnp.exp(-theta * X[:, 0])

    def found(theta: Any) -> Any:
        return solve_pde(pde, parameters=theta, spectrum=spectrum).mean(X)

    slope = jax.jit(jax.jacrev(found))(2.5)
    assert relative_error(slope, jax.jacrev(expected)(2.5)) <= 0.02


CUBIC = PDE(
    domain=[(0.0, 1.0)],
    residual=lambda x, u, theta: u(2) - theta * u() ** 3 - 100 * jnp.sin(10 * x[0]),
    conditions=[Dirichlet(lambda x, theta: 0.5 * x)],
    parameters=1.0,
)


def test_second_derivative_is_that_of_the_first():
    kernel = SpectralMixture([1.0, 1.0], [0.0, 1.6], 0.25)
    spectrum = solve_pde(CUBIC, 48, kernel=kernel).spectrum

    def middle(theta: Any) -> Any:
        return solve_pde(CUBIC, parameters=theta, spectrum=spectrum).mean(X)[0]

    slopes = jax.jit(jax.vmap(jax.grad(middle)))(jnp.array([1.49, 1.51]))
    curvature = jax.jit(jax.hessian(middle))(1.5)
    assert relative_error(curvature, (slopes[1] - slopes[0]) / 0.02) <= 1e-4


def test_other_kinds_of_the_same_number_compile_nothing():
    spectrum = solve_pde(CUBIC, 48, learn="peaks").spectrum
    kinds = [
        solve_pde(CUBIC, parameters=theta, spectrum=spectrum).parameters
        for theta in (1.5, np.float64(1.5), jnp.asarray(1.5))
    ]
    assert {(a.dtype, a.weak_type) for a in kinds} == {(np.dtype("float64"), False)}


def test_other_values_of_parameters_compile_nothing(
    caplog: pytest.LogCaptureFixture,
):
    spectrum = solve_pde(CUBIC, 48, learn="peaks").spectrum

    def value(theta: float) -> Any:
        return solve_pde(CUBIC, parameters=theta, spectrum=spectrum).mean(X)

    value(1.5)
    with jax.log_compiles():
        value(1.7)
    assert not [r for r in caplog.records if "Compiling" in r.getMessage()]


def test_solution_is_written_to_a_file_and_read():
    solution = solve_pde(CUBIC, 48, learn="peaks")
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, solution)
    file.seek(0)
    empty = jax.tree.map(lambda a: 0 * a, solution)
    read = eqx.tree_deserialise_leaves(file, empty)
    assert relative_error(read.mean(X), solution.mean(X)) == 0


@pytest.mark.filterwarnings("ignore:.*functions on")
def test_derivatives_where_unknowns_are_many(monkeypatch: pytest.MonkeyPatch):
    """Fewer are made to count as many, so that steps are by LSMR."""
    monkeypatch.setattr(_system, "MOST_PREFERRED", 10)
    pde = PDE(
        [(0.0, 1.0)],
        lambda x, u, theta: (
            (1 + 0.3 * theta * x[0]) * u(2)
            - u() ** 3
            + 20 * jnp.sin(np.pi * x[0]) * (1 + theta * x[0])
        ),
        [Dirichlet(0.0)],
        parameters=1.0,
    )
    kernel = SpectralMixture([1.0], [0.0], 0.4)
    spectrum = Spectrum((kernel,), (16,))

    def middle(theta: Any) -> Any:
        solution = solve_pde(pde, parameters=theta, spectrum=spectrum)
        return solution.mean(X)[0]

    thetas = jnp.array([0.999, 1.0, 1.001])

    @jax.jit
    def derivatives(theta: Any) -> Any:
        both = jax.value_and_grad(middle)
        (value, slope), (_, curvature) = jax.jvp(both, (theta,), (jnp.ones(()),))
        return value, slope, curvature

    values, slopes, curvatures = zip(*map(derivatives, thetas), strict=True)
    assert relative_error(slopes[1], (values[2] - values[0]) / 2e-3) <= 1e-5
    assert relative_error(curvatures[1], (slopes[2] - slopes[0]) / 2e-3) <= 1e-5


@pytest.mark.filterwarnings("ignore:.*functions on", "ignore:.*fewer|missing")
def test_data_are_met_and_move_with_parameters_where_functions_are_few():
    """u'' = a sin 3x through two points, on which 16 functions decide up to 1e-8."""
    pde = PDE(
        [(0.0, 1.0)],
        lambda x, u, a: u(2) - a * jnp.sin(3 * x[0]),
        [],
        parameters=1.0,
        data=Observations([[0.2], [0.7]], [0.1, 0.2], noise=0.01),
    )
    spectrum = Spectrum((SpectralMixture([1.0], [0.0], 0.4),), (16,))

    @jax.jit
    def both(a: Any) -> Any:
        def values(a: Any) -> Any:
            solution = solve_pde(pde, parameters=a, spectrum=spectrum)
            return solution.mean(jnp.array([[0.2], [0.4], [0.7]]))

        return values(a), jax.jacfwd(values)(a)

    (left, _, right), slopes = both(1.0)
    assert max(abs(left - 0.1), abs(right - 0.2)) <= 0.002
    source = -np.sin(3 * np.array([0.2, 0.4, 0.7])) / 9
    expected = source[1] - (0.6 * source[0] + 0.4 * source[2])
    assert relative_error(slopes[1], expected) <= 0.01
