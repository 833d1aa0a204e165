"""Recycling MINRES: what it deflates, what that is worth, and what it reports."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import krylax as kx
from krylax.solvers.sequences import solve_sequence

from ...gallery import from_spectrum, random_unitary
from ...helpers import solution_tolerance
from ..cases import (
    NUM_RECYCLED,
    ROWS,
    RTOL,
    approximate_inverse,
    operator,
    problem,
    recycled_minres,
    solve,
    solved,
)
from .cases import TWO_SIGNS, carried, carry_of, nearby, system

Status = kx.Status
ROW = "recycled_minres"
SOLVER = ROWS[ROW].solver()


WEIGHTS = np.linspace(0.5, 2, 48)


def test_exact_invariant_subspace_gives_the_steps_of_the_deflated_spectrum():
    root = np.sqrt(WEIGHTS)
    # The split form has the spectrum of M⁻¹A, and eigenvectors with M⁻¹ taken out.
    Q, matrix = random_unitary(48), from_spectrum(TWO_SIGNS) / np.outer(root, root)
    b, low = np.cos(np.arange(48)), root[:, None] * Q[:, :NUM_RECYCLED]
    M = kx.operators.Diagonal(jnp.asarray(WEIGHTS))
    A, plain = operator("minres", matrix), kx.solvers.MINRES(rtol=0.0, atol=1e-8)
    recycling = recycled_minres(rtol=0.0, atol=1e-8)
    found = kx.solve(A, b, recycling, preconditioner=M, carry=carry_of(low.T))
    image = low / root[:, None] ** 2
    without = kx.solve(A, b - image @ (low.T @ b), plain, preconditioner=M)
    cold = kx.solve(A, b, plain, preconditioner=M)
    assert abs(int(found.stats.num_steps) - int(without.stats.num_steps)) <= 1
    assert found.stats.num_steps < cold.stats.num_steps


def test_recycled_space_holds_the_eigenvectors_of_smallest_modulus():
    matrix, b = system(ROW)
    M = kx.operators.Diagonal(jnp.asarray(WEIGHTS), tags=["positive_definite"])
    first = solve(ROW, matrix, b, preconditioner=M)
    found = solve(ROW, matrix, b, preconditioner=M, carry=first.carry)
    # Of M⁻¹A, where M⁻¹ is what is called the preconditioner.
    values, vectors = scipy.linalg.eigh(matrix, np.diag(1 / WEIGHTS))
    smallest = vectors[:, np.argsort(np.abs(values))[:NUM_RECYCLED]]
    angles = scipy.linalg.subspace_angles(np.asarray(found.carry.U).T, smallest)
    assert np.max(angles) <= 1e-2


def cavity(time: float) -> Any:
    """Waves in a changing medium: 5 eigenvalues below zero."""
    x = np.linspace(0, 1, 20)
    index = 1 + 0.2 * np.sin(3 * x[:, None] + time) * np.cos(2 * x + time)
    return kx.operators.Helmholtz(jnp.ones((20, 20)), (0.45 * index) ** 2)


def test_slowly_changing_medium_takes_less_than_half_the_steps():
    b = np.random.default_rng(0).standard_normal((20, 20))
    systems = [(cavity(0.05 * i), b) for i in range(4)]
    solver = kx.solvers.RecycledMINRES(rtol=1e-8, num_recycled=20)
    warm = list(solve_sequence(systems, solver))
    plain = kx.solvers.MINRES(rtol=1e-8)
    cold = [int(kx.solve(A, b, plain).stats.num_steps) for A, _ in systems]
    steps = [int(s.stats.num_steps) for s in warm]
    assert abs(steps[0] - cold[0]) <= 1
    assert max(steps[1:]) < min(cold) / 2


def test_tight_tolerance_is_met_by_the_true_residual_with_a_carry():
    matrix, b = system(ROW)
    A, solver = operator(ROW, matrix), recycled_minres(rtol=1e-11)
    found = kx.solve(A, b, solver, carry=carried(ROW, "cold")[1].carry)
    residual = b - matrix @ np.asarray(found.value)
    assert np.linalg.norm(residual) <= 1e-11 * np.linalg.norm(b)


def test_reported_residual_of_a_failure_with_a_carry_is_the_true_one():
    matrix, b = system(ROW)
    A, solver = operator(ROW, nearby(ROW, matrix)), recycled_minres(1e-10)
    few = recycled_minres(1e-10, max_steps=5)
    carry = carried(ROW, "cold")[1].carry
    found = kx.solve(A, b, few, carry=carry, throw=False)
    residual = np.linalg.norm(b - nearby(ROW, matrix) @ np.asarray(found.value))
    assert found.status == Status.max_steps_reached
    assert kx.solve(A, b, solver, carry=carry).stats.num_steps > 5
    assert float(found.stats.residual) == pytest.approx(residual, rel=1e-8)


@pytest.mark.parametrize("is_warm", [False, True])
def test_indefinite_preconditioner_is_reported(is_warm: bool):
    matrix, b = problem("diffusion_2d")
    M = -1 * approximate_inverse("cg", matrix)
    carry = solved(ROW, "diffusion_2d").carry if is_warm else None
    found = solve(ROW, matrix, b, preconditioner=M, carry=carry)
    assert found.status == Status.indefinite_preconditioner


def test_directional_derivative_with_a_carry_is_that_of_the_dense_solve():
    matrix, b = system(ROW)
    carry = carried(ROW, "cold")[1].carry

    def total(matrix: Any, b: Any) -> Any:
        return jnp.sum(solve(ROW, matrix, b, carry=carry).value)

    pair = (jnp.asarray(matrix), jnp.asarray(b))
    _, got = jax.jvp(total, pair, (jnp.asarray(matrix @ matrix), jnp.ones(48)))
    x = np.linalg.solve(matrix, b)
    expected = np.sum(np.linalg.solve(matrix, np.ones(48) - matrix @ (matrix @ x)))
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), RTOL["float64"], "float64")
    assert float(got) == pytest.approx(float(expected), rel=slack)


def test_a_complex_symmetric_operator_is_refused():
    A = kx.operators.Dense(np.array([[1.0, 1j], [1j, 2.0]]), tags=["symmetric"])
    with pytest.raises(ValueError, match="MINRES needs a hermitian operator"):
        kx.solve(A, np.ones(2, complex), SOLVER)


@pytest.mark.usefixtures("as_users_run_it")
def test_unknown_refresh_is_refused():
    settings: Any = {"refresh": "cycle"}
    with pytest.raises(ValueError, match="refresh must be one of"):
        kx.solvers.RecycledMINRES(**settings)
