"""Cholesky and LU: exact to rounding, refined, factored once, and never NaN."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...gallery import from_spectrum
from ...helpers import draw, relative_error, tolerance
from .. import programs
from ..cases import ROWS, operator, problem

ops: Any = kx.operators
Status = kx.Status
SOLVERS: dict[str, Any] = {"cholesky": kx.solvers.Cholesky, "lu": kx.solvers.LU}
SMALLEST_RTOL = {"float32": 1.2e-6, "float64": 2.3e-15, "complex128": 2.3e-15}
PRIMITIVES = {"cholesky": "cholesky", "lu": "lu"}
each_row = pytest.mark.parametrize("row", SOLVERS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
SINGULAR = {
    "zero": np.zeros((3, 3)),
    "zero_row": np.diag([1.0, 0.0, 2.0]),
    "rank_one": np.ones((3, 3)),
    # Its factors are not exactly singular in rounded arithmetic.
    "rank_two": np.arange(9.0).reshape(3, 3),
}


def solve(row: str, A: Any, b: Any, rtol: float = 1e-10, **options: Any) -> Any:
    return kx.solve(A, jnp.asarray(b), SOLVERS[row](rtol), throw=False, **options)


@each_dtype
@each_row
def test_solution_is_exact_to_rounding(row: str, dtype: str):
    name = {"complex128": ROWS[row].complex_problem}.get(dtype, "diffusion_2d")
    matrix, b = problem(name, dtype)
    found = solve(row, operator(row, matrix), b, SMALLEST_RTOL[dtype])
    assert found.status == Status.converged
    error = relative_error(found.value, np.linalg.solve(matrix, b))
    assert error <= tolerance(float(np.linalg.cond(matrix)), dtype)


@each_row
def test_well_conditioned_system_takes_one_step_and_one_product(row: str):
    matrix, b = problem("diffusion_2d")
    stats = solve(row, operator(row, matrix), b).stats
    # The residual of the step is the certificate; the matrix is known.
    assert (int(stats.num_steps), int(stats.num_matvecs)) == (1, 1)
    assert stats.num_preconditioner_calls == 1


@pytest.mark.parametrize("spectrum", [[-1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [-1.0] * 3])
def test_cholesky_tells_an_operator_that_is_not_definite(spectrum: Any):
    found = solve("cholesky", ops.Dense(np.diag(spectrum)), np.ones(3))
    assert found.status == Status.indefinite_operator
    assert not np.any(found.value)
    assert found.stats.relative_residual == 1


@pytest.mark.parametrize("name", SINGULAR)
def test_lu_tells_a_singular_operator(name: str):
    found = solve("lu", ops.Dense(SINGULAR[name]), [1.0, 2.0, -1.0])
    assert found.status == Status.breakdown
    assert np.all(np.isfinite(found.value))


@pytest.mark.parametrize("name", SINGULAR)
@each_row
def test_gradient_through_a_failed_solve_is_nan(row: str, name: str):
    A = ops.Dense(SINGULAR[name])
    gradient = jax.grad(lambda b: jnp.sum(solve(row, A, b).value))(jnp.ones(3))
    assert np.all(np.isnan(gradient))


@each_row
def test_inverse_of_a_singular_operator_solves_compatible_systems(row: str):
    A = ops.Laplacian((8, 6), boundary="neumann", nullspace="constant")
    b = np.cos(np.arange(48.0)).reshape(8, 6)
    found = solve(row, A, b - b.mean(), 1e-12)
    pseudo_inverse = np.linalg.pinv(np.asarray(A.as_matrix()), hermitian=True)
    expected = (pseudo_inverse @ (b - b.mean()).reshape(-1)).reshape(8, 6)
    cond = np.linalg.norm(pseudo_inverse, 2) * 8  # ‖-Δ‖ < 8
    assert found.status == Status.converged
    assert abs(float(jnp.mean(found.value))) <= tolerance(1, "float64")
    assert relative_error(found.value, expected) <= tolerance(float(cond), "float64")


@each_row
def test_factors_of_a_nearby_operator_are_refined_to_the_tolerance(row: str):
    matrix, b = problem("diffusion_2d")
    stale = SOLVERS[row]()(operator(row, 1.1 * matrix))
    found = solve(row, operator(row, matrix), b, 1e-9, preconditioner=stale)
    # Every step leaves 1 - 1/1.1 of the residual; log(1e-9) / log(1/11) is 8.6.
    assert found.status == Status.converged
    assert found.stats.num_steps == 9


@each_row
def test_factors_of_a_far_operator_stagnate(row: str):
    matrix, b = problem("diffusion_2d")
    far = SOLVERS[row]()(operator(row, 0.1 * matrix))
    found = solve(row, operator(row, matrix), b, preconditioner=far)
    assert found.status == Status.stagnated
    assert found.stats.relative_residual <= 1


@each_row
def test_refinement_repairs_an_inverse_in_single_precision(row: str):
    matrix, b = problem("diffusion_2d")
    single = np.linalg.inv(matrix).astype(np.float32).astype(np.float64)
    M = operator(row, (single + single.T) / 2)
    found = solve(row, operator(row, matrix), b, 1e-13, preconditioner=M)
    assert found.status == Status.converged
    assert 1 < found.stats.num_steps <= 3


@each_row
def test_operator_is_factored_once_for_a_solve_and_its_gradient(row: str):
    matrix, b = problem("diffusion_2d")

    def value(matrix: Any, b: Any) -> Any:
        return jnp.sum(solve(row, operator(row, matrix), b).value)

    gradient = jax.value_and_grad(value, argnums=(0, 1))
    found = programs.equations(gradient, jnp.asarray(matrix), jnp.asarray(b))
    assert programs.names(found).count(PRIMITIVES[row]) == 1


@each_row
def test_given_factors_are_not_made_again(row: str):
    matrix, b = problem("diffusion_2d")
    A = operator(row, matrix)
    M = SOLVERS[row]()(A)
    found = programs.equations(lambda b: solve(row, A, b, preconditioner=M).value, b)
    assert PRIMITIVES[row] not in programs.names(found)


@each_row
def test_vmap_solves_every_system_of_a_batch(row: str):
    matrices = np.stack([from_spectrum(np.linspace(1, k, 9)) for k in (2, 5, 10)])
    bs = np.random.default_rng(4).standard_normal((3, 9))
    found = jax.vmap(lambda m, b: solve(row, operator(row, m), b, 1e-13).value)(
        jnp.asarray(matrices), jnp.asarray(bs)
    )
    expected = np.linalg.solve(matrices, bs[..., None])[..., 0]
    assert relative_error(found, expected) <= tolerance(10, "float64")


@each_row
def test_failed_system_of_a_batch_fails_alone(row: str):
    matrices = jnp.stack([jnp.eye(3), jnp.ones((3, 3)), 2 * jnp.eye(3)])
    found = jax.vmap(lambda m: solve(row, operator(row, m), [1.0, 2.0, 3.0]))(matrices)
    failure = SOLVERS[row].failure
    assert found.status.tolist() == [Status.converged, failure, Status.converged]
    assert np.all(np.isfinite(found.value))


@each_dtype
@each_row
def test_factory_makes_the_inverse_as_an_operator(row: str, dtype: str):
    matrix = from_spectrum(np.linspace(1, 20, 12), np.dtype(dtype).type).astype(dtype)
    M = SOLVERS[row]()(operator(row, matrix))
    inverse = np.linalg.inv(matrix)
    slack = tolerance(20, dtype)
    assert relative_error(M.as_matrix(), inverse) <= slack
    assert relative_error(M.T.as_matrix(), inverse.T) <= slack
    assert relative_error(M.H.as_matrix(), inverse.conj().T) <= slack


@each_row
def test_factory_serves_fields_that_are_trees(row: str):
    structure = {
        "u": jax.ShapeDtypeStruct((2, 2), jnp.float64),
        "v": jax.ShapeDtypeStruct((3,), jnp.float64),
    }
    A = 4.0 * ops.Identity(structure)
    x = {"u": jnp.arange(4.0).reshape(2, 2), "v": jnp.ones(3)}
    found = SOLVERS[row]()(A) @ x
    assert jax.tree.map(jnp.shape, found) == {"u": (2, 2), "v": (3,)}
    assert jnp.array_equal(found["u"], x["u"] / 4)


@each_row
def test_factors_of_a_neighbour_precondition_gmres(row: str):
    matrix, b = problem("diffusion_2d")
    M = SOLVERS[row]()(operator(row, matrix + np.diag(0.1 * np.cos(np.arange(48)))))
    solver = kx.solvers.GMRES(rtol=1e-10)
    found = kx.solve(operator(row, matrix), jnp.asarray(b), solver, preconditioner=M)
    assert found.stats.num_steps < 10


def schur_complement(blocks: Any) -> Any:
    """S = D - C A⁻¹ B, by the algebra of operators; A⁻¹ is a solve."""
    A, B, C, D = (ops.Dense(block) for block in blocks)
    return D - C @ ops.Inverse(A, kx.solvers.LU(1e-13)) @ B


def saddle_blocks() -> list[Any]:
    rng = np.random.default_rng(6)
    shapes = [(6, 6), (6, 4), (4, 6), (4, 4)]
    A, B, C, D = (jnp.asarray(draw(rng, shape, "float64")) for shape in shapes)
    return [A + 5 * jnp.eye(6), B / 4, C / 4, D + 5 * jnp.eye(4)]


def eliminated(blocks: Any) -> Any:
    """The entries of y that solve S y = 1, by GMRES around solves by LU."""
    solver = kx.solvers.GMRES(rtol=1e-12, restart=4)
    return kx.solve(schur_complement(blocks), jnp.ones(4), solver, throw=False)


def eliminated_densely(blocks: Any) -> Any:
    A, B, C, D = blocks
    return jnp.linalg.solve(D - C @ jnp.linalg.solve(A, B), jnp.ones(4))


def test_schur_complement_with_a_solve_inside_is_solved():
    blocks = saddle_blocks()
    found, expected = (jax.jit(f)(blocks) for f in (eliminated, eliminated_densely))
    assert found.status == Status.converged
    slack = tolerance(10, "float64", 100)
    assert relative_error(found.value, expected) <= slack


def test_gradient_through_nested_solves_is_that_of_the_dense_algebra():
    weights = np.cos(np.arange(4.0))
    found, expected = (
        jax.jit(jax.grad(lambda blocks, f=function: jnp.vdot(weights, f(blocks))))(
            saddle_blocks()
        )
        for function in (lambda x: eliminated(x).value, eliminated_densely)
    )
    errors = list(map(relative_error, found, expected))
    assert max(errors) <= tolerance(10, "float64", 100), errors


def test_tangent_through_nested_solves_is_that_of_the_dense_algebra():
    blocks = saddle_blocks()
    tangents = [np.cos(block) for block in blocks]
    found, expected = (
        jax.jit(lambda x, along, f=f: jax.jvp(f, (x,), (along,))[1])(blocks, tangents)
        for f in (lambda x: eliminated(x).value, eliminated_densely)
    )
    assert relative_error(found, expected) <= tolerance(10, "float64", 100)
