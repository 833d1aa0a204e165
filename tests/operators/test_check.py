from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

ops = kx.operators
VECTOR = jax.ShapeDtypeStruct((12,), jnp.float64)
SHIFT = np.eye(12, k=1)
CHAIN = np.diag(np.r_[np.ones(11), 0.0]) - np.eye(12, k=1)  # of a Markov chain: A 1 = 0


class Wrapped(ops.AbstractLinearOperator):
    """An operator with another one's transpose."""

    operator: ops.AbstractLinearOperator
    claimed: ops.AbstractLinearOperator

    @property
    def in_structure(self) -> Any:
        return self.operator.in_structure

    @property
    def out_structure(self) -> Any:
        return self.operator.out_structure

    @property
    def T(self) -> ops.AbstractLinearOperator:
        return self.claimed

    def mv(self, x: Any) -> Any:
        return self.operator.mv(x)


def with_spectrum(*lowest: float) -> np.ndarray:
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0]
    eigenvalues = np.linspace(1, 2, 12)
    eigenvalues[: len(lowest)] = lowest
    return (Q * eigenvalues) @ Q.T


LIARS = {
    "transpose": Wrapped(ops.Dense(SHIFT), ops.Dense(SHIFT)),
    "adjoint": Wrapped(ops.Dense(SHIFT * 1j), ops.Dense(-1j * SHIFT.T)),
    "symmetric": ops.Dense(SHIFT, tags=["symmetric"]),
    "hermitian": ops.Dense(with_spectrum() * 1j, tags=["hermitian"]),
    "definiteness": ops.Dense(with_spectrum(-0.01), tags=["positive_definite"]),
    "linearity": ops.Function(
        lambda x: x + 0.1 * jnp.abs(x), VECTOR, tags=["symmetric"]
    ),
    "nullspace": ops.Dense(with_spectrum(), nullspace="constant"),
}


@pytest.mark.parametrize(("promise", "operator"), LIARS.items(), ids=LIARS)
def test_broken_promise_is_named(promise: str, operator: Any):
    with pytest.raises(
        ValueError, match=rf"breaks its promises: .*{promise} \(relative"
    ):
        kx.operators.check_operator(operator, jax.random.key(0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_tiny_asymmetry_is_found(seed: int):
    matrix = with_spectrum()
    matrix[0, 1] *= 1 + 1e-9
    operator = ops.Dense(matrix, tags=["symmetric"])
    with pytest.raises(ValueError, match="symmetric"):
        kx.operators.check_operator(operator, jax.random.key(seed))


def test_singular_operator_is_not_definite():
    operator = ops.Dense(with_spectrum(0.0), tags=["positive_definite"])
    with pytest.raises(ValueError, match="definiteness"):
        kx.operators.check_operator(operator, jax.random.key(0))


@pytest.mark.parametrize("num_different", [1, 2, 5, 12])
def test_definite_operator_of_few_eigenvalues_passes(num_different: int):
    # A Lanczos run comes to its end after as many steps, and must find no zero there.
    lowest = [float(1 + i % num_different) for i in range(12)]
    operator = ops.Dense(with_spectrum(*lowest), tags=["positive_definite"])
    errors = kx.operators.check_operator(operator, jax.random.key(0))
    assert errors["definiteness"] == 0


def test_semidefinite_operator_passes_as_such():
    operator = ops.Dense(with_spectrum(0.0), tags=["positive_semidefinite"])
    assert kx.operators.check_operator(operator, jax.random.key(0))


def test_null_vector_of_the_operator_but_not_of_its_adjoint_is_found():
    operator = ops.Dense(CHAIN, nullspace="constant")
    with pytest.raises(ValueError, match="nullspace"):
        kx.operators.check_operator(operator, jax.random.key(0))


def test_nan_counts_as_broken():
    operator = ops.Function(lambda x: x / (x - x), VECTOR, tags=["symmetric"])
    with pytest.raises(ValueError, match="breaks its promises"):
        kx.operators.check_operator(operator, jax.random.key(0))


def test_zero_operator_keeps_its_promises():
    assert kx.operators.check_operator(ops.Dense(np.zeros((4, 4))), jax.random.key(0))


def test_errors_are_plain_numbers_by_promise():
    errors = kx.operators.check_operator(ops.Laplacian((4,)), jax.random.key(0))
    assert set(errors) >= {"linearity", "adjoint", "transpose", "definiteness"}
    assert all(type(error) is float for error in errors.values())


def test_message_says_what_to_correct():
    operator = eqx.tree_at(
        lambda A: A.matrix, ops.Dense(SHIFT, tags=["symmetric"]), SHIFT
    )
    with pytest.raises(ValueError, match=r"^Dense breaks.*Correct mv, T or the tags$"):
        kx.operators.check_operator(operator, jax.random.key(0))
