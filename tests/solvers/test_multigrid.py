"""The V-cycle as a matrix M⁻¹: symmetry, definiteness, and the spectrum of M⁻¹A."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import relative_error, tolerance

Diffusion: Any = kx.operators.Diffusion
Multigrid = kx.solvers.Multigrid
MIXED = [("dirichlet", "neumann"), "periodic", "neumann"]
# Above 64 cells, so that there are two levels or more; odd and even sizes.
GRIDS: list[tuple[tuple[int, ...], Any]] = [
    ((100,), "dirichlet"),
    ((12, 11), MIXED[:2]),
    ((5, 5, 4), MIXED),
]
each_grid = pytest.mark.parametrize(("shape", "faces"), GRIDS, ids=["1d", "2d", "3d"])


@partial(jax.jit, static_argnums=1)
def matrices_of(A: Any, num_sweeps: int) -> Any:
    return A.as_matrix(), Multigrid(num_sweeps)(A).as_matrix()


def matrices(A: Any, num_sweeps: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Those of the operator and of its V-cycle."""
    matrix, cycle = matrices_of(A, num_sweeps)
    return np.asarray(matrix), np.asarray(cycle)


def coefficient(shape: tuple[int, ...], contrast: float) -> np.ndarray:
    return np.exp(contrast * np.random.default_rng(0).standard_normal(shape))


def condition(MA: np.ndarray, skipped: int = 0) -> float:
    eigenvalues = np.sort(np.linalg.eigvals(MA).real)
    return float(eigenvalues[-1] / eigenvalues[skipped])


@each_grid
def test_cycle_is_symmetric_and_definite(shape: tuple[int, ...], faces: Any):
    _, M = matrices(Diffusion(coefficient(shape, 2.0), boundary=faces))
    assert relative_error(M.T, M) <= tolerance(1, "float64")
    assert np.linalg.eigvalsh(M)[0] > 0


@each_grid
def test_condition_number_is_below_two_and_a_half_for_a_constant_coefficient(
    shape: tuple[int, ...], faces: Any
):
    A, M = matrices(Diffusion(np.ones(shape), boundary=faces))
    assert condition(M @ A) < 2.5


@each_grid
def test_condition_number_falls_a_lot_where_the_coefficient_varies(
    shape: tuple[int, ...], faces: Any
):
    A, M = matrices(Diffusion(coefficient(shape, 1.0), boundary=faces))
    assert condition(M @ A) < min(5, np.linalg.cond(A) / 8)


def test_singular_operator_is_preconditioned_beside_its_null_space():
    A, M = matrices(Diffusion(coefficient((12, 11), 1.0), boundary="neumann"))
    assert np.all(np.isfinite(M))
    assert condition(M @ A, skipped=1) < 5


def test_cycle_of_a_small_grid_is_the_inverse():
    A, M = matrices(Diffusion(coefficient((7, 8), 1.0)))
    slack = tolerance(float(np.linalg.cond(A)), "float64")
    assert relative_error(M @ A, np.eye(len(A))) <= slack


def test_cycle_of_a_small_complex_grid_is_the_inverse():
    phases = np.exp(1j * np.random.default_rng(1).standard_normal((7, 8)))
    A, M = matrices(Diffusion(coefficient((7, 8), 0.5) * phases))
    slack = tolerance(float(np.linalg.cond(A)), "complex128")
    assert relative_error(M @ A, np.eye(len(A))) <= slack


def test_fewer_sweeps_precondition_worse():
    shape, faces = GRIDS[1]
    operator = Diffusion(coefficient(shape, 1.0), boundary=faces)
    A, M = matrices(operator)
    _, weaker = matrices(operator, num_sweeps=1)
    assert condition(weaker @ A) > condition(M @ A)


def test_two_phase_diffusion_takes_a_dozen_steps():
    k = np.where(np.random.default_rng(0).random((40, 48)) < 0.5, 12.0, 3.0)
    solver, M = kx.solvers.CG(rtol=1e-8), Multigrid()
    found = kx.solve(Diffusion(k), jnp.ones((40, 48)), solver, preconditioner=M)
    assert int(found.stats.num_steps) <= 13


def test_promises_are_those_of_the_operator():
    A = kx.operators.Laplacian((3, 4), boundary="neumann", nullspace="constant")
    assert Multigrid()(A).tags == A.tags - {"singular"}


def test_other_operators_are_refused_with_the_remedy():
    with pytest.raises(
        ValueError, match=r"knows Diffusion and Laplacian, got Dense.*Jac"
    ):
        Multigrid()(kx.operators.Dense(np.eye(4)))


def test_no_sweeps_are_refused():
    with pytest.raises(ValueError, match="num_sweeps must be at least 1, got 0"):
        Multigrid(num_sweeps=0)
