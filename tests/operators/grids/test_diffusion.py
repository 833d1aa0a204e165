"""Diffusion as a finite-volume method: its matrix, conservation, exactness, order."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, cg

import krylax as kx

from ...gallery import finite_volume_matrix
from ...helpers import observed_orders, relative_error, tolerance
from ..cases import BOUNDARIES, GRIDS, SPACINGS

Diffusion = kx.operators.Diffusion
MEANS = ["harmonic", "arithmetic"]
REFINEMENTS = {1: (16, 32, 64, 128), 2: (16, 32, 64), 3: (8, 16, 32)}
each_mean = pytest.mark.parametrize("mean", MEANS)
each_grid = pytest.mark.parametrize("grid", GRIDS)


@jax.jit
def as_matrix(A: Any) -> Any:
    return A.as_matrix()


def coefficient(shape: tuple[int, ...], contrast: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(11)
    return np.exp(contrast * rng.standard_normal(shape))


@each_mean
@each_grid
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_high_contrast_matrix_is_the_one_assembled_face_by_face(
    grid: str, boundary: str, mean: Any
):
    shape = GRIDS[grid]
    k = coefficient(shape, contrast=4.0)
    spacing, faces = SPACINGS[: k.ndim], BOUNDARIES[boundary][: k.ndim]
    A = Diffusion(k, spacing, face_mean=mean, boundary=faces)
    expected = finite_volume_matrix(k, spacing, faces, mean)
    assert relative_error(as_matrix(A), expected) <= tolerance(1, "float64")


@each_mean
@each_grid
@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_constants_carry_no_flux_without_a_dirichlet_wall(
    grid: str, boundary: Any, mean: Any
):
    A = Diffusion(coefficient(GRIDS[grid]), 0.1, face_mean=mean, boundary=boundary)
    flux = np.abs(A @ jnp.ones(GRIDS[grid])) / A.diagonal()
    assert float(np.max(flux)) <= tolerance(1, "float64")


@each_mean
@each_grid
@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_what_leaves_one_cell_enters_another(
    grid: str, boundary: Any, mean: Any, getkey: Callable[[], Any]
):
    x = jax.random.normal(getkey(), GRIDS[grid])
    A = Diffusion(coefficient(GRIDS[grid]), 0.1, face_mean=mean, boundary=boundary)
    flux = A @ x
    total = abs(float(jnp.sum(flux))) / float(jnp.sum(jnp.abs(flux)))
    assert total <= tolerance(1, "float64")


@each_mean
def test_row_sums_vanish_away_from_dirichlet_walls_and_are_their_conductance_there(
    mean: Any,
):
    k, h = coefficient((4, 5)), 0.1
    A = Diffusion(k, h, face_mean=mean)
    num_walls = np.zeros((4, 5))
    num_walls[[0, -1], :] += 1
    num_walls[:, [0, -1]] += 1
    got = A @ jnp.ones((4, 5))
    assert relative_error(got, 2 * num_walls * k / h**2) <= tolerance(1, "float64", 100)


def layered_solution(k: np.ndarray, left: float, right: float) -> np.ndarray:
    """The exact temperature at cell centres of layers in series, on (0, 1)."""
    h = 1 / len(k)
    resistance = np.cumsum(h / k) - h / k / 2
    flux = (left - right) / np.sum(h / k)
    return left - flux * resistance


def test_harmonic_mean_is_exact_for_a_layered_medium():
    k, left, right = np.repeat([1.0, 100.0, 0.1, 7.0], 5), 2.0, -1.0
    A = Diffusion(k, spacing=1 / len(k))
    walls = np.zeros(len(k))
    walls[0], walls[-1] = left * k[0], right * k[-1]
    matrix = np.asarray(as_matrix(A))
    got = np.linalg.solve(matrix, 2 * walls * len(k) ** 2)
    error = relative_error(got, layered_solution(k, left, right))
    assert error <= tolerance(np.linalg.cond(matrix), "float64")


def test_arithmetic_mean_is_not_exact_for_a_layered_medium():
    k = np.repeat([1.0, 100.0, 0.1, 7.0], 5)
    A = Diffusion(k, spacing=1 / len(k), face_mean="arithmetic")
    walls = np.r_[2 * k[0] * len(k) ** 2, np.zeros(len(k) - 1)]
    got = np.linalg.solve(np.asarray(as_matrix(A)), walls)
    assert relative_error(got, layered_solution(k, 1.0, 0.0)) > 0.01


def with_dirichlet_walls(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k, u = Π s(x_i) with s = sin(πx) exp(x/2), and f = -∇·(k∇u)."""
    s = np.sin(np.pi * x) * np.exp(x / 2)
    ds = (np.pi * np.cos(np.pi * x) + np.sin(np.pi * x) / 2) * np.exp(x / 2)
    dds = ds / 2 - np.pi * np.exp(x / 2) * (
        np.pi * np.sin(np.pi * x) - np.cos(np.pi * x) / 2
    )
    u = np.prod(s, axis=0)
    t = 3 * np.sum(x, axis=0)
    k, dk = np.exp(np.sin(t) / 2), 1.5 * np.cos(t) * np.exp(np.sin(t) / 2)
    return k, u, -np.sum(dk * ds / s * u + k * dds / s * u, axis=0)


