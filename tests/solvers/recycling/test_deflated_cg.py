"""Deflated CG: what it deflates, and what that is worth."""

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import krylax as kx
from krylax.solvers.sequences import solve_sequence

from ...gallery import from_spectrum, random_unitary
from ..cases import NUM_RECYCLED, ROWS, RTOL, deflated_cg, operator, problem, solve
from .cases import carried, carry_of

Status = kx.Status
ROW = "deflated_cg"
SOLVER = ROWS[ROW].solver()
SMALL = np.r_[np.geomspace(1e-4, 1e-2, NUM_RECYCLED), np.linspace(1, 5, 42)]
"""A spectrum of as many small eigenvalues as are recycled, and 42 others."""


def test_exact_invariant_subspace_gives_the_steps_of_the_deflated_spectrum():
    Q, matrix = random_unitary(48), from_spectrum(SMALL)
    low, b = Q[:, :NUM_RECYCLED], np.cos(np.arange(48))
    A, plain = operator(ROW, matrix), kx.solvers.CG(rtol=0.0, atol=1e-8)
    recycling = deflated_cg(rtol=0.0, atol=1e-8)
    found = kx.solve(A, b, recycling, carry=carry_of(low.T))
    without = kx.solve(A, b - low @ (low.T @ b), plain)
    assert found.stats.num_steps == without.stats.num_steps
    assert found.stats.num_steps < kx.solve(A, b, plain).stats.num_steps


@pytest.mark.parametrize("weights", [np.ones(48), np.linspace(0.5, 2, 48)])
def test_recycled_space_holds_the_smallest_eigenvectors(weights: np.ndarray):
    matrix, b = from_spectrum(SMALL), np.cos(np.arange(48))
    M = kx.operators.Diagonal(weights, tags=["positive_definite"])
    found = kx.solve(operator(ROW, matrix), b, SOLVER, preconditioner=M)
    # Of M⁻¹A, where M⁻¹ is what is called the preconditioner.
    _, vectors = scipy.linalg.eigh(matrix, np.diag(1 / weights))
    smallest = vectors[:, :NUM_RECYCLED]
    angles = scipy.linalg.subspace_angles(np.asarray(found.carry.U).T, smallest)
    assert np.max(angles) <= 1e-2


def islands(time: float) -> Any:
    """Four conducting blocks in a poor conductor: Jacobi leaves 4 small eigenvalues."""
    k = np.ones((20, 20))
    for i, j in np.ndindex(2, 2):
        block = 1e4 * (1 + 0.3 * np.sin(i + 3 * j + time))
        k[2 + 10 * i : 8 + 10 * i, 2 + 10 * j : 8 + 10 * j] = block
    return kx.operators.Diffusion(k)


def test_slowly_changing_diffusion_takes_less_than_half_the_steps():
    b = np.random.default_rng(0).standard_normal((20, 20))
    systems = [(islands(0.1 * i), b) for i in range(3)]
    jacobi = kx.solvers.Jacobi()
    warm = list(solve_sequence(systems, SOLVER, preconditioner=jacobi))
    solver = kx.solvers.CG(rtol=RTOL["float64"])
    cold = [kx.solve(A, b, solver, preconditioner=jacobi) for A, _ in systems]
    steps = [int(s.stats.num_steps) for s in warm]
    expected = [int(s.stats.num_steps) for s in cold]
    assert steps[0] == expected[0]
    assert max(steps[1:]) < min(expected) / 2


def test_indefinite_operator_is_reported_and_hands_on_a_usable_carry():
    failed = solve(ROW, *problem("indefinite"), carry=carried(ROW, "cold")[1].carry)
    matrix, b = problem("diffusion_2d")
    found = solve(ROW, matrix, b, carry=failed.carry)
    assert failed.status == Status.indefinite_operator
    assert found.status == Status.converged
