"""Solves of a fixed number of steps, each of them differentiated."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import relative_error, tolerance
from .cases import ROWS, operator, problem

ops: Any = kx.operators
solvers: Any = kx.solvers
MATRIX, B = problem("diffusion_2d")
WEIGHTS = np.cos(np.arange(48.0))
STEPS = 5
# Restarts within and without the steps; bounds that are known, since those that are
# measured count as constants.
MAKE: dict[str, Any] = {
    "cg": solvers.CG,
    "cg_single_reduction": partial(solvers.CG, single_reduction=True),
    "flexible_cg": solvers.FlexibleCG,
    "minres": solvers.MINRES,
    "bicgstab": solvers.BiCGStab,
    "chebyshev": partial(solvers.Chebyshev, smallest=1.0, largest=70.0),
    "gmres": solvers.GMRES,
    "fgmres_restarted": partial(solvers.FGMRES, restart=2),
}
each_solver = pytest.mark.parametrize("name", MAKE)
# Short recurrences have tests of their own: test_recurrence.py.
each_arnoldi = pytest.mark.parametrize("name", ["gmres", "fgmres_restarted"])
one_of_each = pytest.mark.parametrize("name", ["cg", "gmres"])


def unrolled(name: str, point: Any, **options: Any) -> Any:
    """The solution after the steps, as a function of all that it depends on."""
    A = operator("cg", (point["A"] + point["A"].T) / 2)
    M = ops.Diagonal(point["M"], tags=["positive_definite"])
    options = {"preconditioner": M, "x0": point["x0"], "unroll": STEPS} | options
    return kx.solve(A, point["b"], MAKE[name](), **options)


def point() -> dict[str, Any]:
    return {
        "A": MATRIX,
        "M": 1 / np.diagonal(MATRIX),
        "b": B,
        # Near enough to be taken, and far enough to matter.
        "x0": 0.3 * np.linalg.solve(MATRIX, B) + 0.01 * WEIGHTS,
    }


def numbers(found: Any) -> Any:
    """What depends on the solution, and its residual."""
    return jnp.stack([jnp.vdot(WEIGHTS, found.value), found.stats.residual])


@cache
def differentiated(name: str) -> Any:
    """Derivatives of the numbers by everything, and the solution, in one program."""

    def function(where: Any) -> Any:
        found = unrolled(name, where)
        return numbers(found), found

    return jax.jit(jax.jacrev(function, has_aux=True))


@each_solver
def test_value_is_that_of_a_solve_that_may_take_as_many_steps(name: str):
    _, found = differentiated(name)(point())
    stopped = MAKE[name](rtol=1e-14, max_steps=STEPS)
    A = operator("cg", MATRIX)
    M, x0 = ops.Diagonal(point()["M"]), point()["x0"]
    expected = kx.solve(A, B, stopped, preconditioner=M, x0=x0, throw=False)
    slack = tolerance(problem("diffusion_2d").cond, "float64")
    assert relative_error(found.value, expected.value) <= slack
    assert found.stats.num_steps == expected.stats.num_steps == STEPS


@pytest.mark.parametrize("argument", ["A", "M", "b", "x0"])
@each_solver
def test_gradients_are_those_of_finite_differences(name: str, argument: str):
    function, at = differentiated(name), point()
    size = at[argument]
    direction = size * np.cos(np.arange(size.size)).reshape(size.shape)
    # Of the size at which rounding over step and the error step² are alike.
    step = float(np.finfo("float64").eps ** (1 / 3))
    ahead, back = (
        np.asarray(
            numbers(function(at | {argument: size + sign * step * direction})[1])
        )
        for sign in (1, -1)
    )
    expected = (ahead - back) / (2 * step)
    axes = tuple(range(1, size.ndim + 1))
    gradient = np.asarray(function(at)[0][argument])
    found = np.sum(gradient * direction[None], axis=axes)
    assert np.all(np.abs(found - expected) <= 1000 * step**2 * (1 + abs(expected)))


@one_of_each
def test_tangents_are_the_gradients(name: str):
    at = point()
    gradients, _ = differentiated(name)(at)
    tangents = jax.tree.map(np.sin, at)

    def value(where: Any) -> Any:
        return numbers(unrolled(name, where))

    found = jax.jit(lambda at, along: jax.jvp(value, (at,), (along,))[1])(at, tangents)
    terms = jax.tree.map(
        lambda g, t: np.reshape(g, (2, -1)) @ t.reshape(-1), gradients, tangents
    )
    expected = np.stack(jax.tree.leaves(terms))
    # The terms are larger than their sum.
    slack = tolerance(problem("diffusion_2d").cond, "float64", 100)
    size = float(np.sum(np.abs(expected)))
    assert relative_error(found, np.sum(expected, axis=0)) <= slack * size


@each_arnoldi
def test_steps_after_exact_convergence_keep_the_gradient_of_the_solution(name: str):
    at = {"A": 2 * np.eye(48), "M": np.ones(48), "b": np.asarray(B), "x0": np.zeros(48)}
    gradient = differentiated(name)(at)[0]["b"][0]
    assert relative_error(gradient, WEIGHTS / 2) <= tolerance(1, "float64", 100)


@each_arnoldi
def test_gradient_of_the_zero_right_hand_side_is_finite(name: str):
    at = point() | {"b": np.zeros(48), "x0": np.zeros(48)}
    gradient = differentiated(name)(at)[0]["b"][0]
    assert np.all(np.isfinite(gradient))


@one_of_each
def test_nothing_raises_where_the_steps_are_too_few(name: str):
    _, found = differentiated(name)(point())
    assert found.status == kx.Status.max_steps_reached


def test_nothing_raises_where_the_system_is_not_definite():
    found = kx.solve(ops.Dense(-MATRIX), B, kx.solvers.CG(), unroll=STEPS)
    assert found.status == kx.Status.indefinite_operator
    assert np.all(np.isfinite(found.value))


def test_nothing_raises_where_the_input_is_not_finite():
    found = unrolled("cg", point() | {"b": np.nan * B})
    assert found.status == kx.Status.nonfinite_input


def test_status_tells_when_the_steps_were_enough():
    found = unrolled("cg", point(), unroll=40)
    assert found.status == kx.Status.converged


def test_gradient_descent_on_the_residual_improves_a_preconditioner():
    @jax.jit
    @jax.value_and_grad
    def loss(logarithm: Any) -> Any:
        where = point() | {"M": jnp.exp(logarithm), "x0": np.zeros(48)}
        return jnp.log(unrolled("cg", where).stats.residual)

    start = -np.log(np.diagonal(MATRIX))
    before, slope = loss(start)
    after, _ = loss(start - 0.1 * slope / jnp.linalg.norm(slope))
    assert after < before


def test_vmap_unrolls_every_system_of_a_batch():
    bs = np.stack([B, 2 * B, B[::-1]])
    solve = partial(kx.solve, operator("cg", MATRIX), solver=kx.solvers.CG())
    found = jax.vmap(lambda b: solve(b, unroll=STEPS))(bs)
    assert found.stats.num_steps.tolist() == [STEPS] * 3
    last = solve(B[::-1], unroll=STEPS).value
    slack = tolerance(problem("diffusion_2d").cond, "float64")
    assert relative_error(found.value[2], last) <= slack


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_dtype_of_the_gradient_is_that_of_the_right_hand_side(dtype: str):
    name = {"complex128": "complex_hermitian"}.get(dtype, "diffusion_2d")
    matrix, b = problem(name, dtype)
    solve = partial(kx.solve, operator("cg", matrix), solver=kx.solvers.CG(1e-4))
    gradient = jax.grad(lambda b: jnp.sum(jnp.abs(solve(b=b, unroll=STEPS).value)))(
        jnp.asarray(b)
    )
    assert gradient.dtype == dtype
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("steps", [0, -1, 2.5, "3"])
def test_number_of_steps_that_is_none_is_refused(steps: Any, as_users_run_it: None):
    with pytest.raises(ValueError, match="unroll must be a positive number of steps"):
        kx.solve(operator("cg", MATRIX), B, kx.solvers.CG(), unroll=steps)


def test_traced_number_of_steps_is_refused(as_users_run_it: None):
    solve = partial(kx.solve, operator("cg", MATRIX), B, kx.solvers.CG())
    with pytest.raises(ValueError, match="number of steps, known while tracing"):
        jax.jit(lambda steps: solve(unroll=steps))(3)


@pytest.mark.parametrize("row", ["gcrodr", "refinement"])
def test_solver_that_cannot_be_unrolled_says_so(row: str):
    solver = ROWS[row].solver()
    sentence = f"{type(solver).__name__} cannot be unrolled; use a method of short"
    with pytest.raises(ValueError, match=sentence):
        kx.solve(operator(row, MATRIX), B, solver, unroll=STEPS)
