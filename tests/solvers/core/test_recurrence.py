"""What the methods of short recurrences share: unrolled steps, and honest counts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, solution_tolerance, tolerance
from ..cases import problem
from ..systems import make_system, system_of
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
each_solver = pytest.mark.parametrize("name", SOLVERS)
each_preconditioner = pytest.mark.parametrize("preconditioned", [False, True])


def functional(name: str, preconditioned: bool, matrix: Any, b: Any) -> Any:
    """A number that depends on the iterate after a few steps."""
    M = kx.operators.Diagonal(1 / jnp.diagonal(matrix)) if preconditioned else None
    # The methods are for hermitian operators, and so are their derivatives.
    system = make_system((matrix + matrix.T) / 2, b, M)
    value = SOLVERS[name].unroll(system, None, STEPS).value
    return jnp.vdot(jnp.cos(jnp.arange(48.0)), value)


@each_preconditioner
@each_solver
def test_gradient_of_unrolled_steps_is_that_of_finite_differences(
    name: str, preconditioned: bool
):
    matrix, b = map(jnp.asarray, problem("diffusion_2d"))
    function = jax.jit(lambda A, b: functional(name, preconditioned, A, b))
    by_matrix, by_b = jax.grad(function, argnums=(0, 1))(matrix, b)
    tilt = jnp.outer(jnp.sin(jnp.arange(48.0)), jnp.cos(jnp.arange(48.0)))
    step = float(np.finfo("float64").eps ** (1 / 3))
    ahead = function(matrix + step * tilt, b + step)
    back = function(matrix - step * tilt, b - step)
    got = jnp.vdot(by_matrix, tilt) + jnp.sum(by_b)
    # The derivative is of size 1; the error of the difference is of order step².
    assert abs(float((ahead - back) / (2 * step) - got)) <= 100 * step**2


@each_solver
def test_gradient_of_steps_after_exact_convergence_is_that_of_the_solution(name: str):
    diagonal = jnp.full(48, 2.0)
    weights = jnp.cos(jnp.arange(48.0))

    def solution(b: Any) -> Any:
        system = make_system(jnp.diag(diagonal), b)
        return jnp.vdot(weights, fitting[name].unroll(system, None, STEPS).value)

    fitting = SOLVERS | {"chebyshev": kx.solvers.Chebyshev(smallest=2.0, largest=2.0)}
    got = jax.grad(solution)(jnp.sin(jnp.arange(1.0, 49.0)))
    assert relative_error(got, weights / 2) <= tolerance(1, "float64", 100)


@each_solver
def test_gradient_of_steps_from_an_exact_start_is_finite(name: str):
    matrix, _ = problem("diffusion_2d")
    got = jax.grad(lambda b: functional(name, False, jnp.asarray(matrix), b))(
        jnp.zeros(48)
    )
    assert np.all(np.isfinite(got))


@each_solver
def test_unrolled_steps_are_those_of_a_solve_that_stops_there(name: str):
    matrix, b = problem("diffusion_2d")
    outcome = SOLVERS[name].unroll(system_of("diffusion_2d"), None, STEPS)
    solver = SOLVERS[name]
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
