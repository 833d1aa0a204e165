"""Constants that are given inside of a compiled function are known, and looked at."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

NAN = np.array([[1.0, np.nan], [1.0, 1.0]])
LINE = sum(
    weight * scipy.sparse.eye_array(30, k=k)
    for k, weight in ((0, 2.5), (1, -1.0), (-1, -1.0))
)
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "Dense": (lambda: kx.operators.Dense(NAN), "matrix must be finite"),
    "Diffusion": (lambda: kx.operators.Diffusion(-np.ones((2, 2))), "positive"),
    "Helmholtz": (
        lambda: kx.operators.Helmholtz(np.ones((2, 2)), np.inf),
        "wavenumber_squared must be finite",
    ),
    "ConvectionDiffusion": (
        lambda: kx.operators.ConvectionDiffusion(np.ones((2, 2)), NAN[0]),
        "velocity must be finite",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_constant_is_refused_inside_of_jit(kind: str):
    make, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: make().diagonal())


@pytest.mark.parametrize(
    "factory", [kx.solvers.IncompleteCholesky(), kx.solvers.SSOR()]
)
def test_pattern_of_a_constant_matrix_is_known_inside_of_jit(factory: Any):
    @jax.jit
    def solve(b: Any) -> Any:
        A = kx.operators.Sparse.from_scipy(LINE, tags=["positive_definite"])
        solver = kx.solvers.CG(rtol=1e-10)
        return kx.solve(A, b, solver, preconditioner=factory(A)).value

    b = np.linspace(1.0, 2.0, 30)
    assert np.linalg.norm(LINE @ solve(jnp.asarray(b)) - b) <= 1e-10 * np.linalg.norm(b)
