import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error
from ..cases import RTOL, approximate_inverse, operator, problem, solve, solved
from ..inner_solve import InnerSolve

Status = kx.Status


@pytest.mark.parametrize("name", ["convection_diffusion", "indefinite"])
def test_linear_preconditioner_gives_the_iterates_of_gmres(name: str):
    matrix, b = problem(name)
    M = approximate_inverse("gmres", matrix)
    found, expected = (
        solve(row, matrix, b, preconditioner=M) for row in ("fgmres", "gmres")
    )
    assert found.stats.num_steps == expected.stats.num_steps
    assert relative_error(found.value, expected.value) <= RTOL["float64"]


def test_nonlinear_preconditioner_saves_steps():
    matrix, b = problem("diffusion_2d")
    M = InnerSolve(operator("cg", matrix))
    found = solve("fgmres", matrix, b, preconditioner=M)
    plain = solved("fgmres", "diffusion_2d")
    assert found.status == Status.converged
    # Each step reduces the residual tenfold, or nearly so.
    assert int(found.stats.num_steps) <= 12 < int(plain.stats.num_steps)


@pytest.mark.parametrize("row", ["gmres", "cg", "minres", "bicgstab", "chebyshev"])
def test_solvers_that_are_not_flexible_refuse_a_nonlinear_preconditioner(row: str):
    matrix, b = problem("diffusion_2d")
    M = InnerSolve(operator("cg", matrix))
    with pytest.raises(ValueError, match="needs a linear preconditioner, got a Inner"):
        solve(row, matrix, b, preconditioner=M)


def test_steps_over_several_restarts_solve_too():
    matrix, b = problem("diffusion_2d")
    M = InnerSolve(operator("cg", matrix), kx.solvers.CG(rtol=0.5))
    solver = kx.solvers.FGMRES(rtol=1e-10, restart=4)
    found = kx.solve(kx.operators.Dense(matrix), b, solver, preconditioner=M)
    assert found.stats.num_steps > 4
    assert np.linalg.norm(b - matrix @ found.value) <= 1e-10 * np.linalg.norm(b)


@pytest.mark.parametrize("restart", [0, -3])
def test_restart_below_one_is_refused(restart: int):
    with pytest.raises(ValueError, match=f"restart must be at least 1, got {restart}"):
        kx.solvers.FGMRES(restart=restart)
