"""What is materialised stays as it is, and apart from what reads it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.operators._materialise import materialise

from ..helpers import draw


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("shape", [(1,), (7,), (4, 5), (2, 3, 4)], ids=str)
def test_values_are_the_same(shape: tuple[int, ...], dtype: str):
    x = jnp.asarray(draw(np.random.default_rng(0), shape, np.dtype(dtype)))
    assert np.array_equal(jax.jit(materialise)(x), x)
    assert np.array_equal(jax.vmap(materialise)(jnp.stack([x, 2 * x])), [x, 2 * x])


def test_derivatives_are_those_of_the_identity():
    x = jnp.arange(6.0).reshape(2, 3)
    (transposed,) = jax.jit(jax.linear_transpose(materialise, x))(x)
    jacobian = np.asarray(jax.jit(jax.jacfwd(materialise))(x))
    assert np.array_equal(transposed, x)
    assert np.array_equal(jacobian.reshape(6, 6), np.eye(6))


@pytest.mark.parametrize("num_sweeps", [1, 2, 4])
def test_every_sweep_is_a_kernel(num_sweeps: int):
    A, x = kx.operators.Laplacian((16, 16, 16)), jnp.ones((16, 16, 16))

    def sweeps(x: Any) -> Any:
        for _ in range(num_sweeps):
            x = materialise(x - 0.1 * A.mv(x))
        return x

    program = jax.jit(sweeps).lower(x).compile().as_text()
    assert program is not None
    # The sweep, and the entry that is written over itself; without the latter, two
    # sweeps are seven kernels, which do the work of eight.
    entry = program[program.index("ENTRY") :]
    assert entry.count(" fusion(") == 2 * num_sweeps
