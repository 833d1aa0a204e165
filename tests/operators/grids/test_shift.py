"""Stencils inside compiled loops: two XLA bugs of the CPU backend must not come back.

openxla/xla#49176: an update in place from a shifted slice of the same array, followed
by a reshape, gave wrong values. jax#10197, jax#17845: reading and writing one carried
buffer.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import krylax as kx

from ...gallery import finite_volume_matrix
from ...helpers import draw, relative_error, tolerance

NUM_STEPS = 5
SHAPES = [(2,), (17,), (257,), (3, 5), (16, 16), (33, 7), (2, 3, 4), (8, 8, 8)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def diffusion(shape: tuple[int, ...], dtype: str, boundary: Any) -> tuple[Any, Any]:
    """An operator of norm below one, and its matrix."""
    k = np.exp(np.random.default_rng(0).standard_normal(shape)).astype(dtype)
    k = k / np.asarray(8 * k.ndim * k.max(), dtype)
    A = jax.jit(partial(kx.operators.Diffusion, boundary=boundary))(k)
    faces = [(boundary, boundary)] * k.ndim
    matrix = finite_volume_matrix(
        k.astype(np.float64), [1.0] * k.ndim, faces, "harmonic"
    )
    return A, matrix


def stepped_by_numpy(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    step = np.eye(len(matrix)) - matrix
    return np.linalg.matrix_power(step, NUM_STEPS) @ x.ravel().astype(np.float64)


def explicit_step(A: Any, x: Any) -> Any:
    """One step of the heat equation, flattened and back, as solvers do with fields."""
    flat = (x - A.mv(x)).reshape(-1)
    return flat.reshape(x.shape)


def in_fori_loop(A: Any, x: Any) -> Any:
    return lax.fori_loop(0, NUM_STEPS, lambda _, x: explicit_step(A, x), x).reshape(-1)


def in_while_loop(A: Any, x: Any) -> Any:
    """The field is written into a row of a carried block, as a Krylov basis is."""
    rows = jnp.zeros((NUM_STEPS + 1, *x.shape), x.dtype).at[0].set(x)

    def body(carry: tuple[Any, Any]) -> tuple[Any, Any]:
        i, rows = carry
        return i + 1, rows.at[i + 1].set(explicit_step(A, rows[i]))

    _, rows = lax.while_loop(lambda carry: carry[0] < NUM_STEPS, body, (0, rows))
    return rows[-1].reshape(-1)


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
@each_shape
def test_stencil_in_a_compiled_fori_loop_is_that_of_numpy(
    shape: tuple[int, ...], boundary: Any
):
    A, matrix = diffusion(shape, "float64", boundary)
    x = draw(np.random.default_rng(1), shape, "float64")
    got = jax.jit(in_fori_loop)(A, x)
    assert relative_error(got, stepped_by_numpy(matrix, x)) <= tolerance(1, "float64")


@each_shape
def test_stencil_in_a_compiled_while_loop_is_that_of_numpy(shape: tuple[int, ...]):
    A, matrix = diffusion(shape, "float64", "periodic")
    x = draw(np.random.default_rng(1), shape, "float64")
    got = jax.jit(in_while_loop)(A, x)
    assert relative_error(got, stepped_by_numpy(matrix, x)) <= tolerance(1, "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loop", [in_fori_loop, in_while_loop])
@pytest.mark.parametrize("shape", [(17,), (16, 16), (2, 3, 4)], ids=str)
def test_stencil_in_a_vmapped_loop_is_that_of_numpy(
    shape: tuple[int, ...], loop: Any, dtype: str
):
    A, matrix = diffusion(shape, dtype, "periodic")
    xs = draw(np.random.default_rng(1), (3, *shape), dtype)
    got = jax.jit(jax.vmap(loop, in_axes=(None, 0)))(A, xs)
    expected = np.stack([stepped_by_numpy(matrix, x) for x in xs])
    assert relative_error(got, expected) <= tolerance(1, dtype)


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
@pytest.mark.parametrize("shape", [(17,), (16, 16), (2, 3, 4)], ids=str)
def test_laplacian_in_a_compiled_loop_is_that_of_numpy(
    shape: tuple[int, ...], boundary: Any
):
    spacing = 2.0 * len(shape)
    A = kx.operators.Laplacian(shape, spacing, boundary=boundary)
    faces = [(boundary, boundary)] * len(shape)
    matrix = finite_volume_matrix(
        np.ones(shape), [spacing] * len(shape), faces, "harmonic", wall=1
    )
    x = draw(np.random.default_rng(1), shape, "float64")
    got = jax.jit(in_fori_loop)(A, x)
    assert relative_error(got, stepped_by_numpy(matrix, x)) <= tolerance(1, "float64")


@pytest.mark.parametrize("n", [2, 16, 65, 256])
def test_banded_in_a_compiled_loop_is_that_of_numpy(n: int):
    rows = draw(np.random.default_rng(0), (3, n), "float64") / 4
    A = kx.operators.Banded(rows, (1 - n, 0, 1))
    x = draw(np.random.default_rng(1), (n,), "float64")
    got = jax.jit(in_while_loop)(A, x)
    matrix = np.diag(rows[1]) + np.diag(rows[2, 1:], 1)
    matrix[-1, 0] += rows[0, 0]
    assert relative_error(got, stepped_by_numpy(matrix, x)) <= tolerance(1, "float64")
