"""Methods that cannot converge end soon, with the best iterate that they know."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

S = kx.solvers
N = 60
SINGULAR_ONLY = [
    S.CG(1e-8),
    S.CG(1e-8, single_reduction=True),
    S.FlexibleCG(1e-8),
    S.DeflatedCG(1e-8, num_recycled=4),
    S.MINRES(1e-8),
    S.RecycledMINRES(1e-8, num_recycled=4),
    S.BiCGStab(1e-8),
]


def name_of(solver: Any) -> str:
    return type(solver).__name__


def singular() -> tuple[np.ndarray, np.ndarray, float]:
    """A matrix of rank N - 1, a right-hand side, and its part in the null space."""
    rng = np.random.default_rng(N)
    factor = rng.standard_normal((N, N - 1))
    b = rng.standard_normal(N)
    reachable, *_ = np.linalg.lstsq(factor, b, rcond=None)
    outside = np.linalg.norm(b - factor @ reachable) / np.linalg.norm(b)
    return factor @ factor.T, b, float(outside)


@pytest.mark.parametrize("solver", SINGULAR_ONLY, ids=name_of)
def test_singular_system_falsely_called_definite_ends_soon_and_no_worse_than_zero(
    solver: Any,
):
    matrix, b, outside = singular()
    A = kx.operators.Dense(matrix, tags=["positive_definite"])
    found = kx.solve(A, b, solver, throw=False)
    x = np.asarray(found.value)
    true = np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)
    assert found.status in (kx.Status.diverged, kx.Status.indefinite_operator)
    assert found.stats.num_steps < 2500
    assert outside * (1 - 1e-6) <= true <= 1 + 1e-12
    assert found.stats.relative_residual == pytest.approx(true, rel=1e-6)


def test_diverging_method_returns_the_best_iterate_that_it_kept():
    # The residual falls until the modes above the bound, tiny at first, have grown.
    A = kx.operators.Laplacian((40,))
    i = jnp.arange(1.0, 41.0)
    b = jnp.sin(jnp.pi * i / 41) + 1e-7 * jnp.sin(40 * jnp.pi * i / 41)
    solver = S.Chebyshev(1e-8, smallest=0.005, largest=3.8)
    found = kx.solve(A, b, solver, throw=False)
    history = found.stats.residuals
    assert found.status == kx.Status.diverged
    assert history[-1] > 1e12
    every_32 = history[::32].min()
    assert every_32 < 0.2
    assert found.stats.relative_residual == pytest.approx(float(every_32), rel=1e-6)
