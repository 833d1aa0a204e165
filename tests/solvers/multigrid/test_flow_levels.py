"""Multigrid in a flow: what a cycle is for convection and diffusion, not symmetric."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.multigrid._coarse_inverse import _pivoted_inverse

from ...helpers import relative_error, solution_tolerance, tolerance

Flow: Any = kx.operators.ConvectionDiffusion
Multigrid = kx.solvers.Multigrid
MIXED = [("dirichlet", "neumann"), "periodic", "neumann"]
# Above 64 cells, so that there are two levels or more; odd and even sizes.
GRIDS: list[tuple[tuple[int, ...], Any]] = [
    ((100,), "dirichlet"),
    ((12, 11), MIXED[:2]),
    ((5, 5, 4), MIXED),
]
UPWIND, CENTRAL = ("upwind", "conservative"), ("central", "advective")


def vortex(num_points: int, peclet: float) -> np.ndarray:
    """A flow that turns round in a square, of that cell Péclet number."""
    x, y = (np.mgrid[:num_points, :num_points] + 0.5) * np.pi / num_points
    return peclet * np.stack([np.sin(x) * np.cos(y), -np.cos(x) * np.sin(y)])


def num_steps(A: Any, shape: Any = "V") -> int:
    b = np.random.default_rng(0).standard_normal(A.in_structure.shape)
    found = kx.solve(
        A, b, kx.solvers.BiCGStab(1e-8), preconditioner=Multigrid(shape=shape)
    )
    return int(found.stats.num_steps)


@jax.jit
def matrices_of(A: Any) -> Any:
    M = Multigrid()(A)
    return A.as_matrix(), M.as_matrix(), M.T.as_matrix()


def error_factor(A: np.ndarray, M: np.ndarray) -> float:
    """The spectral radius of 1 - M⁻¹A."""
    return float(np.max(np.abs(np.linalg.eigvals(np.eye(len(A)) - M @ A))))


@pytest.mark.parametrize("form", [UPWIND, CENTRAL], ids=["upwind", "central"])
@pytest.mark.parametrize(("shape", "faces"), GRIDS, ids=["1d", "2d", "3d"])
def test_cycle_is_near_the_inverse_and_its_transpose_exact(
    shape: tuple[int, ...], faces: Any, form: Any
):
    k = np.exp(0.5 * np.random.default_rng(0).standard_normal(shape))
    velocity = np.array([0.8, -0.5, 0.4])[: len(shape)]
    operator = Flow(k, velocity, scheme=form[0], form=form[1], boundary=faces)
    A, M, MT = map(np.asarray, matrices_of(operator))
    assert error_factor(A, M) < 0.3
    assert relative_error(MT, M.T) <= tolerance(float(np.linalg.cond(A)), "float64")


def test_cycle_of_a_small_grid_is_the_inverse():
    A, M, _ = map(np.asarray, matrices_of(Flow(np.ones((7, 8)), np.array([9.0, 3.0]))))
    slack = tolerance(float(np.linalg.cond(A)), "float64")
    assert relative_error(M @ A, np.eye(len(A))) <= slack


@pytest.mark.parametrize("num_points", [16, 32, 64])
def test_steps_in_a_given_flow_do_not_grow_with_the_grid(num_points: int):
    A = Flow(np.ones((num_points,) * 2), vortex(num_points, 160 / num_points))
    assert num_steps(A) <= 10


def test_w_cycles_serve_where_a_strong_flow_goes_round():
    A = Flow(np.ones((32, 32)), vortex(32, 50.0))
    assert num_steps(A) <= 20
    assert num_steps(A, "W") <= 15


def test_central_scheme_beyond_its_limit_is_smoothed_as_an_upwind_one():
    A = Flow(np.ones((32, 32)), vortex(32, 5.0), scheme="central")
    assert num_steps(A) <= 14


def test_periodic_flow_is_preconditioned_beside_its_null_space():
    shear = np.stack([np.zeros((16, 12)), np.tile(np.sin(np.arange(16.0)), (12, 1)).T])
    k = np.ones((16, 12))
    A = Flow(k, 3 * shear, boundary="periodic", nullspace="constant")
    b = np.random.default_rng(0).standard_normal(k.shape)
    solver = kx.solvers.GMRES(rtol=1e-8)
    found = kx.solve(A, b - b.mean(), solver, preconditioner=Multigrid())
    assert int(found.stats.num_steps) <= 12


def test_implicit_time_step_of_a_flow_is_preconditioned():
    flow = Flow(np.ones((16, 16)), vortex(16, 5.0), boundary="neumann")
    step = kx.operators.Identity(flow.in_structure) + 10.0 * flow
    assert num_steps(step) <= 9


def test_gradient_with_respect_to_the_velocity_is_that_of_the_dense_solve():
    b = np.random.default_rng(0).standard_normal((10, 9))
    v = np.random.default_rng(1).standard_normal((2, 10, 9))

    def total(solve: Any, v: Any) -> Any:
        return jnp.sum(solve(Flow(np.ones((10, 9)), v), b))

    def dense(A: Any, b: Any) -> Any:
        return jnp.linalg.solve(A.as_matrix(), b.reshape(-1))

    def ours(A: Any, b: Any) -> Any:
        solver = kx.solvers.BiCGStab(rtol=1e-10)
        return kx.solve(A, b, solver, preconditioner=Multigrid()).value

    got, expected = (jax.jit(jax.grad(partial(total, f)))(v) for f in (ours, dense))
    A = np.asarray(Flow(np.ones((10, 9)), v).as_matrix())
    slack = 2 * solution_tolerance(np.linalg.cond(A), 1e-10, "float64")
    assert relative_error(got, expected) <= slack


def test_pivoted_inverse_needs_no_diagonal():
    matrix = np.roll(np.diag(np.arange(1.0, 8.0)), 2, axis=0)
    matrix[0, 3] = 5.0
    got = _pivoted_inverse(jnp.asarray(matrix))
    slack = tolerance(float(np.linalg.cond(matrix)), "float64")
    assert relative_error(got, np.linalg.inv(matrix)) <= slack
