"""Refinement: 32 bits inside, a residual that takes 64, and honest failures."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...gallery import from_spectrum
from ...helpers import relative_error, solution_tolerance, tolerance
from .. import programs
from ..cases import ROWS, operator, problem

ops: Any = kx.operators
Status = kx.Status
CG, Refinement = kx.solvers.CG, kx.solvers.Refinement
LARGE = ops.Laplacian((128, 128), spacing=1 / 129)
SMALL = ops.Laplacian((16, 12))
FIELD = jnp.cos(jnp.arange(192.0)).reshape(16, 12)
INNER: dict[str, Any] = {
    "cg": CG(1e-4),
    "gmres": kx.solvers.GMRES(1e-4),
    "gcrodr": kx.solvers.GCRODR(1e-4, restart=12, num_recycled=4),
    "cholesky": kx.solvers.Cholesky(1e-4),
    "lu": kx.solvers.LU(1e-4),
    "fast_diagonalization": kx.solvers.FastDiagonalization(1e-4),
}


def solve(A: Any, b: Any, inner: Any, rtol: float = 1e-10, **options: Any) -> Any:
    """Refine what a solver finds, without raising."""
    return kx.solve(A, b, Refinement(inner, rtol), throw=False, **options)


@jax.jit
def multiply(A: Any, x: Any) -> Any:
    return A.mv(x)


def residual(A: Any, x: Any, b: Any) -> float:
    return relative_error(multiply(A, x), b)


def test_true_residual_reaches_1e_10_from_an_inner_1e_4_on_poisson():
    b = jnp.ones((128, 128))
    found = solve(LARGE, b, CG(rtol=1e-4))
    assert found.status == Status.converged
    assert residual(LARGE, found.value, b) <= 1e-10
    # Each refinement leaves 1e-4 of the residual.
    assert found.stats.num_steps == 3


def test_multigrid_inside_saves_most_of_the_products():
    b = jnp.ones((128, 128))
    plain = solve(LARGE, b, CG(rtol=1e-4))
    found = solve(LARGE, b, CG(rtol=1e-4), preconditioner=kx.solvers.Multigrid())
    assert residual(LARGE, found.value, b) <= 1e-10
    assert found.stats.num_matvecs < int(plain.stats.num_matvecs) // 10


@pytest.mark.parametrize("inner", INNER)
def test_any_solver_serves_inside(inner: str):
    found = solve(SMALL, FIELD, INNER[inner], 1e-12)
    assert found.status == Status.converged
    assert residual(SMALL, found.value, FIELD) <= 1e-12


def innermost_loops(function: Any, *arguments: Any) -> list[Any]:
    """The bodies of the loops without a loop inside, as lists of equations."""
    loops = [
        list(programs.walk(found.params["body_jaxpr"].jaxpr))
        for found in programs.equations(function, *arguments)
        if found.primitive.name == "while"
    ]
    return [body for body in loops if "while" not in programs.names(body)]


def dtypes_of(body: list[Any]) -> set[str]:
    """The inexact dtypes that a loop computes with."""
    values = [out.aval for found in body for out in found.outvars]
    return {v.dtype.name for v in values if jnp.issubdtype(v.dtype, jnp.inexact)}


@pytest.mark.parametrize("preconditioner", [None, kx.solvers.Jacobi()], ids=str)
def test_inner_steps_hold_nothing_but_single_precision(preconditioner: Any):
    def refine(b: Any) -> Any:
        return solve(SMALL, b, CG(rtol=1e-4), preconditioner=preconditioner).value

    # The first is the inner solve; one that measures rounding in 64 bits comes last.
    inner, *_ = innermost_loops(refine, FIELD)
    assert dtypes_of(inner) == {"float32"}


def test_inner_steps_of_complex_fields_hold_nothing_but_single_precision():
    A = operator("cg", problem("complex_hermitian", "complex128").matrix)
    b = jnp.ones(48, complex)
    inner, *_ = innermost_loops(lambda b: solve(A, b, CG(rtol=1e-4)).value, b)
    assert dtypes_of(inner) == {"float32", "complex64"}


@pytest.mark.parametrize("inner", ["cg", "lu"])
def test_complex_system_reaches_double_precision(inner: str):
    expected = problem("complex_hermitian", "complex128")
    A = operator("cg", expected.matrix)
    found = solve(A, jnp.asarray(expected.b), INNER[inner], 1e-12)
    error = relative_error(found.value, expected.solution)
    assert found.value.dtype == jnp.complex128
    assert error <= solution_tolerance(expected.cond, 1e-12, "complex128")


def test_single_precision_is_refined_in_single_precision():
    A = ops.Laplacian((16, 12), dtype=jnp.float32)
    found = solve(A, FIELD.astype(jnp.float32), CG(rtol=1e-2), 1e-5)
    assert found.value.dtype == jnp.float32
    assert found.status == Status.converged
    assert 1 < found.stats.num_steps <= 4


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_right_hand_side_beyond_single_precision_is_solved(scale: float):
    found, reference = (
        solve(SMALL, scale * FIELD, CG(1e-4)),
        solve(SMALL, FIELD, CG(1e-4)),
    )
    assert found.status == Status.converged
    assert found.stats.num_steps == reference.stats.num_steps
    assert relative_error(found.value / scale, reference.value) <= 1e-10


@pytest.mark.parametrize("inner", ["cg", "cholesky"])
def test_singular_system_has_the_solution_of_mean_zero(inner: str):
    A = ops.Laplacian((16, 12), boundary="neumann", nullspace="constant")
    b = FIELD - jnp.mean(FIELD)
    found = solve(A, b, INNER[inner], 1e-12)
    assert found.status == Status.converged
    assert residual(A, found.value, b) <= 1e-12
    size = float(jnp.linalg.norm(found.value))
    assert abs(float(jnp.mean(found.value))) <= tolerance(1, "float64") * size


FAILURES = {
    "too_few_inner_steps": (SMALL, CG(1e-4, max_steps=3), Status.max_steps_reached),
    "not_definite": (-1.0 * SMALL, CG(1e-4), Status.indefinite_operator),
    "singular": (ops.Diagonal(np.eye(16, 12)), INNER["lu"], Status.breakdown),
    "singular_cholesky": (
        ops.Diagonal(np.eye(16, 12)),
        INNER["cholesky"],
        Status.indefinite_operator,
    ),
    "beyond_single_precision": (
        # κ = 1e12: the factors in 32 bits are those of another matrix.
        ops.Dense(from_spectrum(np.geomspace(1e-12, 1, 192))),
        INNER["lu"],
        Status.stagnated,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_inside_is_reported_by_its_status(name: str):
    A, inner, status = FAILURES[name]
    b = jnp.reshape(FIELD, A.in_structure.shape)
    found = solve(A, b, inner)
    assert found.status == status
    assert np.all(np.isfinite(found.value))
    assert found.stats.relative_residual <= 1


def test_too_few_refinements_are_reported():
    solver = Refinement(CG(1e-4), 1e-12, max_steps=2)
    found = kx.solve(SMALL, FIELD, solver, throw=False)
    assert found.status == Status.max_steps_reached
    assert found.stats.num_steps == 2
    assert found.stats.relative_residual <= 1e-7


def test_loose_inner_tolerance_takes_more_refinements():
    loose, tight = solve(SMALL, FIELD, CG(0.1)), solve(SMALL, FIELD, CG(1e-5))
    assert (loose.status, tight.status) == (Status.converged, Status.converged)
    assert tight.stats.num_steps < loose.stats.num_steps


def from_function(matrix: Any) -> Any:
    """An operator whose transpose is left to JAX."""
    return ops.Function(
        jax.tree_util.Partial(jnp.matmul, matrix),
        jax.ShapeDtypeStruct((48,), jnp.float64),
    )


def test_gradient_through_an_operator_that_jax_transposes_is_the_dense_one():
    matrix, b = problem("convection_diffusion")
    weights = jnp.cos(jnp.arange(48.0))

    def value(matrix: Any, b: Any) -> Any:
        A = from_function(matrix) + 0.5 * ops.Dense(matrix)
        return jnp.vdot(weights, solve(A, b, INNER["gmres"], 1e-12).value)

    found = jax.grad(value, argnums=(0, 1))(jnp.asarray(matrix), jnp.asarray(b))
    adjoint = np.linalg.solve(1.5 * matrix.T, weights)
    x = np.linalg.solve(1.5 * matrix, b)
    slack = solution_tolerance(np.linalg.cond(matrix), 3e-12, "float64")
    assert relative_error(found[1], adjoint) <= slack
    assert relative_error(found[0], -1.5 * np.outer(adjoint, x)) <= slack


def test_preconditioner_that_jax_transposes_may_be_used():
    matrix, b = problem("convection_diffusion")
    M = from_function(np.linalg.inv(matrix))
    found = solve(ops.Dense(matrix), jnp.asarray(b), INNER["gmres"], preconditioner=M)
    assert found.status == Status.converged


def test_failed_system_of_a_batch_fails_alone():
    matrix, b = problem("diffusion_2d")
    bs = jnp.stack([b, jnp.nan * b, 1e-30 * b])
    A, solver = operator("cg", matrix), ROWS["refinement"].solver()
    found = jax.vmap(lambda b: kx.solve(A, b, solver, throw=False))(bs)
    expected = [Status.converged, Status.nonfinite_input, Status.converged]
    assert found.status.tolist() == expected


def test_something_else_than_a_solver_is_refused(as_users_run_it: None):
    with pytest.raises(
        TypeError, match=r"Refinement wraps a solver, such as .*got <class"
    ):
        Refinement(CG)  # pyright: ignore[reportArgumentType]  # what is tested
