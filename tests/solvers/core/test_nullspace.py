"""Singular systems with a declared null space, against the pseudo-inverse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...gallery import random_unitary
from ...helpers import relative_error, solution_tolerance, tolerance
from ..cases import GENERAL_ROWS, ROWS, RTOL

Status = kx.Status
SHAPE = (8, 6)
K = np.exp(np.random.default_rng(2).standard_normal(SHAPE))
A: Any = kx.operators.Diffusion(K, boundary="neumann", nullspace="constant")
MATRIX = np.asarray(A.as_matrix())
PSEUDO_INVERSE = np.linalg.pinv(MATRIX, hermitian=True)
EIGENVALUES = np.linalg.eigvalsh(MATRIX)
COND = float(EIGENVALUES[-1] / EIGENVALUES[1])
SLACK = 3 * solution_tolerance(COND, RTOL["float64"], "float64")
# One row of each way to meet a null space, which what all solvers share projects out.
ALIKE = (
    "cg_single_reduction",
    "flexible_cg",
    "flexible_cg_of_four",
    "fgmres",
    "gcrodr_harmonic_per_system",
    "recycled_minres",
    "batched",
)
each_row = pytest.mark.parametrize("row", [r for r in GENERAL_ROWS if r not in ALIKE])


def right_hand_side() -> Any:
    b = np.random.default_rng(3).standard_normal(SHAPE)
    return jnp.asarray(b - b.mean())


def solve(row: str, b: Any, **options: Any) -> Any:
    """A solve, preconditioned where vectors are recycled."""
    options |= {"preconditioner": kx.solvers.Jacobi()} if "gcrodr" in row else {}
    return kx.solve(A, b, ROWS[row].solver(), throw=False, **options)


@each_row
def test_solution_is_that_of_the_pseudo_inverse(row: str):
    b = right_hand_side()
    found = solve(row, b)
    expected = (PSEUDO_INVERSE @ b.reshape(-1)).reshape(SHAPE)
    assert found.status == Status.converged
    assert relative_error(found.value, expected) <= SLACK


@each_row
def test_solution_has_mean_zero(row: str):
    found = solve(row, right_hand_side())
    size = float(jnp.linalg.norm(found.value))
    assert abs(float(jnp.mean(found.value))) <= tolerance(1, "float64") * size


@each_row
@pytest.mark.parametrize("mean", [1.0, 1e-8])
def test_incompatible_right_hand_side_is_reported(row: str, mean: float):
    found = solve(row, right_hand_side() + mean)
    assert found.status == Status.incompatible_rhs
    assert np.all(np.isfinite(found.value))


@each_row
def test_mean_of_the_size_of_rounding_is_compatible(row: str):
    assert solve(row, right_hand_side() + 1e-15).status == Status.converged


def test_preconditioner_and_start_do_not_bring_the_null_space_back():
    b = right_hand_side()
    options = {"preconditioner": kx.solvers.Jacobi(), "x0": jnp.full(SHAPE, 7.0)}
    found = solve("cg", b, **options)
    assert found.status == Status.converged
    expected = (PSEUDO_INVERSE @ b.reshape(-1)).reshape(SHAPE)
    assert relative_error(found.value, expected) <= SLACK


def test_recycled_space_stays_orthogonal_to_the_null_space():
    carry = solve("gcrodr", right_hand_side()).carry
    found = solve("gcrodr", right_hand_side()[::-1], carry=carry)
    means = jnp.mean(carry.C.reshape(carry.C.shape[0], -1), axis=1)
    assert found.status == Status.converged
    assert float(jnp.max(jnp.abs(means))) <= tolerance(1, "float64", 100)


@pytest.mark.parametrize("row", ["cg", "gmres"])
def test_gradient_by_b_is_a_row_of_the_pseudo_inverse(row: str):
    # A single entry as functional: its cotangent has a mean.
    gradient = jax.grad(lambda b: solve(row, b).value[2, 3])(right_hand_side())
    expected = PSEUDO_INVERSE[2 * SHAPE[1] + 3].reshape(SHAPE)
    assert relative_error(gradient, expected) <= SLACK


def test_gradient_by_the_coefficient_is_that_of_the_pseudo_inverse():
    b, weights = right_hand_side(), np.cos(np.arange(48)).reshape(SHAPE)

    def neumann(k: Any) -> Any:
        return kx.operators.Diffusion(k, boundary="neumann", nullspace="constant")

    @jax.jit
    @jax.grad
    def gradient(k: Any) -> Any:
        solution = kx.solve(neumann(k), b, ROWS["cg"].solver(), throw=False)
        return jnp.sum(weights * solution.value)

    x = (PSEUDO_INVERSE @ b.reshape(-1)).reshape(SHAPE)
    adjoint = (PSEUDO_INVERSE @ weights.reshape(-1)).reshape(SHAPE)
    by_algebra = jax.jit(jax.grad(lambda k: -jnp.sum(adjoint * (neumann(k) @ x))))
    expected = by_algebra(jnp.asarray(K))
    assert relative_error(gradient(jnp.asarray(K)), expected) <= SLACK


def test_tangent_with_a_mean_is_projected():
    b = right_hand_side()
    _, tangent = jax.jvp(lambda b: solve("cg", b).value, (b,), (jnp.ones(SHAPE) + b,))
    expected = (PSEUDO_INVERSE @ b.reshape(-1)).reshape(SHAPE)
    assert relative_error(tangent, expected) <= SLACK


def complex_singular() -> tuple[Any, np.ndarray]:
    """A hermitian semidefinite operator with a complex null vector, and its matrix."""
    Q = random_unitary(12, np.complex128)
    matrix = (Q * np.r_[0.0, np.linspace(1, 3, 11)]) @ Q.conj().T
    tags = ["positive_semidefinite", "singular"]
    return kx.operators.Dense(matrix, tags=tags, nullspace=Q[:, :1].T), matrix


def test_complex_null_vector_is_honoured():
    operator, matrix = complex_singular()
    b = matrix @ np.exp(1j * np.arange(12))
    found = kx.solve(operator, b, kx.solvers.CG(rtol=1e-10))
    expected = np.linalg.pinv(matrix, hermitian=True, rcond=1e-10) @ b
    assert relative_error(found.value, expected) <= 3 * solution_tolerance(
        3, 1e-10, "complex128"
    )


def test_gradient_of_a_complex_singular_solve_is_that_of_the_pseudo_inverse():
    operator, matrix = complex_singular()
    b, weights = matrix @ np.exp(1j * np.arange(12)), np.exp(2j * np.arange(12))
    gradient = jax.grad(
        lambda b: jnp.real(
            jnp.vdot(weights, kx.solve(operator, b, kx.solvers.CG(rtol=1e-10)).value)
        )
    )(jnp.asarray(b))
    pseudo_inverse = np.linalg.pinv(matrix, hermitian=True, rcond=1e-10)
    assert relative_error(gradient, pseudo_inverse.T @ weights.conj()) <= (
        3 * solution_tolerance(3, 1e-10, "complex128")
    )
