from typing import Any

import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance
from ..cases import RTOL, approximate_inverse, operator, problem, solve, solved
from ..inner_solve import InnerSolve
from ..systems import system_of

Status = kx.Status
ROWS = ["flexible_cg", "flexible_cg_of_four"]
each_row = pytest.mark.parametrize("row", ROWS)


def varying(row: str, name: str = "diffusion_2d", rtol: float = 0.5) -> Any:
    """A solve with an inner one as the preconditioner."""
    matrix, b = problem(name)
    M = InnerSolve(operator("cg", matrix), kx.solvers.CG(rtol=rtol))
    return solve(row, matrix, b, preconditioner=M)


@pytest.mark.parametrize("preconditioner", ["none", "jacobi", "operator"])
@pytest.mark.parametrize("name", ["diffusion_2d", "prescribed_spectrum"])
@each_row
def test_linear_preconditioner_gives_the_iterates_of_cg(
    row: str, name: str, preconditioner: str
):
    stats, expected = (
        solved(r, name, preconditioner=preconditioner).stats for r in (row, "cg")
    )
    # Rounding makes two runs of CG drift apart; the first steps agree.
    shared = min(15, int(expected.num_steps))
    seen = np.asarray(stats.history)[:shared]
    assert relative_error(seen, np.asarray(expected.history)[:shared]) <= 1e-8


@pytest.mark.parametrize("rtol", [0.1, 0.5])
@each_row
def test_nonlinear_preconditioner_saves_steps(row: str, rtol: float):
    found = varying(row, rtol=rtol)
    assert found.status == Status.converged
    assert found.stats.num_steps < solved("cg", "diffusion_2d").stats.num_steps


def test_error_falls_in_every_step_though_the_preconditioner_varies():
    matrix, _ = problem("diffusion_2d")
    M = InnerSolve(operator("cg", matrix), kx.solvers.CG(rtol=0.5))
    system = system_of("diffusion_2d", preconditioner=M)
    solver, exact = kx.solvers.FlexibleCG(), problem("diffusion_2d").solution
    errors = [solver.unroll(system, None, k).value - exact for k in range(1, 9)]
    norms = np.array([error @ matrix @ error for error in errors])
    assert np.all(norms[1:] < norms[:-1])


def test_directions_are_conjugate_though_the_preconditioner_varies():
    matrix, _ = problem("diffusion_2d")
    M = InnerSolve(operator("cg", matrix), kx.solvers.CG(rtol=0.5))
    system = system_of("diffusion_2d", preconditioner=M)
    solver = kx.solvers.FlexibleCG(truncation=4)
    x, vectors = system.x0, solver.begin(system, system.r0)
    for _ in range(4):
        taken = solver.step(system, x, vectors)
        x, vectors = taken.x, taken.vectors
    P = np.asarray(vectors.P)
    P = P / np.sqrt(np.asarray(vectors.pAp))[:, None]
    assert np.linalg.norm(P @ matrix @ P.T - np.eye(4)) <= tolerance(34, "float64")


def test_longer_truncation_takes_no_more_steps():
    few, many = (varying(row).stats.num_steps for row in ROWS)
    assert many <= few


@each_row
def test_sign_and_size_of_the_preconditioner_do_not_matter(row: str):
    matrix, b = problem("diffusion_2d")
    M = approximate_inverse(row, matrix)
    found, expected = (
        solve(row, matrix, b, preconditioner=factor * M) for factor in (-1e3, 1.0)
    )
    assert found.stats.num_steps == expected.stats.num_steps
    assert relative_error(found.value, expected.value) <= RTOL["float64"]


@each_row
def test_preconditioner_that_gives_nothing_is_reported(row: str):
    matrix, b = problem("diffusion_2d")
    M = 0.0 * approximate_inverse(row, matrix)
    found = solve(row, matrix, b, preconditioner=M)
    assert found.status == Status.indefinite_preconditioner


@each_row
def test_indefinite_operator_is_reported(row: str):
    matrix, b = problem("indefinite")
    found = solve(row, matrix, b)
    assert found.status == Status.indefinite_operator
    assert np.all(np.isfinite(found.value))


def test_truncation_below_zero_is_refused():
    with pytest.raises(ValueError, match="truncation must be at least 0, got -1"):
        kx.solvers.FlexibleCG(truncation=-1)


def test_without_directions_it_is_steepest_descent():
    diagonal, b = np.array([1.0, 2.0, 5.0]), np.array([1.0, -1.0, 2.0])
    A = kx.operators.Diagonal(diagonal, tags=["positive_definite"])
    solver = kx.solvers.FlexibleCG(truncation=0)
    found = kx.solve(A, b, solver, unroll=4).value
    x = np.zeros(3)
    for _ in range(4):
        r = b - diagonal * x
        x = x + r * (r @ r) / (r @ (diagonal * r))
    assert np.allclose(found, x, rtol=1e-12)
