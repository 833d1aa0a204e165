from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import as_matrix, relative_error, tolerance

Jacobian: Any = kx.operators.Jacobian
X = jnp.array([1.0, -2.0, 3.0])
MATRIX = jnp.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 4.0]])


def energy(u: Any) -> Any:
    return jnp.sum(u**4) / 4 + u[0] * u[1]


def test_hessian_is_the_symmetric_jacobian_of_the_gradient():
    H = Jacobian(jax.grad(energy), X, tags=["symmetric"])
    assert H.T is H
    expected = jax.jit(jax.hessian(energy))(X)
    assert relative_error(as_matrix(H), expected) <= tolerance(1, "float64")


def test_transpose_is_by_reverse_mode_and_undoes_itself():
    J = Jacobian(lambda u: jnp.outer(u, u), X)
    assert J.T.T is J
    error = relative_error(J.T.as_matrix(), J.as_matrix().T)
    assert error <= tolerance(1, "float64")


def test_function_with_a_reverse_rule_of_its_own_is_transposed_by_it():
    @jax.custom_vjp
    def doubled(u: Any) -> Any:
        return 2 * u

    doubled.defvjp(lambda u: (2 * u, None), lambda _, y: (3 * y,))
    assert np.array_equal(Jacobian(doubled, X).T @ X, 3 * X)


def test_gradient_flows_to_what_the_function_closes_over():
    def value(matrix: Any) -> Any:
        return jnp.sum(Jacobian(lambda u: (matrix @ u) ** 2, X) @ X)

    def expected(matrix: Any) -> Any:
        return jnp.sum(2 * (matrix @ X) ** 2)

    error = relative_error(jax.grad(value)(MATRIX), jax.grad(expected)(MATRIX))
    assert error <= tolerance(1, "float64")


@pytest.mark.parametrize("of", ["mv", "T"])
def test_gradient_flows_to_the_point(of: str):
    def value(u: Any) -> Any:
        J = Jacobian(lambda u: u**3, u)
        return jnp.sum(J @ X if of == "mv" else J.T @ X)

    assert relative_error(jax.grad(value)(X), 6 * X * X) <= tolerance(1, "float64")


def test_another_point_compiles_nothing():
    product = jax.jit(lambda J, x: J @ x)
    product(Jacobian(jnp.sin, X), X)
    with jax.no_tracing(True):
        product(Jacobian(jnp.sin, 2 * X), X)


def test_what_does_not_depend_on_the_field_is_moved_out_of_a_loop():
    function = jax.tree_util.Partial(lambda matrix, u: jnp.tanh(matrix @ u), MATRIX)

    def loop(J: Any, x: Any) -> Any:
        return jax.lax.fori_loop(0, 9, lambda _, y: J.mv(y) + J.T.mv(y), x)

    compiled: Any = jax.jit(loop).lower(Jacobian(function, X), X).compile()
    parts = compiled.as_text().split("\n\n")
    body = next(part for part in parts if "region_0" in part and "dot(" in part)
    fused = [part.split()[0] for part in parts if "tanh(" in part]
    assert fused
    assert not any(name in body for name in [*fused, "tanh("])
