"""Eigenpairs of a uniform line in closed form: T V = V Λ and Vᴴ V = I."""

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


@pytest.mark.parametrize("faces", FACES, ids="-".join)
@pytest.mark.parametrize("size", [2, 3, 64, 301])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_eigenpairs_are_those_of_the_matrix(
    faces: tuple[Condition, Condition], size: int, dtype: str
):
    line = UniformLine(jnp.asarray(2.5, dtype), size, faces)
    values, vectors = line.eigenpairs()
    T, V, values = map(np.asarray, (line.as_matrix(), vectors, values))
    assert V.dtype == dtype
    T, V = T.astype(np.clongdouble), V.astype(np.clongdouble)
    # Angles below 2π are rounded to 2π eps and entries are of size 1/√n.
    slack = 2 * np.pi * np.finfo(dtype).eps
    assert np.max(np.abs(V.conj().T @ V - np.eye(size))) <= slack
    assert np.max(np.abs(T @ V - V * values)) <= slack * np.max(np.abs(T))
