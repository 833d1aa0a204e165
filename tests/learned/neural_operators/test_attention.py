import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from krylax.learned.neural_operators._factorised_block import along
from krylax.learned.neural_operators._gelu import gelu
from krylax.learned.neural_operators._layers import uniform

from ...helpers import relative_error

SHAPE = (3, 4, 5)


@jax.jit
def mixed(kernels: Any, values: Any) -> Any:
    """Each kernel alone, and all of them in every order."""
    alone = [along(K, values, a) for a, K in enumerate(kernels)]
    chains = [
        functools.reduce(lambda v, a: along(kernels[a], v, a), order, values)
        for order in itertools.permutations(range(3))
    ]
    return alone, chains


def test_kernels_along_axes_are_kronecker_products():
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=(n, n)) for n in SHAPE]
    values = rng.normal(size=(*SHAPE, 2))
    alone, chains = mixed(kernels, values)
    ones = [np.eye(n) for n in SHAPE]
    for a, found in enumerate(alone):
        factors = [kernels[b] if b == a else ones[b] for b in range(3)]
        dense = functools.reduce(np.kron, factors)
        expected = (dense @ values.reshape(-1, 2)).reshape(values.shape)
        assert relative_error(found, expected) < 1e-14
    dense = functools.reduce(np.kron, kernels)
    expected = (dense @ values.reshape(-1, 2)).reshape(values.shape)
    # Chained kernels commute.
    assert max(relative_error(found, expected) for found in chains) < 1e-14


def test_weights_do_not_depend_on_whether_the_key_is_traced():
    def draw(key: Any) -> Any:
        return uniform(key, (130, 140), 0.25, jnp.float32)

    drawn = np.asarray(draw(jax.random.key(3)))
    assert np.array_equal(drawn, jax.jit(draw)(jax.random.key(3)))
    assert np.max(np.abs(drawn)) <= 0.25
    # The deviation of a uniform distribution is its limit over √3.
    assert abs(drawn.std() * 3**0.5 / 0.25 - 1) < 0.02


def test_gelu_is_exact():
    x = np.linspace(-6, 6, 49)
    found = jax.jit(lambda x: [gelu(x), jax.nn.gelu(x, approximate=False)])(x)
    assert np.max(np.abs(found[0] - found[1])) < 1e-15
