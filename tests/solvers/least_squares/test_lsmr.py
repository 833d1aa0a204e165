"""LSMR: its steps are those of SciPy's, and its preconditioner changes only them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.linalg import lsmr

import krylax as kx

from ...helpers import relative_error, tolerance

ops: Any = kx.operators
Status = kx.Status
ROWS, COLUMNS = 60, 30
RNG = np.random.default_rng(8)
LEFT = np.linalg.qr(RNG.standard_normal((ROWS, COLUMNS)))[0]
RIGHT = np.linalg.qr(RNG.standard_normal((COLUMNS, COLUMNS)))[0]
VALUES = np.geomspace(1.0, 1e-2, COLUMNS)
MATRIX = (LEFT * VALUES) @ RIGHT.T
B = RNG.standard_normal(ROWS)
RTOL = 1e-8


@jax.jit
def solve(A: Any, b: Any, damping: Any, M: Any) -> kx.Solution:
    made = kx.solvers.LSMR(RTOL, damping=damping)
    return kx.solve(A, b, made, preconditioner=M, throw=False)


def plain(max_steps: int = 1000) -> kx.Solution:
    made = kx.solvers.LSMR(RTOL, max_steps=max_steps)
    return kx.solve(ops.Dense(MATRIX), B, made, throw=False)


def test_iterates_are_those_of_scipy():
    # Later ones differ: vectors that lose their orthogonality do so at random.
    found = plain(10)
    assert found.status == Status.max_steps_reached
    expected = lsmr(MATRIX, B, atol=0, btol=0, conlim=0, maxiter=10)[0]
    cond = float(VALUES[0] / VALUES[-1]) ** 2
    assert relative_error(found.value, expected) <= tolerance(cond, "float64")
    residual = np.linalg.norm(B - MATRIX @ expected) / np.linalg.norm(B)
    assert abs(found.stats.residuals[-1] - residual) <= tolerance(1e2, "float64")


def test_takes_as_many_steps_as_scipy_and_three_products_more():
    found = plain()
    steps = lsmr(MATRIX, B, atol=RTOL, btol=RTOL, conlim=0, maxiter=1000)[2]
    assert found.status == Status.converged
    # SciPy's estimate of the norm grows with the steps, and its goal with it.
    assert steps <= int(found.stats.num_steps) <= 1.2 * steps
    assert found.stats.num_matvecs == 2 * found.stats.num_steps + 3
    assert found.stats.num_preconditioner_calls == 0


def test_consistent_problem_ends_by_its_residual():
    exact = RIGHT @ np.ones(COLUMNS)
    found = kx.solve(ops.Dense(MATRIX), MATRIX @ exact, kx.solvers.LSMR(RTOL))
    assert found.stats.relative_residual <= RTOL
    assert relative_error(found.value, exact) <= 1e2 * RTOL


@pytest.mark.parametrize("damping", [0.1, 10.0])
def test_good_preconditioner_takes_few_steps_to_the_same_solution(damping: float):
    sizes = np.sqrt(VALUES**2 + damping**2)
    A, M = ops.Dense(MATRIX), ops.Dense(RIGHT / sizes)
    expected = (RIGHT * (VALUES / sizes**2)) @ (LEFT.T @ B)
    found = solve(A, B, damping, M)
    assert found.status == Status.converged
    assert found.stats.num_steps <= 2
    assert relative_error(found.value, expected) <= 1e3 * RTOL
    assert found.stats.num_preconditioner_calls > 2 * found.stats.num_steps


def test_preconditioner_without_an_inverse_is_found_out():
    M = ops.Diagonal((np.arange(COLUMNS) > 0).astype(float))
    found = solve(ops.Dense(MATRIX), B, 0.1, M)
    assert found.status == Status.stagnated
    assert found.stats.normal_residual is not None
    assert found.stats.normal_residual > RTOL


def test_factory_makes_a_preconditioner_from_a_square_operator():
    A = ops.Diagonal(np.geomspace(1, 1e4, 20))
    made = kx.solvers.LSMR(1e-10)
    found = kx.solve(A, np.ones(20), made, preconditioner=kx.solvers.Jacobi())
    assert found.stats.num_steps == 1
    assert relative_error(found.value, np.geomspace(1, 1e-4, 20)) <= 1e-10


def test_solution_at_rounding_level_is_attained():
    matrix = (LEFT * np.geomspace(1, 1e-7, COLUMNS)) @ RIGHT.T
    A, M = ops.Dense(matrix), ops.Dense(RIGHT * np.geomspace(1, 1e7, COLUMNS))
    found = kx.solve(A, B, kx.solvers.LSMR(1e-14), preconditioner=M)
    assert found.status == Status.attained
    assert found.stats.attainable > 0


def test_absolute_tolerance_takes_the_place_of_a_smaller_relative_one():
    A, size = ops.Dense(MATRIX), float(np.linalg.norm(B))
    loose = kx.solve(A, B, kx.solvers.LSMR(0.0, atol=1e-3 * size))
    same = kx.solve(A, jnp.asarray(B), kx.solvers.LSMR(1e-3))
    assert relative_error(loose.value, same.value) <= tolerance(1, "float64")