def with_mixed_boundaries(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u = sin(πx/2) (2 + sin(2πy)): zero at x = 0, no flux at x = 1, periodic in y."""
    s, c = np.sin(np.pi * x[0] / 2), np.cos(np.pi * x[0] / 2)
    wave, slope = np.sin(2 * np.pi * x[1]), np.cos(2 * np.pi * x[1])
    k, u = 2 + x[0] * wave, s * (2 + wave)
    along_x = wave * np.pi / 2 * c * (2 + wave) - k * (np.pi / 2) ** 2 * u
    along_y = (2 * np.pi) ** 2 * s * (x[0] * slope**2 - k * wave)
    return k, u, -along_x - along_y


def discretisation_error(
    n: int, dimensions: int, exact: Callable, **options: Any
) -> float:
    """Root mean square error at the centres of n cells per axis on the unit cube."""
    centres = (np.arange(n) + 0.5) / n
    k, u, f = exact(np.stack(np.meshgrid(*[centres] * dimensions, indexing="ij")))
    # Compiled as a whole: one program per size instead of forty.
    A = jax.jit(partial(Diffusion, spacing=1 / n, **options))(k)
    product = jax.jit(lambda A, x: A.mv(x.reshape(k.shape)).reshape(-1))
    apply = cast(Any, LinearOperator)  # SciPy carries no types
    matrix = apply((k.size, k.size), lambda x: np.asarray(product(A, x)), dtype=float)
    got, failed = cg(matrix, f.ravel(), rtol=1e-9)
    assert not failed
    return relative_error(got, u.ravel())


@each_mean
@pytest.mark.parametrize("dimensions", REFINEMENTS)
def test_order_of_convergence_is_two(dimensions: int, mean: Any):
    errors = [
        discretisation_error(n, dimensions, with_dirichlet_walls, face_mean=mean)
        for n in REFINEMENTS[dimensions]
    ]
    assert np.abs(observed_orders(errors) - 2).max() <= 0.1, errors


@each_mean
def test_order_of_convergence_is_two_with_mixed_boundaries(mean: Any):
    options = {
        "boundary": [("dirichlet", "neumann"), "periodic"],
        "face_mean": mean,
    }
    errors = [
        discretisation_error(n, 2, with_mixed_boundaries, **options)
        for n in (16, 32, 64)
    ]
    assert np.abs(observed_orders(errors) - 2).max() <= 0.1, errors


def test_derivative_with_respect_to_the_coefficient_is_that_of_the_matrix():
    k, direction = jnp.asarray(coefficient((3, 4))), jnp.ones((3, 4))
    x = jnp.arange(12.0).reshape(3, 4)
    _, got = jax.jvp(lambda k: Diffusion(k) @ x, (k,), (direction * k,))
    assert relative_error(got, Diffusion(k) @ x) <= tolerance(1, "float64")


def test_unit_coefficient_is_the_laplacian_but_for_the_distance_of_the_walls():
    faces: Any = ["neumann", "periodic"]
    shape, spacing = (3, 4), (0.5, 0.25)
    A = Diffusion(np.ones(shape), spacing, boundary=faces)
    B = kx.operators.Laplacian(shape, spacing, boundary=faces)
    assert relative_error(A.as_matrix(), B.as_matrix()) <= tolerance(1, "float64")


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ("dirichlet", {"positive_definite"}),
        ([("neumann", "dirichlet")], {"positive_definite"}),
        ("neumann", {"singular"}),
        ("periodic", {"singular"}),
    ],
)
def test_tags_follow_from_the_boundary(boundary: Any, expected: set[str]):
    always = {"symmetric", "hermitian", "positive_semidefinite"}
    assert Diffusion(np.ones(4), boundary=boundary).tags == always | expected


def test_complex_coefficient_is_symmetric_and_promises_nothing_else():
    assert Diffusion(np.full(4, 1 + 1j)).tags == {"symmetric"}
