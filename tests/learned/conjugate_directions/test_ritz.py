"""The published residuals: their Ritz pairs, weights and norms, and what is refused."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.learned import conjugate_directions as cd
from krylax.learned.conjugate_directions._ritz import WEIGHT, ritz_pairs

from ...helpers import as_matrix, tolerance

KEY = jax.random.key(4)
BOX = kx.operators.Laplacian((12, 13))  # no eigenvalue twice
CLOSED = kx.operators.Laplacian((6, 7), boundary="neumann", nullspace="constant")
CELLS = jnp.full((8, 9), 2, jnp.int32).at[2:4, 3:7].set(1)
OBSTACLE = kx.operators.MaskedPoisson(CELLS, boundary="dirichlet")
THREE_VALUES = kx.operators.Diagonal(jnp.tile(jnp.array([1.0, 2.0, 5.0]), 10))

pairs_of = jax.jit(ritz_pairs, static_argnums=1)
residuals_of = jax.jit(
    partial(cd.ritz_residuals, key=KEY), static_argnums=(1, 2), static_argnames="theta"
)


def energies(A: Any, num_residuals: int, **more: Any) -> np.ndarray:
    """Mean squares of the coefficients of the eigenvectors, ascending."""
    _, vectors = np.linalg.eigh(as_matrix(A))
    found = residuals_of(A, len(vectors), num_residuals, **more)
    flat = np.asarray(found).reshape(num_residuals, -1)
    return np.mean((flat @ vectors) ** 2, axis=0)


def test_ritz_pairs_of_all_steps_are_the_eigenpairs():
    pairs = pairs_of(BOX, 156, KEY)
    values, vectors = np.linalg.eigh(as_matrix(BOX))
    gap = np.min(np.diff(values)) / values[-1]
    np.testing.assert_allclose(
        pairs.values, values, atol=tolerance(values[-1], float, 100)
    )
    cosines = np.abs(np.sum((pairs.Q.T @ pairs.u) * vectors, axis=0))
    np.testing.assert_allclose(cosines, 1, atol=tolerance(1 / gap, float))


def test_ritz_pairs_of_fewer_steps_are_those_of_the_projected_matrix():
    pairs = pairs_of(BOX, 25, KEY)
    Q, A = np.asarray(pairs.Q), as_matrix(BOX)
    values = np.linalg.eigvalsh(Q @ A @ Q.T)
    np.testing.assert_allclose(
        pairs.values, values, atol=tolerance(float(np.linalg.norm(A, 2)), float)
    )
    assert np.all(pairs.is_kept)


@pytest.mark.parametrize("num_vectors", [25, 156])
def test_lanczos_vectors_are_orthonormal(num_vectors: int):
    Q = np.asarray(pairs_of(BOX, num_vectors, KEY).Q)
    products = Q @ Q.T - np.eye(num_vectors)
    assert np.max(np.abs(products)) < tolerance(1, float, 100)


def test_energies_of_low_and_high_eigenvectors_are_81_to_1():
    found = energies(BOX, 2000)
    low = 156 // 2 + 156 // 20
    # 2000 · 71 squares have a relative error of 0.4 %; the norm adds 2/85.
    ratio = np.mean(found[:low]) / np.mean(found[low:])
    assert ratio == pytest.approx(WEIGHT**2, rel=0.05)


@pytest.mark.parametrize("theta", [0, 20])
def test_theta_says_where_the_weight_ends(theta: int):
    found = energies(BOX, 500, theta=theta)
    falls = found[:-1] / found[1:]
    assert np.argmax(falls) == 156 // 2 + theta - 1


@pytest.mark.parametrize("A", [BOX, CLOSED, OBSTACLE, THREE_VALUES])
def test_residuals_are_of_norm_1(A: Any):
    found = np.asarray(residuals_of(A, 30, 7))
    norms = np.linalg.norm(found.reshape(7, -1), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=tolerance(1, float))


def test_an_invariant_subspace_ends_lanczos():
    pairs = pairs_of(THREE_VALUES, 12, KEY)
    found = np.asarray(residuals_of(THREE_VALUES, 12, 7))
    kept = np.asarray(pairs.values)[np.asarray(pairs.is_kept)]
    np.testing.assert_allclose(kept, [1, 2, 5], rtol=tolerance(1, float))
    assert np.linalg.matrix_rank(found) == 3


def test_of_an_invariant_subspace_its_lower_half_is_weighted():
    found = np.asarray(residuals_of(THREE_VALUES, 12, 2000, theta=0))
    sums = np.mean(found.reshape(2000, 10, 3) ** 2, axis=(0, 1))
    assert sums[0] > 3 * max(sums[1:])


def test_residuals_have_no_part_in_the_null_space():
    found = residuals_of(CLOSED, 42, 7)
    means = np.mean(np.asarray(found), axis=(1, 2))
    np.testing.assert_allclose(means, 0, atol=tolerance(1 / 1e-8, float))


def test_residuals_are_zero_in_solid_cells():
    found = np.asarray(residuals_of(OBSTACLE, 30, 7))
    assert not np.any(found[:, np.asarray(CELLS) == 1])
    assert np.all(found[:, np.asarray(CELLS) == 2])


def test_a_zero_operator_has_zero_residuals():
    zero = kx.operators.Diagonal(jnp.zeros(6))
    assert not np.any(residuals_of(zero, 3, 2))


def test_other_keys_draw_others():
    drawn = jax.jit(lambda key: cd.ritz_residuals(THREE_VALUES, 3, 2, key=key))
    first, other = (drawn(jax.random.key(i)) for i in range(2))
    assert not np.allclose(first, other)


PAIR = kx.operators.Identity({"u": THREE_VALUES.in_structure})
NOT_SYMMETRIC = kx.operators.Dense(np.arange(9.0).reshape(3, 3))
SINGLE = kx.operators.Laplacian((5,), dtype=jnp.float32)


@pytest.mark.parametrize(
    ("A", "num_vectors", "more", "said"),
    [
        (NOT_SYMMETRIC, 2, {}, "tagged symmetric"),
        (SINGLE, 2, {}, "float64, got float32"),
        (PAIR, 2, {}, "one array in float64, got a pytree"),
        (THREE_VALUES, 31, {}, "at most the dimension of A, 30, got 31"),
        (THREE_VALUES, 0, {}, "num_vectors must be at least 1"),
        (THREE_VALUES, 2, {"num_residuals": 0}, "num_residuals must be at least 1"),
        (THREE_VALUES, 2, {"theta": -1}, "theta must be at least 0"),
        (THREE_VALUES, 2, {"key": 3}, "key must be one random key"),
    ],
)
def test_what_does_not_fit_is_refused(
    A: Any, num_vectors: int, more: dict[str, Any], said: str
):
    arguments = {"num_residuals": 2, "key": KEY} | more
    with pytest.raises(ValueError, match=said):
        cd.ritz_residuals(A, num_vectors, **arguments)


def test_what_is_no_operator_is_refused():
    anything: Any = np.eye(3)
    with pytest.raises(TypeError, match="operator"):
        cd.ritz_residuals(anything, 2, 2, key=KEY)
