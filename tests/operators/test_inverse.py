"""A solver as an operator: its product is a solve, and so are its derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..gallery import convection_diffusion, diffusion_2d, from_spectrum, indefinite
from ..helpers import relative_error, solution_tolerance, tolerance, types_unchecked

ops: Any = kx.operators
Inverse = ops.Inverse
RTOL = 1e-12
SOLVERS: dict[str, Any] = {
    "gmres": kx.solvers.GMRES(RTOL, restart=48),
    "gcrodr": kx.solvers.GCRODR(RTOL, restart=40, num_recycled=8),
    "lu": kx.solvers.LU(RTOL),
}
DEFINITE: dict[str, Any] = {
    "cg": kx.solvers.CG(RTOL),
    "cholesky": kx.solvers.Cholesky(RTOL),
    "refinement": kx.solvers.Refinement(kx.solvers.CG(1e-4), RTOL),
}
MATRIX = convection_diffusion().matrix
SLACK = 3 * solution_tolerance(convection_diffusion().cond, RTOL, "float64")
SPD = diffusion_2d().matrix
SPD_SLACK = 3 * solution_tolerance(diffusion_2d().cond, RTOL, "float64")
FIELD = jnp.cos(jnp.arange(48.0))
each_solver = pytest.mark.parametrize("solver", SOLVERS)


def spd() -> Any:
    return ops.Dense(SPD, tags=["positive_definite"])


@each_solver
def test_matrix_is_the_inverse(solver: str):
    found = Inverse(ops.Dense(MATRIX), SOLVERS[solver]).as_matrix()
    assert relative_error(found, np.linalg.inv(MATRIX)) <= SLACK


@pytest.mark.parametrize("solver", DEFINITE)
def test_matrix_of_a_definite_operator_is_the_inverse(solver: str):
    found = Inverse(spd(), DEFINITE[solver]).as_matrix()
    assert relative_error(found, np.linalg.inv(SPD)) <= SPD_SLACK


@each_solver
def test_transpose_is_the_transposed_inverse(solver: str):
    found = Inverse(ops.Dense(MATRIX), SOLVERS[solver]).T.as_matrix()
    assert relative_error(found, np.linalg.inv(MATRIX).T) <= SLACK


def test_adjoint_of_a_complex_inverse_is_that_of_the_matrix():
    matrix = MATRIX + 1j * np.diag(np.cos(np.arange(48)))
    A = Inverse(ops.Dense(matrix), SOLVERS["gmres"], kx.solvers.Jacobi())
    expected = np.linalg.inv(matrix).conj().T
    assert relative_error(A.H.as_matrix(), expected) <= SLACK


def test_transpose_of_a_symmetric_inverse_is_itself():
    A = Inverse(spd(), kx.solvers.CG(RTOL))
    assert A.T is A


@pytest.mark.parametrize("tags", [(), ("symmetric",), ("positive_definite",)])
def test_tags_are_those_of_the_operator(tags: tuple[str, ...]):
    A = ops.Dense(SPD, tags=tags)
    assert Inverse(A, kx.solvers.CG()).tags == A.tags


def test_promises_of_an_inverse_hold(getkey: Any):
    # A solve to a looser tolerance is as far from linear as the tolerance.
    A = Inverse(spd(), kx.solvers.Cholesky(2.3e-15))
    kx.operators.check_operator(A, getkey())


def test_inverse_of_a_singular_operator_is_the_pseudo_inverse():
    A = ops.Laplacian((8, 6), boundary="neumann", nullspace="constant")
    inverse = Inverse(A, kx.solvers.CG(RTOL))
    b = np.cos(np.arange(48.0)).reshape(8, 6)
    found = inverse @ jnp.asarray(b - b.mean())
    expected = np.linalg.pinv(np.asarray(A.as_matrix()), hermitian=True) @ b.ravel()
    assert jnp.array_equal(inverse.nullspace, A.nullspace)
    slack = 3 * solution_tolerance(60, RTOL, "float64")  # λ of -Δ from 0.15 to 8
    assert relative_error(np.ravel(found), expected) <= slack


def test_inverse_of_the_inverse_is_the_operator():
    inner = Inverse(spd(), kx.solvers.Cholesky(1e-13))
    outer = Inverse(inner, kx.solvers.CG(1e-10))
    slack = 3 * solution_tolerance(diffusion_2d().cond, 1e-10, "float64")
    assert relative_error(outer @ FIELD, SPD @ FIELD) <= slack


def test_fields_may_be_pytrees():
    structure = {"u": jax.ShapeDtypeStruct((2, 2), jnp.float64)}
    A = Inverse(4.0 * ops.Identity(structure), kx.solvers.GMRES(RTOL))
    found = A @ {"u": jnp.ones((2, 2))}
    assert relative_error(found["u"], np.full((2, 2), 0.25)) <= tolerance(1, "float64")


def failing(throw: bool) -> Any:
    return Inverse(spd(), kx.solvers.CG(RTOL, max_steps=2), throw=throw)


def test_failure_raises_unless_told_otherwise():
    with pytest.raises(kx.solvers.SolveError, match="reached max_steps"):
        failing(throw=True).mv(FIELD)


def test_failure_raises_under_jit():
    with pytest.raises((RuntimeError, ValueError), match="reached max_steps"):
        jax.block_until_ready(jax.jit(lambda A: A @ FIELD)(failing(throw=True)))


def test_failure_that_may_pass_gives_what_was_found():
    found = failing(throw=False) @ FIELD
    assert 0 < relative_error(SPD @ found, FIELD) < 1


def test_transpose_keeps_whether_to_raise():
    A = Inverse(ops.Dense(MATRIX), kx.solvers.GMRES(max_steps=2), throw=False)
    assert np.all(np.isfinite(A.T @ FIELD))


def test_operator_that_is_not_square_is_refused():
    with pytest.raises(
        ValueError,
        match=r"only a square operator has an inverse, got one from float64\[4\] to "
        r"float64\[3\]",
    ):
        Inverse(ops.Dense(np.ones((3, 4))), kx.solvers.GMRES())


def test_solver_class_is_refused():
    sentence = "solver must be a solver such as CG"
    with types_unchecked(), pytest.raises(TypeError, match=sentence):
        Inverse(spd(), kx.solvers.CG)


def test_preconditioner_matrix_is_refused():
    sentence = "preconditioner must be an operator"
    with types_unchecked(), pytest.raises(TypeError, match=sentence):
        Inverse(spd(), kx.solvers.CG(), np.eye(48))


def test_preconditioner_of_another_size_is_refused():
    M = ops.Identity(jax.ShapeDtypeStruct((5,), jnp.float64))
    with pytest.raises(ValueError, match=r"preconditioner acts on float64\[5\]"):
        Inverse(spd(), kx.solvers.CG(), M)


def test_loose_inverse_preconditions_a_flexible_solver():
    inner = Inverse(spd(), kx.solvers.CG(rtol=0.1), throw=False)
    solver = kx.solvers.FGMRES(rtol=1e-10)
    plain = kx.solve(spd(), FIELD, solver)
    found = kx.solve(spd(), FIELD, solver, preconditioner=inner)
    # Each call leaves a tenth of the residual.
    assert found.stats.num_steps <= 11 < plain.stats.num_steps
    assert relative_error(SPD @ found.value, FIELD) <= 1e-10


def test_tight_inverse_solves_in_one_step():
    inner = Inverse(spd(), kx.solvers.CG(rtol=1e-13), kx.solvers.Jacobi())
    found = kx.solve(spd(), FIELD, kx.solvers.FGMRES(1e-10), preconditioner=inner)
    assert found.stats.num_steps == 1


@pytest.mark.parametrize(
    "solver", [SOLVERS["gmres"], SOLVERS["lu"]], ids=["gmres", "lu"]
)
def test_gradient_by_the_arrays_inside_is_that_of_the_dense_inverse(solver: Any):
    weights = jnp.sin(jnp.arange(48.0))

    def value(matrix: Any, x: Any) -> Any:
        return jnp.vdot(weights, Inverse(ops.Dense(matrix), solver, throw=False) @ x)

    by_matrix, by_x = jax.grad(value, argnums=(0, 1))(jnp.asarray(MATRIX), FIELD)
    adjoint = np.linalg.solve(MATRIX.T, weights)
    assert relative_error(by_x, adjoint) <= SLACK
    expected = -np.outer(adjoint, np.linalg.solve(MATRIX, FIELD))
    assert relative_error(by_matrix, expected) <= SLACK


def test_algebra_with_an_inverse_is_that_of_the_matrices():
    B = from_spectrum(np.linspace(1, 2, 48), seed=3)
    A = 2.0 * Inverse(ops.Dense(MATRIX), SOLVERS["lu"]) @ ops.Dense(B)
    found = (A + ops.Dense(B)).as_matrix()
    assert relative_error(found, 2 * np.linalg.inv(MATRIX) @ B + B) <= SLACK


def test_inverse_factors_once_when_it_is_made():
    A = Inverse(ops.Dense(indefinite().matrix), kx.solvers.LU(RTOL))
    assert isinstance(A.preconditioner, kx.solvers.FactoredInverse)
    program = jax.make_jaxpr(lambda x: A @ x)(FIELD)
    assert " lu[" not in str(program)


def test_vmap_applies_the_inverse_to_many_fields():
    xs = jnp.stack([FIELD, 2 * FIELD, FIELD[::-1]])
    found = Inverse(spd(), kx.solvers.CG(RTOL)).mm(xs)
    assert relative_error(found, np.linalg.solve(SPD, xs.T).T) <= SPD_SLACK
