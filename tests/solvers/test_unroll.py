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
MATRIX, B = map(jnp.asarray, problem("diffusion_2d"))
WEIGHTS = jnp.cos(jnp.arange(48.0))
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
        "M": 1 / jnp.diagonal(MATRIX),
        "b": B,
        # Near enough to be taken, and far enough to matter.
        "x0": 0.3 * jnp.linalg.solve(MATRIX, B) + 0.01 * WEIGHTS,
    }


def functional(name: str, where: Any) -> Any:
    """A number that depends on the solution, and its residual."""
    found = unrolled(name, where)
    return jnp.stack([jnp.vdot(WEIGHTS, found.value), found.stats.residual])


@cache
def compiled(name: str) -> Any:
    """The functional, and its derivative with respect to everything."""
    function = partial(functional, name)
    return jax.jit(function), jax.jit(jax.jacrev(function))(point())


@each_solver
def test_value_is_that_of_a_solve_that_may_take_as_many_steps(name: str):
    found = unrolled(name, point())
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
    (function, gradients), at = compiled(name), point()
    size = at[argument]
    direction = size * jnp.cos(jnp.arange(float(size.size))).reshape(size.shape)
    # Of the size at which rounding over step and the error step² are alike.
    step = float(np.finfo("float64").eps ** (1 / 3))
    ahead, back = (
        function(at | {argument: size + sign * step * direction}) for sign in (1, -1)
    )
    expected = (ahead - back) / (2 * step)
    axes = tuple(range(1, size.ndim + 1))
    found = jnp.sum(gradients[argument] * direction[None], axis=axes)
    assert np.all(np.abs(found - expected) <= 1000 * step**2 * (1 + abs(expected)))


@one_of_each
def test_tangents_are_the_gradients(name: str):
    (function, gradients), at = compiled(name), point()
    tangents = jax.tree.map(jnp.sin, at)
    _, found = jax.jvp(function, (at,), (tangents,))
    terms = jax.tree.map(
        lambda g, t: g.reshape(2, -1) @ t.reshape(-1), gradients, tangents
    )
    expected = jnp.stack(jax.tree.leaves(terms))
    # The terms are larger than their sum.
    slack = tolerance(problem("diffusion_2d").cond, "float64", 100)
    size = float(jnp.sum(jnp.abs(expected)))
    assert relative_error(found, jnp.sum(expected, axis=0)) <= slack * size


@each_arnoldi
def test_steps_after_exact_convergence_keep_the_gradient_of_the_solution(name: str):
    A = operator("cg", 2 * np.eye(48))
    gradient = jax.grad(
        lambda b: jnp.vdot(WEIGHTS, kx.solve(A, b, MAKE[name](), unroll=4).value)
    )(B)
    assert relative_error(gradient, WEIGHTS / 2) <= tolerance(1, "float64", 100)


@each_arnoldi
def test_gradient_of_the_zero_right_hand_side_is_finite(name: str):
    gradient = jax.grad(
        lambda b: jnp.sum(unrolled(name, point() | {"b": b, "x0": 0 * b}).value)
    )(jnp.zeros(48))
    assert np.all(np.isfinite(gradient))


@one_of_each
def test_nothing_raises_where_the_steps_are_too_few(name: str):
    found = jax.jit(partial(unrolled, name))(point())
    assert found.status == kx.Status.max_steps_reached


def test_nothing_raises_where_the_system_is_not_definite():
    found = kx.solve(ops.Dense(-MATRIX), B, kx.solvers.CG(), unroll=STEPS)
    assert found.status == kx.Status.indefinite_operator
    assert np.all(np.isfinite(found.value))


def test_nothing_raises_where_the_input_is_not_finite():
    found = unrolled("cg", point() | {"b": jnp.nan * B})
    assert found.status == kx.Status.nonfinite_input


def test_status_tells_when_the_steps_were_enough():
    found = unrolled("cg", point(), unroll=40)
    assert found.status == kx.Status.converged


def test_gradient_descent_on_the_residual_improves_a_preconditioner():
    @jax.jit
    @jax.value_and_grad
    def loss(logarithm: Any) -> Any:
        where = point() | {"M": jnp.exp(logarithm), "x0": jnp.zeros(48)}
        return jnp.log(unrolled("cg", where).stats.residual)

    start = -jnp.log(jnp.diagonal(MATRIX))
    before, slope = loss(start)
    after, _ = loss(start - 0.1 * slope / jnp.linalg.norm(slope))
    assert after < before


def test_vmap_unrolls_every_system_of_a_batch():
    bs = jnp.stack([B, 2 * B, B[::-1]])
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
