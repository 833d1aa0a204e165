import functools
import itertools
from typing import Any

import jax
import numpy as np

from krylax.learned.neural_operators._factorised_block import along

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
