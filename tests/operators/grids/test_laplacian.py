from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance

Laplacian = kx.operators.Laplacian
FORMULAS = {
    "dirichlet": lambda n: np.arange(1, n + 1) / (2 * (n + 1)),
    "neumann": lambda n: np.arange(n) / (2 * n),
    "periodic": lambda n: np.sort(np.minimum(np.arange(n), n - np.arange(n))) / n,
    "half": lambda n: (2 * np.arange(n) + 1) / (2 * (2 * n + 1)),
}
FACES: dict[str, Any] = {
    "dirichlet": ("dirichlet", "dirichlet"),
    "neumann": ("neumann", "neumann"),
    "periodic": ("periodic", "periodic"),
    "half": ("dirichlet", "neumann"),
}


def exact_eigenvalues(n: int, h: float, kind: str) -> np.ndarray:
    """4/h² sin²(π θ), with θ from the boundary conditions."""
    return 4 / h**2 * np.sin(np.pi * FORMULAS[kind](n)) ** 2


@pytest.mark.parametrize("kind", FACES)
@pytest.mark.parametrize("n", [2, 3, 8])
def test_eigenvalues_in_1d_are_those_of_the_sine_formula(n: int, kind: str):
    A = Laplacian((n,), 0.1, boundary=[FACES[kind]])
    got = np.linalg.eigvalsh(np.asarray(A.as_matrix()))
    error = relative_error(got, exact_eigenvalues(n, 0.1, kind))
    assert error <= tolerance(1, "float64")


@pytest.mark.parametrize(
    "kinds",
    [("dirichlet", "half"), ("neumann", "periodic"), ("half", "periodic", "dirichlet")],
    ids="-".join,
)
def test_eigenvalues_in_more_dimensions_are_sums(kinds: tuple[str, ...]):
    shape, spacing = (3, 4, 2)[: len(kinds)], (0.1, 0.2, 0.5)[: len(kinds)]
    A = Laplacian(shape, spacing, boundary=[FACES[kind] for kind in kinds])
    parts = [
        exact_eigenvalues(n, h, kind)
        for n, h, kind in zip(shape, spacing, kinds, strict=True)
    ]
    expected = np.sort(sum(np.ix_(*parts), np.zeros(shape)).ravel())
    got = np.linalg.eigvalsh(np.asarray(A.as_matrix()))
    assert relative_error(got, expected) <= tolerance(1, "float64")


def test_quadratic_has_constant_laplacian_inside():
    x = jnp.linspace(0, 1, 9)[1:-1]
    got = Laplacian((7,), 1 / 8) @ (x * (1 - x))
    assert relative_error(got, np.full(7, 2.0)) <= tolerance(1 / 8**-2, "float64")


def test_one_spacing_serves_all_axes():
    shared, each = Laplacian((3, 4), 0.5), Laplacian((3, 4), (0.5, 0.5))
    assert relative_error(shared.as_matrix(), each.as_matrix()) == 0


def test_one_boundary_serves_all_axes():
    shared = Laplacian((3, 4), boundary="neumann")
    each = Laplacian((3, 4), boundary=["neumann", ("neumann", "neumann")])
    assert shared.faces == each.faces


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [("dirichlet", "positive_definite"), ("neumann", "singular")],
)
def test_tags_follow_from_the_boundary(boundary: Any, expected: str):
    assert expected in Laplacian((4,), boundary=boundary).tags


def test_declared_null_vector_is_the_normalised_constant():
    A = Laplacian((3, 4), boundary="periodic", nullspace="constant")
    error = relative_error(A.nullspace, np.full((1, 3, 4), 12**-0.5))
    assert error <= tolerance(1, "float64")
