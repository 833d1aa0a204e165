"""Derivatives of least-squares solutions against those of the pseudo-inverse.

The oracle is the formula of Golub and Pereyra in NumPy, and its differences.
"""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import draw, relative_error
from .cases import SHAPES, SOLVERS, ByPseudoInverse, matrix_of, rhs_of

ops: Any = kx.operators
RTOL = 1e-12
# Solves to RTOL, the errors of which the chain of up to three of them multiplies by κ².
SLACK = 1e-9


def pinv(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.pinv(matrix, rcond=1e-10)


def rate_of(
    matrix: np.ndarray, b: np.ndarray, change: np.ndarray, b_change: np.ndarray
) -> np.ndarray:
    """Return the derivative of A⁺ b."""
    P = pinv(matrix)
    x = P @ b
    adjoint = change.conj().T
    of_null = adjoint @ (P.conj().T @ x)
    return (
        P @ (b_change - change @ x)
        + P @ (P.conj().T @ (adjoint @ (b - matrix @ x)))
        + of_null
        - P @ (matrix @ of_null)
    )


def changes(shape: str, dtype: str, rank: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return directions along which the rank stays."""
    rng = np.random.default_rng(7)
    matrix = matrix_of(shape, dtype, rank)
    change = draw(rng, matrix.shape, dtype)
    P = pinv(matrix)
    left = np.eye(len(matrix)) - matrix @ P
    right = np.eye(len(P)) - P @ matrix
    change = change - left @ change @ right
    return change, draw(rng, (len(matrix),), dtype)


MADE = SOLVERS | {"pseudo_inverse": ByPseudoInverse}
CASES = {
    "tall": ("lsmr", "tall", "float64", None),
    "wide_complex": ("qr", "wide", "complex128", None),
    "deficient": ("lsmr", "tall", "float64", 3),
}


@cache
def compiled_rates(solver: str) -> Any:
    """Return a compiled derivative in either mode, one program for each shape."""

    def solve(matrix: Any, b: Any) -> Any:
        made = MADE[solver](RTOL)
        return kx.solve(ops.Dense(matrix), b, made, throw=False).value

    @jax.jit
    def rates(given: Any, change: Any, weights: Any) -> Any:
        _, rate = jax.jvp(solve, given, change)
        return rate, jax.vjp(solve, *given)[1](weights)

    return rates


@pytest.mark.parametrize("case", CASES)
def test_first_derivatives_are_those_of_the_pseudo_inverse(case: str):
    solver, shape, dtype, rank = CASES[case]
    matrix, b = matrix_of(shape, dtype, rank), rhs_of(shape, dtype)
    change, b_change = changes(shape, dtype, rank)
    weights = draw(np.random.default_rng(3), SHAPES[shape][1:], dtype)

    rates = compiled_rates(solver)
    rate, (of_matrix, of_b) = rates((matrix, b), (change, b_change), weights)
    expected = rate_of(matrix, b, change, b_change)
    assert relative_error(rate, expected) <= SLACK
    # JAX pairs without conjugation, and of what is not holomorphic the real part.
    paired = np.real(np.sum(of_matrix * change) + np.sum(of_b * b_change))
    assert abs(paired - np.real(np.sum(weights * expected))) <= SLACK * np.abs(paired)
    assert relative_error(of_b, pinv(matrix).T @ weights) <= SLACK


def curve(t: Any, shape: str, rank: int) -> Any:
    """A matrix of that rank for every t."""
    rng = np.random.default_rng(11)
    rows, columns = SHAPES[shape]
    left, more_left = rng.standard_normal((2, rows, rank))
    right, more_right = rng.standard_normal((2, rank, columns))
    return (left + t * more_left) @ (right + t * more_right)


@pytest.mark.parametrize(
    ("solver", "shape", "rank"),
    [("qr", "wide", 5), ("pseudo_inverse", "tall", 3)],
)
def test_second_derivative_is_that_of_the_pseudo_inverse(
    solver: str, shape: str, rank: int
):
    b = rhs_of(shape)
    weights = np.cos(np.arange(SHAPES[shape][1]))
    made = MADE[solver](RTOL)

    def value(t: Any) -> Any:
        A = ops.Dense(curve(t, shape, rank))
        return jnp.vdot(weights, kx.solve(A, jnp.asarray(b), made, throw=False).value)

    got = jax.jit(jax.jacfwd(jax.grad(value)))(0.0)
    h = 1e-3
    points = [weights @ pinv(curve(k * h, shape, rank)) @ b for k in range(-2, 3)]
    # Of fourth order.
    expected = np.array([-1, 16, -30, 16, -1]) @ points / (12 * h**2)
    assert abs(got - expected) <= 1e-6 * np.abs(points[2]) / h**0.5


@pytest.mark.parametrize("solver", SOLVERS)
def test_gradients_of_a_batch_of_damped_problems_are_those_of_dense_algebra(
    solver: str,
):
    matrices = np.stack([matrix_of("tall"), -2 * matrix_of("tall")])
    b, weights = rhs_of("tall"), np.cos(np.arange(5))
    M = ops.Dense(0.5 * np.eye(5) + 0.1)

    def dense(matrix: Any, damping: Any) -> Any:
        normal = matrix.T @ matrix + damping**2 * jnp.eye(5)
        return jnp.vdot(weights, jnp.linalg.solve(normal, matrix.T @ b))

    def iterative(matrix: Any, damping: Any) -> Any:
        made = SOLVERS[solver](RTOL, damping=damping)
        found = kx.solve(ops.Dense(matrix), b, made, preconditioner=M)
        return jnp.vdot(weights, found.value)

    def gradients(function: Any) -> Any:
        both = jax.grad(function, argnums=(0, 1))
        return jax.jit(jax.vmap(both, in_axes=(0, None)))(matrices, 0.7)

    for got, expected in zip(gradients(iterative), gradients(dense), strict=True):
        assert relative_error(got, expected) <= SLACK


def test_failed_solve_of_a_derivative_is_nan_or_raises():
    # One step is enough for a right-hand side along a singular vector.
    A, b = ops.Diagonal(jnp.arange(1.0, 6.0)), jnp.asarray(np.eye(5)[2])
    made = kx.solvers.LSMR(RTOL, max_steps=1)

    def value(b: Any, throw: bool) -> Any:
        return jnp.sum(kx.solve(A, b, made, throw=throw).value)

    gradient = jax.grad(partial(value, throw=False))(b)
    assert np.all(np.isnan(gradient))
    with pytest.raises(Exception, match="The solve for a derivative"):
        jax.block_until_ready(jax.grad(partial(value, throw=True))(b))
