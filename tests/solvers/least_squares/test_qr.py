"""QR: exact to rounding, factored once, and a factory of pseudo-inverses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance
from .. import programs
from .cases import SHAPES, matrix_of, rhs_of

ops: Any = kx.operators
QR = kx.solvers.QR


@pytest.mark.parametrize("shape", SHAPES)
def test_factory_makes_the_pseudo_inverse_and_its_adjoint(shape: str):
    matrix = matrix_of(shape, "complex128")
    expected = np.linalg.pinv(matrix)

    @jax.jit
    def matrices(matrix: Any) -> Any:
        P = QR()(ops.Dense(matrix))
        return P.as_matrix(), P.T.as_matrix(), P.H.as_matrix()

    for got, of in zip(
        matrices(matrix), (expected, expected.T, expected.conj().T), strict=True
    ):
        assert relative_error(got, of) <= tolerance(3, "float64", 30)


def test_problem_takes_one_step_and_the_products_of_its_certificate():
    found = kx.solve(ops.Dense(matrix_of("tall")), rhs_of("tall"), QR(1e-14))
    expected = np.linalg.lstsq(matrix_of("tall"), rhs_of("tall"), rcond=None)[0]
    assert (found.stats.num_steps, found.stats.num_matvecs) == (1, 2)
    assert relative_error(found.value, expected) <= tolerance(9, "float64")


def test_operator_is_factored_once_for_a_solve_and_its_derivatives():
    def value(matrix: Any, b: Any) -> Any:
        return jnp.sum(kx.solve(ops.Dense(matrix), b, QR(1e-12), throw=False).value)

    gradient = jax.value_and_grad(value, argnums=(0, 1))
    found = programs.equations(gradient, matrix_of("tall"), rhs_of("tall"))
    assert programs.names(found).count("qr") == 1


def test_kahan_matrix_of_full_rank_is_solved():
    # Its factors hide how small the least singular value is, 2.4e-8 here.
    s, c = np.sin(1.2), np.cos(1.2)
    size = 40
    matrix = np.diag(s ** np.arange(size)) @ (
        np.eye(size) - c * np.triu(np.ones((size, size)), 1)
    )
    b = matrix @ np.ones(size)
    found = kx.solve(ops.Dense(np.vstack([matrix, matrix])), np.tile(b, 2), QR(1e-12))
    assert found.status == kx.Status.converged
    cond = float(np.linalg.cond(matrix))
    assert relative_error(found.value, np.ones(size)) <= tolerance(cond, "float64")
