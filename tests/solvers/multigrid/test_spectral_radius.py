"""The bounds of D⁻¹A's spectrum that the smoothers of algebraic multigrid rest on."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from krylax.solvers.multigrid._spectral_radius import (
    MARGIN,
    inverse_diagonal,
    spectral_radius,
)


def matrix_of(eigenvalues: np.ndarray, seed: int, is_complex: bool = False) -> Any:
    """A hermitian matrix of these eigenvalues, whose diagonal varies little."""
    generator = np.random.default_rng(seed)
    n = len(eigenvalues)
    parts = generator.standard_normal((2, n, n))
    Q, _ = np.linalg.qr(parts[0] + (1j * parts[1] if is_complex else 0))
    return scipy.sparse.csr_array((Q * eigenvalues) @ Q.conj().T)


def end_of_spectrum(matrix: Any) -> float:
    scaled = inverse_diagonal(matrix)[:, None] * matrix.toarray()
    return float(np.max(np.abs(np.linalg.eigvals(scaled))))


SPECTRA = {
    "uniform": np.linspace(0.01, 2, 300),
    "one isolated": np.append(np.linspace(0.01, 1, 299), 1.5),
    "dense at the end": 2 - np.geomspace(1e-6, 1.9, 300),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_bound_is_above_the_spectrum_by_a_tenth(name: str, is_complex: bool, seed: int):
    matrix = matrix_of(SPECTRA[name], seed, is_complex)
    found, end = spectral_radius(matrix, True), end_of_spectrum(matrix)
    assert end / 1.03 <= found.estimate <= end * (1 + 1e-12)
    assert end <= found.bound <= MARGIN * end * (1 + 1e-12)


def test_row_sums_bound_what_is_not_hermitian():
    matrix = scipy.sparse.csr_array(np.array([[2.0, -3.0], [1.0, -4.0]]))
    assert spectral_radius(matrix, False) == (2.5, 2.5)
    assert spectral_radius(matrix, True) == (2.5, 2.5)


def test_unknowns_without_an_equation_are_left_out():
    matrix = scipy.sparse.csr_array(np.diag([2.0, 0.0, 4.0]))
    assert inverse_diagonal(matrix).tolist() == [0.5, 0.0, 0.25]
    assert spectral_radius(matrix, True).bound == pytest.approx(1.0)
