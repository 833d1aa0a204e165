"""The gallery's problems have the conditioning and the structure that they announce."""

from typing import Any

import numpy as np
import pytest

from . import gallery
from .helpers import relative_error, tolerance

CONDITIONS = {
    "poisson_1d": 1 / np.tan(np.pi / 98) ** 2,
    "prescribed_spectrum": 100,
    "nearly_singular": 2e4,
    "indefinite": 4,
    "complex_hermitian": 30,
    "cyclic_shift": 1,
}
ROUGH_CONDITIONS = {
    "diffusion_2d": 34,
    "convection_diffusion": 14,
    "complex_shifted": 7,
}
SYMMETRIC = ["poisson_1d", "diffusion_2d", "nearly_singular", "indefinite"]


def make(name: str) -> Any:
    return getattr(gallery, name)()


@pytest.mark.parametrize(("name", "cond"), CONDITIONS.items(), ids=CONDITIONS)
def test_condition_number_is_the_announced_one(name: str, cond: float):
    assert make(name).cond == pytest.approx(cond, rel=tolerance(cond, "float64", 100))


@pytest.mark.parametrize(("name", "cond"), ROUGH_CONDITIONS.items())
def test_condition_number_is_about_the_announced_one(name: str, cond: float):
    assert make(name).cond == pytest.approx(cond, rel=0.06)


def test_wide_spectrum_is_about_as_wide_as_announced():
    assert make("wide_spectrum").cond == pytest.approx(1e12, rel=1e-3)


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_problems_are(name: str):
    matrix = make(name).matrix
    assert relative_error(matrix.T, matrix) <= tolerance(1, "float64")


def test_hermitian_problem_is_and_is_complex():
    matrix = make("complex_hermitian").matrix
    assert np.iscomplexobj(matrix)
    assert relative_error(matrix.conj().T, matrix) <= tolerance(1, "complex128")


def test_indefinite_problem_has_six_negative_eigenvalues():
    assert np.sum(np.linalg.eigvalsh(make("indefinite").matrix) < 0) == 6


def test_convection_makes_the_matrix_nonsymmetric():
    matrix = make("convection_diffusion").matrix
    assert relative_error(matrix.T, matrix) > 0.1


@pytest.mark.parametrize("name", [*CONDITIONS, *ROUGH_CONDITIONS, "wide_spectrum"])
def test_all_problems_have_one_size(name: str):
    problem = make(name)
    assert problem.matrix.shape == (48, 48)
    assert problem.b.shape == (48,)


def test_solution_solves_the_problem():
    problem = make("diffusion_2d")
    residual = relative_error(problem.matrix @ problem.solution, problem.b)
    assert residual <= tolerance(1, "float64", 100)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_random_unitary_matrix_is_unitary(dtype: type):
    Q = gallery.random_unitary(7, dtype)
    assert relative_error(Q.conj().T @ Q, np.eye(7)) <= tolerance(1, dtype)


def test_matrix_from_spectrum_has_it():
    got = np.linalg.eigvalsh(gallery.from_spectrum(np.array([1.0, 2.0, 5.0])))
    assert relative_error(got, np.array([1.0, 2.0, 5.0])) <= tolerance(1, "float64")


def test_assembled_matrix_of_three_cells_is_the_one_by_hand():
    faces = [("dirichlet", "neumann")]
    got = gallery.finite_volume_matrix(
        np.array([1.0, 1.0, 3.0]), [1.0], faces, "harmonic"
    )
    expected = [[3, -1, 0], [-1, 2.5, -1.5], [0, -1.5, 1.5]]
    assert got.tolist() == expected


def test_assembled_periodic_matrix_closes_on_itself():
    k, faces = np.array([1.0, 3.0, 5.0]), [("periodic", "periodic")]
    got = gallery.finite_volume_matrix(k, [0.5], faces, "arithmetic")
    assert got.tolist() == [[20, -8, -12], [-8, 24, -16], [-12, -16, 28]]
