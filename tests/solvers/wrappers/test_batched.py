"""A queue of systems and a few lanes: the answers of plain vmap, for less work."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, solution_tolerance, tolerance
from ..cases import HARD, ROWS, RTOL, operator, problem

ops: Any = kx.operators
Status = kx.Status
Batched = kx.solvers.Batched
PRECONDITIONERS: dict[str, Any] = {"none": None, "jacobi": kx.solvers.Jacobi()}
# Six systems, and lanes for one, some, all and more of them.
QUEUES = [("cg", "none", num_lanes) for num_lanes in (1, 2, 6, 9)]
QUEUES += [("cg", "jacobi", 2), ("gmres", "none", 2), ("gcrodr", "jacobi", 2)]
each_queue = pytest.mark.parametrize(("row", "preconditioner", "num_lanes"), QUEUES)
STATUSES = [
    Status.converged,
    Status.max_steps_reached,
    Status.converged,
    Status.nonfinite_input,
    Status.converged,
    Status.converged,
]


def systems() -> tuple[Any, Any]:
    """Good ones, a failing one, one of b = 0, one of NaN."""
    (good, b), (hard, c) = problem("diffusion_2d"), problem(HARD)
    matrices = [good, hard, good, good, good + 5 * np.eye(48), 2 * good]
    return np.stack(matrices), np.stack([b, c, 0 * b, np.nan * b, b[::-1], -b])


@cache
def solved(row: str, preconditioner: str, num_lanes: int | None) -> Any:
    """All systems, by plain vmap or by so many lanes."""
    solver = ROWS[row].solver()
    if num_lanes is not None:
        solver = Batched(solver, num_lanes, chunk=5)

    def one(matrix: Any, b: Any) -> Any:
        M = PRECONDITIONERS[preconditioner]
        return kx.solve(operator(row, matrix), b, solver, preconditioner=M, throw=False)

    return jax.jit(jax.vmap(one))(*systems())


@each_queue
def test_values_are_those_of_plain_vmap(row: str, preconditioner: str, num_lanes: int):
    found = solved(row, preconditioner, num_lanes).value
    expected = solved(row, preconditioner, None).value
    # The failing system is as far as its steps go, which rounding decides.
    is_good = np.array(STATUSES) == Status.converged
    assert relative_error(found[is_good], expected[is_good]) <= RTOL["float64"]
    assert np.all(np.isfinite(found))


@each_queue
def test_every_system_has_its_own_status(row: str, preconditioner: str, num_lanes: int):
    assert solved(row, preconditioner, num_lanes).status.tolist() == STATUSES


@each_queue
def test_counts_are_those_of_plain_vmap(row: str, preconditioner: str, num_lanes: int):
    found = solved(row, preconditioner, num_lanes).stats
    expected = solved(row, preconditioner, None).stats
    for count in ("num_steps", "num_matvecs", "num_preconditioner_calls"):
        assert getattr(found, count).tolist() == getattr(expected, count).tolist()


def test_carries_of_all_systems_come_out():
    found = solved("gcrodr", "jacobi", 2).carry
    expected = solved("gcrodr", "jacobi", None).carry
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, expected)
    assert np.any(np.asarray(found.C)[5] != 0)


def work_of(solver: Any, diagonals: Any) -> tuple[int, Any]:
    """How many products were made, idle lanes included, and the solutions."""
    lanes: list[int] = []

    def multiply_on_host(diagonal: np.ndarray, x: np.ndarray) -> np.ndarray:
        lanes.append(x.size // 48)
        return np.asarray(diagonal) * np.asarray(x)

    def multiply(diagonal: Any, x: Any) -> Any:
        return jax.pure_callback(
            multiply_on_host, x, diagonal, x, vmap_method="broadcast_all"
        )

    def one(diagonal: Any) -> Any:
        A = ops.Function(
            jax.tree_util.Partial(multiply, diagonal),
            jax.ShapeDtypeStruct((48,), jnp.float64),
            tags=["positive_definite"],
        )
        return kx.solve(A, jnp.ones(48), solver, throw=False)

    found = jax.block_until_ready(jax.jit(jax.vmap(one))(diagonals))
    return sum(lanes), found


def spectra() -> Any:
    """One system of many steps among fifteen of three."""
    easy, slow = np.tile([1.0, 2.0, 3.0], 16), np.geomspace(1, 1e5, 48)
    return np.stack([slow, *[easy] * 15])


def test_one_slow_system_does_not_make_all_lanes_work():
    solver = kx.solvers.CG(rtol=1e-10)
    plain, expected = work_of(solver, spectra())
    queued, found = work_of(Batched(solver, num_lanes=2, chunk=4), spectra())
    steps = expected.stats.num_steps
    assert jnp.array_equal(found.stats.num_steps, steps)
    # Plain vmap steps all sixteen until the last is through. With lanes, two step as
    # long as the slow one lasts, and one chunk for each of the others.
    slowest = int(jnp.max(steps))
    assert plain >= 16 * slowest
    assert queued <= 2 * (slowest + 15 * 4) * (1 + 1 / 4) + 16 * 3
    assert queued < plain / 4


def test_outside_of_vmap_it_is_the_solver():
    matrix, b = problem("diffusion_2d")
    solver = ROWS["cg"].solver()
    found, expected = (
        kx.solve(operator("cg", matrix), jnp.asarray(b), s)
        for s in (Batched(solver), solver)
    )
    assert jnp.array_equal(found.value, expected.value)
    assert found.stats.num_matvecs == expected.stats.num_matvecs


SOLVER = Batched(ROWS["cg"].solver(), num_lanes=2)


def right_hand_sides(count: int = 5) -> Any:
    rng = np.random.default_rng(8)
    return jax.device_put(rng.standard_normal((count, 48)))


@pytest.mark.parametrize("count", [1, 5])
def test_shared_operator_solves_many_right_hand_sides(count: int):
    matrix, bs = problem("diffusion_2d").matrix, right_hand_sides(count)
    solve = jax.vmap(lambda A, b: kx.solve(A, b, SOLVER).value, in_axes=(None, 0))
    expected = np.linalg.solve(matrix, bs.T).T
    cond = problem("diffusion_2d").cond
    error = relative_error(solve(operator("cg", matrix), bs), expected)
    assert error <= solution_tolerance(cond, RTOL["float64"], "float64")


def test_shared_right_hand_side_solves_many_operators():
    matrix, b = problem("diffusion_2d")
    factors = jnp.arange(1.0, 6.0)
    found = jax.vmap(
        lambda c: kx.solve(operator("cg", c * matrix), jnp.asarray(b), SOLVER).value
    )(factors)
    expected = np.linalg.solve(matrix, b) / np.arange(1.0, 6.0)[:, None]
    slack = solution_tolerance(problem("diffusion_2d").cond, 1e-10, "float64")
    assert relative_error(found, expected) <= slack


def test_batch_of_batches_solves_every_system():
    matrix, bs = problem("diffusion_2d").matrix, right_hand_sides(6).reshape(2, 3, 48)
    solve = partial(kx.solve, operator("cg", matrix), solver=SOLVER)
    found = jax.vmap(jax.vmap(lambda b: solve(b).value))(bs)
    expected = np.linalg.solve(matrix, bs.reshape(6, 48).T).T.reshape(2, 3, 48)
    slack = solution_tolerance(problem("diffusion_2d").cond, 1e-10, "float64")
    assert relative_error(found, expected) <= slack


def test_fields_may_be_pytrees():
    structure = {
        "u": jax.ShapeDtypeStruct((2, 2), jnp.float64),
        "v": jax.ShapeDtypeStruct((3,), jnp.float64),
    }
    A = ops.Diagonal(
        jax.tree.map(lambda s: jnp.full(s.shape, 4.0), structure),
        tags=["positive_definite"],
    )
    bs = {"u": jnp.arange(12.0).reshape(3, 2, 2), "v": jnp.ones((3, 3))}
    found = jax.vmap(lambda b: kx.solve(A, b, SOLVER).value)(bs)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, bs)
    assert relative_error(found["u"], bs["u"] / 4) <= tolerance(1, "float64")


@pytest.mark.parametrize("order", ["gradient_of_batch", "batch_of_gradients"])
def test_gradient_through_a_batch_is_that_of_the_dense_solves(order: str):
    matrix, bs = problem("diffusion_2d").matrix, right_hand_sides(3)
    weights = jnp.cos(jnp.arange(48.0))

    def value(c: Any, b: Any) -> Any:
        found = kx.solve(operator("cg", c * matrix), b, SOLVER, throw=False)
        return jnp.vdot(weights, found.value)

    gradient = {
        "gradient_of_batch": jax.grad(
            lambda c, b: jnp.sum(jax.vmap(value)(c, b)), argnums=(0, 1)
        ),
        "batch_of_gradients": jax.vmap(jax.grad(value, argnums=(0, 1))),
    }[order]
    factors = np.array([1.0, 2.0, 3.0])
    by_factor, by_b = gradient(jnp.asarray(factors), bs)
    adjoint = np.linalg.solve(matrix, weights) / factors[:, None]
    slack = 3 * solution_tolerance(problem("diffusion_2d").cond, 1e-10, "float64")
    assert relative_error(by_b, adjoint) <= slack
    expected = -np.sum(adjoint * bs, axis=1) / factors
    assert relative_error(by_factor, expected) <= slack


def test_unrolled_batch_takes_the_steps_of_the_solver():
    matrix, bs = problem("diffusion_2d").matrix, right_hand_sides(3)
    found, expected = (
        jax.vmap(lambda b, s=s: kx.solve(operator("cg", matrix), b, s, unroll=4))(bs)
        for s in (SOLVER, SOLVER.solver)
    )
    assert found.stats.num_steps.tolist() == [4, 4, 4]
    assert jnp.array_equal(found.value, expected.value)


@pytest.mark.parametrize("name", ["num_lanes", "chunk"])
def test_counts_below_one_are_refused(name: str):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Batched(kx.solvers.CG(), **{name: 0})  # pyright: ignore[reportArgumentType]  # one of them is a flag


def test_something_else_than_a_solver_is_refused(as_users_run_it: None):
    with pytest.raises(TypeError, match=r"Batched wraps a solver, .*got <class"):
        Batched(kx.solvers.CG)  # pyright: ignore[reportArgumentType]  # what is tested
