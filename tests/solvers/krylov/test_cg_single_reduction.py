from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance
from ..cases import approximate_inverse, operator, problem, solve, solved
from ..systems import system_of

Status = kx.Status
ROW = "cg_single_reduction"


def reductions_per_step(preconditioned: bool, **options: Any) -> int:
    """How often a step adds over the axis that the field is spread over."""
    solver = kx.solvers.CG(inner_product=kx.solvers.InnerProduct("i"), **options)
    M = kx.operators.Diagonal(jnp.ones(48)) if preconditioned else None
    system = system_of("diffusion_2d", preconditioner=M)

    def begin_and_step(x: Any) -> Any:
        vectors = jax.tree.map(jnp.ones_like, begun)
        return solver.step(system, x, vectors)

    begun = kx.solvers.CG(**options).begin(system, system.r0)
    program = jax.make_jaxpr(begin_and_step, axis_env=[("i", 2)])(system.x0)
    return str(program).count("psum")


@pytest.mark.parametrize("preconditioned", [False, True])
def test_step_has_one_reduction(preconditioned: bool):
    assert reductions_per_step(preconditioned, single_reduction=True) == 1


@pytest.mark.parametrize(("preconditioned", "count"), [(False, 2), (True, 3)])
def test_step_of_the_usual_recurrence_has_more(preconditioned: bool, count: int):
    assert reductions_per_step(preconditioned) == count


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_products_over_a_mapped_axis_are_those_of_the_whole(dtype: str):
    x, y = (np.arange(12).astype(dtype) * factor + 1 for factor in (1, 0.5))
    spread = kx.solvers.InnerProduct("i")
    parts = (x.reshape(3, 4), y.reshape(3, 4))
    xy, yy = jax.vmap(lambda x, y: spread.dots((x, y), (y, y)), axis_name="i")(*parts)
    assert relative_error(xy, np.full(3, np.vdot(x, y))) <= tolerance(1, dtype)
    assert relative_error(yy, np.full(3, np.vdot(y, y))) <= tolerance(1, dtype)


@pytest.mark.parametrize("preconditioner", ["none", "jacobi", "operator"])
@pytest.mark.parametrize("name", ["diffusion_2d", "poisson_1d", "prescribed_spectrum"])
def test_iterates_are_those_of_cg(name: str, preconditioner: str):
    stats, expected = (
        solved(row, name, preconditioner=preconditioner).stats for row in (ROW, "cg")
    )
    # Rounding makes two runs of CG drift apart; the first steps agree.
    shared = min(15, int(expected.num_steps))
    seen = np.asarray(stats.history)[:shared]
    assert relative_error(seen, np.asarray(expected.history)[:shared]) <= 1e-8


@pytest.mark.parametrize("shift", [0.0, -2.5])
def test_indefinite_operator_is_reported(shift: float):
    matrix, b = problem("indefinite")
    found = solve(ROW, matrix + shift * np.eye(48), b)
    assert found.status == Status.indefinite_operator
    assert np.all(np.isfinite(found.value))


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_indefinite_preconditioner_is_reported(sign: float):
    matrix, b = problem("diffusion_2d")
    M = sign * approximate_inverse(ROW, matrix)
    found = solve(ROW, matrix, b, preconditioner=M)
    assert found.status == Status.indefinite_preconditioner


def test_singular_operator_never_gives_nan_as_converged():
    found = solve(ROW, *problem("singular_incompatible"))
    assert found.status != Status.converged
    assert np.all(np.isfinite(found.value))


def test_tolerance_out_of_reach_is_attained_to_rounding():
    matrix, b = problem("wide_spectrum")
    solver = kx.solvers.CG(rtol=3e-15, max_steps=100_000, single_reduction=True)
    found = kx.solve(operator(ROW, matrix), b, solver, throw=False)
    assert found.status == Status.attained
