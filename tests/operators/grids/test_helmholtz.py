from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance

Helmholtz = kx.operators.Helmholtz


@pytest.mark.parametrize("k2", [30.0, -30.0, 30.0 + 4.0j], ids=str)
def test_sines_are_eigenvectors_with_shifted_eigenvalues(k2: Any):
    # The wall on the face makes sin(mπx) at the centres exact eigenvectors.
    n, m = 16, 3
    x = np.sin(m * np.pi * (np.arange(n) + 0.5) / n).astype(np.asarray(k2).dtype)
    A = Helmholtz(np.ones(n), k2, 1 / n)
    eigenvalue = 4 * n**2 * np.sin(m * np.pi / n / 2) ** 2 - k2
    assert relative_error(A @ x, eigenvalue * x) <= tolerance(n**2 / 50, "float64")


def test_one_number_and_one_per_cell_agree():
    shared, each = Helmholtz(np.ones(4), 2.0), Helmholtz(np.ones(4), np.full(4, 2.0))
    assert relative_error(shared.as_matrix(), each.as_matrix()) == 0


@pytest.mark.parametrize(
    ("c", "k2", "expected"),
    [
        (np.float32, 2.0, np.float32),
        (np.float32, 2, np.float32),
        (np.float32, 2.0j, np.complex64),
        (np.float64, 2.0j, np.complex128),
        (np.complex128, 2.0, np.complex128),
        (np.float64, np.full(4, 1j), np.complex128),
    ],
)
def test_fields_are_complex_if_one_of_the_two_is(c: Any, k2: Any, expected: Any):
    assert Helmholtz(np.ones(4, c), k2).in_structure.dtype == expected


def test_real_operator_promises_symmetry_and_what_the_caller_says():
    assert Helmholtz(np.ones(4), -1.0).tags == {"symmetric", "hermitian"}
    promised = Helmholtz(np.ones(4), -1.0, tags=["positive_definite"]).tags
    assert "positive_definite" in promised


def test_complex_operator_promises_symmetry_alone():
    assert Helmholtz(np.ones(4), 1.0 + 1.0j).tags == {"symmetric"}


def test_without_a_wavenumber_it_is_diffusion():
    k = np.exp(np.random.default_rng(0).standard_normal((3, 4)))
    A, B = Helmholtz(k, 0.0, 0.5), kx.operators.Diffusion(k, 0.5)
    assert relative_error(A.as_matrix(), B.as_matrix()) == 0


def test_derivative_with_respect_to_the_squared_wavenumber_is_minus_the_field():
    x = jnp.arange(4.0)
    got = jax.jit(jax.jacfwd(lambda k2: Helmholtz(jnp.ones(4), k2) @ x))(2.0)
    assert np.array_equal(got, -x)
