"""Eigenpairs of a uniform line in closed form: T V = V Λ and Vᴴ V = I."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from krylax.operators._line import UniformLine
from krylax.operators.grids._boundary import Condition

FACES: list[tuple[Condition, Condition]] = [
    ("periodic", "periodic"),
    ("neumann", "neumann"),
    ("dirichlet", "dirichlet"),
    ("dirichlet", "neumann"),
    ("neumann", "dirichlet"),
]
SIZES = [2, 3, 64, 151]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_eigenpairs_are_those_of_the_matrix(dtype: str):
    @jax.jit
    def compute(weight: Any) -> Any:
        lines = [UniformLine(weight, size, faces) for size in SIZES for faces in FACES]
        return [(line.as_matrix(), *line.eigenpairs()) for line in lines]

    for found in compute(jnp.asarray(2.5, dtype)):
        T, values, V = map(np.asarray, found)
        assert V.dtype == dtype
        exact = np.result_type(dtype, np.longdouble)
        T, V = T.astype(exact), V.astype(exact)
        # Angles below 2π are rounded to 2π eps and entries are of size 1/√n.
        slack = 2 * np.pi * np.finfo(dtype).eps
        assert np.max(np.abs(V.conj().T @ V - np.eye(len(V)))) <= slack
        assert np.max(np.abs(T @ V - V * values)) <= slack * np.max(np.abs(T))
