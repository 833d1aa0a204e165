"""What the methods of short recurrences share: unrolled steps, and honest counts."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, solution_tolerance, tolerance
from ..cases import problem
from ..systems import make_system
from ..test_solve import counted_solve

SOLVERS = {
    "cg": kx.solvers.CG(),
    "cg_single_reduction": kx.solvers.CG(single_reduction=True),
    "flexible_cg": kx.solvers.FlexibleCG(),
    "flexible_cg_of_four": kx.solvers.FlexibleCG(truncation=4),
    "minres": kx.solvers.MINRES(),
    "bicgstab": kx.solvers.BiCGStab(),
    "chebyshev": kx.solvers.Chebyshev(smallest=1.0, largest=70.0),
}
COUNTED = [*SOLVERS, "fgmres"]
STEPS = 4
WEIGHTS = np.cos(np.arange(48.0))
each_solver = pytest.mark.parametrize("name", SOLVERS)
each_preconditioner = pytest.mark.parametrize("preconditioned", [False, True])


def functional(solver: Any, preconditioned: bool, matrix: Any, b: Any) -> Any:
    """A number that depends on the iterate after a few steps."""
    M = kx.operators.Diagonal(1 / jnp.diagonal(matrix)) if preconditioned else None
    # The methods are for hermitian operators, and so are their derivatives.
    system = make_system((matrix + matrix.T) / 2, b, M)
    return jnp.vdot(WEIGHTS, solver.unroll(system, None, STEPS).value)


@cache
def with_gradients(solver: Any, preconditioned: bool = False) -> Any:
    """The number and its derivatives, as one compiled function of matrix and b."""
    function = partial(functional, solver, preconditioned)
    return jax.jit(jax.value_and_grad(function, argnums=(0, 1)))


@each_preconditioner
@each_solver
def test_gradient_of_unrolled_steps_is_that_of_finite_differences(
    name: str, preconditioned: bool
):
    matrix, b = problem("diffusion_2d")
    function = with_gradients(SOLVERS[name], preconditioned)
    _, (by_matrix, by_b) = function(matrix, b)
    tilt = np.outer(np.sin(np.arange(48.0)), WEIGHTS)
    step = float(np.finfo("float64").eps ** (1 / 3))
    ahead, _ = function(matrix + step * tilt, b + step)
    back, _ = function(matrix - step * tilt, b - step)
    got = np.vdot(by_matrix, tilt) + np.sum(by_b)
    # The derivative is of size 1; the error of the difference is of order step².
    assert abs(float((ahead - back) / (2 * step) - got)) <= 100 * step**2


@each_solver
def test_gradient_of_steps_after_exact_convergence_is_that_of_the_solution(name: str):
    fitting = SOLVERS | {"chebyshev": kx.solvers.Chebyshev(smallest=2.0, largest=2.0)}
    _, (_, got) = with_gradients(fitting[name])(2 * np.eye(48), np.sin(1 + WEIGHTS))
    assert relative_error(got, WEIGHTS / 2) <= tolerance(1, "float64", 100)


@each_solver
def test_gradient_of_steps_from_an_exact_start_is_finite(name: str):
    matrix, _ = problem("diffusion_2d")
    _, got = with_gradients(SOLVERS[name])(matrix, np.zeros(48))
    assert all(np.all(np.isfinite(gradient)) for gradient in got)


@each_solver
def test_unrolled_steps_are_those_of_a_solve_that_stops_there(name: str):
    matrix, b = problem("diffusion_2d")
    solver = SOLVERS[name]
    outcome = jax.jit(lambda A, b: solver.unroll(make_system(A, b), None, STEPS))(
        matrix, b
    )
    stopped = type(solver)(**{**vars(solver), "max_steps": STEPS})
    found = kx.solve(kx.operators.Dense(matrix), b, stopped, throw=False)
    slack = solution_tolerance(1, 0, "float64")
    assert (
        relative_error(outcome.value, found.value)
        <= slack * problem("diffusion_2d").cond
    )
    assert int(outcome.num_steps) == STEPS


@pytest.mark.parametrize("row", COUNTED)
def test_counts_are_those_of_the_calls(row: str):
    found, products, calls = counted_solve(row, x0=np.ones(48))
    assert int(found.stats.num_preconditioner_calls) == len(calls)
    assert int(found.stats.num_matvecs) == len(products)
