import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance
from ..cases import problem, solved

Jacobi = kx.solvers.Jacobi


@pytest.mark.parametrize("name", ["diffusion_2d", "convection_diffusion"])
def test_preconditioner_is_division_by_the_diagonal(name: str):
    matrix, b = problem(name)
    M = Jacobi()(kx.operators.Dense(matrix))
    error = relative_error(M @ jnp.asarray(b), b / np.diagonal(matrix))
    assert error <= tolerance(1, "float64")


def test_preconditioner_of_a_definite_operator_is_definite():
    assert "positive_definite" in Jacobi()(kx.operators.Laplacian((4,))).tags


def test_preconditioner_of_a_symmetric_operator_promises_no_more():
    A = kx.operators.Dense(np.diag([1.0, -1.0]), tags=["symmetric"])
    assert Jacobi()(A).tags == {"symmetric", "hermitian"}


def test_preconditioner_of_a_singular_operator_is_not_singular():
    A = kx.operators.Laplacian((4,), boundary="neumann", nullspace="constant")
    assert "singular" not in Jacobi()(A).tags


def test_preconditioner_keeps_single_precision():
    A = kx.operators.Laplacian((4,), dtype=jnp.float32)
    assert (Jacobi()(A) @ jnp.ones(4, jnp.float32)).dtype == jnp.float32


def test_preconditioner_saves_steps_where_the_diagonal_varies():
    k = np.geomspace(1, 1e4, 48)
    A, b = kx.operators.Diffusion(k), jnp.ones(48)
    solver = kx.solvers.CG(rtol=1e-8)
    with_it = kx.solve(A, b, solver, preconditioner=Jacobi())
    without = kx.solve(A, b, solver, throw=False)
    assert 2 * with_it.stats.num_steps < 3 * without.stats.num_steps


def test_preconditioner_saves_no_steps_where_the_diagonal_is_constant():
    plain, scaled = (
        solved("gcrodr", "poisson_1d"),
        solved("gcrodr", "poisson_1d", preconditioner="jacobi"),
    )
    assert abs(int(plain.stats.num_steps) - int(scaled.stats.num_steps)) <= 1
