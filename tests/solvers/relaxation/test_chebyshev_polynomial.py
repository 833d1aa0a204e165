"""The Chebyshev polynomial as a matrix: its values on the spectrum, its sign."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from numpy.polynomial import chebyshev

import krylax as kx

from ...helpers import relative_error, tolerance
from ..preconditioner_cases import matrix_of, operator

ChebyshevPolynomial = kx.solvers.ChebyshevPolynomial
each_degree = pytest.mark.parametrize("degree", [2, 4, 6])


def definite(tags: tuple[str, ...] = ("positive_definite",)) -> Any:
    return kx.operators.Dense(matrix_of("float64", 1.0), tags=tags)


def eigenvalues(degree: int, largest: float | None) -> tuple[np.ndarray, np.ndarray]:
    """λ of D⁻¹A, and those of q(D⁻¹A) to the same eigenvectors."""
    A = matrix_of("float64", 1.0)
    D = np.diag(np.diag(A))
    M = np.asarray(ChebyshevPolynomial(degree, largest)(definite()).as_matrix())
    values, V = scipy.linalg.eigh(A, D)
    return values, np.diag(V.T @ D @ M @ D @ V)


@each_degree
@pytest.mark.parametrize("largest", [2.0, 0.7])
def test_residual_polynomial_is_that_of_chebyshev(degree: int, largest: float):
    values, q = eigenvalues(degree, largest)
    centre, radius = largest * (1 + 1 / 30) / 2, largest * (1 - 1 / 30) / 2
    T = chebyshev.Chebyshev.basis(degree + 1)
    expected = T((centre - values) / radius) / T(centre / radius)
    error = relative_error(1 - values * q, expected)
    assert error <= tolerance(float(np.max(np.abs(values * q))), "float64", 100)


@each_degree
@pytest.mark.parametrize("largest", [0.05, 0.5, 1.5, 40.0])
def test_preconditioner_is_definite_for_a_wrong_bound(degree: int, largest: float):
    M = ChebyshevPolynomial(degree, largest)(definite()).as_matrix()
    assert np.linalg.eigvalsh(M)[0] > 0


def test_estimated_bound_is_above_the_largest_eigenvalue_and_close():
    values, _ = eigenvalues(2, None)
    estimate = float(ChebyshevPolynomial(2)(definite()).largest)
    assert values[-1] <= estimate <= 1.1 * values[-1]


def test_higher_degree_saves_steps():
    A = kx.operators.Laplacian((24, 24))
    b, solver = jnp.ones((24, 24)), kx.solvers.CG(rtol=1e-8)
    plain, low, high = (
        int(kx.solve(A, b, solver, preconditioner=M).stats.num_steps)
        for M in (None, ChebyshevPolynomial(2), ChebyshevPolynomial(6))
    )
    assert 2 * low <= plain
    assert 3 * high <= 2 * low


def test_another_bound_compiles_nothing():
    A, b = operator("diffusion"), jnp.ones((8, 6))
    solver, make = kx.solvers.CG(rtol=1e-8), ChebyshevPolynomial
    kx.solve(A, b, solver, preconditioner=make(2, 2.0))
    M = make(2, 1.9)
    with jax.no_tracing(True):
        found = kx.solve(A, b, solver, preconditioner=M)
    assert found.status == kx.Status.converged


def test_nonsymmetric_operator_wants_a_bound():
    A, b = operator("flow"), jnp.ones((8, 6))
    with pytest.raises(ValueError, match=r"hermitian operators, got a ConvectionD"):
        ChebyshevPolynomial(2)(A)
    M = ChebyshevPolynomial(2, largest=2.0)
    found = kx.solve(A, b, kx.solvers.GMRES(rtol=1e-10), preconditioner=M)
    assert found.status == kx.Status.converged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "degree must be even and at least 2, got 3"),
        ((0,), "degree must be even and at least 2, got 0"),
        ((2, -1.0), "largest must be a positive bound"),
        ((2, np.inf), "largest must be a positive bound"),
        ((2, None, 1.0), "ratio must be above 1 and finite, got 1.0"),
        ((2, None, np.inf), "ratio must be above 1 and finite, got inf"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    arguments: tuple[Any, ...], message: str
):
    with pytest.raises(ValueError, match=message):
        ChebyshevPolynomial(*arguments)
