"""Which cycle `Multigrid()` takes, and which axes it halves first."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.multigrid._suited_coarsening import suited_coarsening

ops: Any = kx.operators
Multigrid: Any = kx.solvers.Multigrid
ONES = np.ones((40, 48))
ROWS, COLUMNS = np.indices((40, 48))
DISK = (ROWS - 20) ** 2 + (COLUMNS - 24) ** 2 < 20
LAYERS = np.where(ROWS % 2, 1e4, 1.0)
STRETCHED = (1.0, 1 / 8)


def kinds() -> dict[str, Any]:
    """Operators, each with what suits it."""
    phases = np.where(np.sin(ROWS / 6) + np.sin(COLUMNS / 7) > 0, 12.0, 3.0)
    walls = np.where(COLUMNS % 4 == 2, 1, 2)
    walls[:2] = 3
    flow = (jnp.ones((40, 48)), jnp.ones((40, 48)))
    cube = np.ones((12, 12, 12))
    cheap, robust = ("cheap", ()), ("robust", ())
    return {
        "constant": (ops.Diffusion(ONES), cheap),
        "laplacian": (ops.Laplacian((40, 48)), cheap),
        "two phases": (ops.Diffusion(phases), cheap),
        "one island": (ops.Diffusion(np.where(DISK, 1e4, 1.0)), cheap),
        "layers": (ops.Diffusion(LAYERS), robust),
        "multiple of layers": (3.0 * ops.Diffusion(LAYERS), robust),
        "walls": (ops.MaskedPoisson(walls), robust),
        "stretched": (ops.Diffusion(ONES, STRETCHED), ("cheap", (0, 3))),
        "stretched laplacian": (ops.Laplacian((40, 48), STRETCHED), ("cheap", (0, 3))),
        "stretched phases": (ops.Diffusion(phases, STRETCHED), ("cheap", (0, 3))),
        "stretched layers": (ops.Diffusion(LAYERS, STRETCHED), robust),
        "tiny": (ops.Diffusion(1e-300 * ONES, STRETCHED), ("cheap", (0, 3))),
        "box": (ops.Diffusion(cube, (1.0, 0.5, 0.1)), ("cheap", (0, 1, 3))),
        "flow": (ops.ConvectionDiffusion(jnp.ones((40, 48)), flow), cheap),
        "complex": (ops.Diffusion(LAYERS * (1 + 1j)), cheap),
        "line": (ops.Diffusion(np.where(ROWS // 3 % 2, 1e4, 1.0)[:, 0]), robust),
        "two cells": (ops.Diffusion(np.array([[1.0, 1e4], [1.0, 1.0]])), cheap),
        "no stencil": (ops.Dense(jnp.eye(4)), cheap),
    }


@pytest.mark.parametrize("kind", kinds())
def test_numbers_choose_the_cycle(kind: str):
    A, expected = kinds()[kind]
    assert suited_coarsening(A) == expected


def test_what_is_traced_is_robust_on_two_axes_alone():
    def is_robust(A: Any) -> Any:
        return jnp.asarray(suited_coarsening(A)[0] == "robust")

    plane, box = ops.Diffusion(np.ones((6, 6))), ops.Diffusion(np.ones((6, 6, 6)))
    assert jax.jit(is_robust)(plane)
    assert not jax.jit(is_robust)(box)
    # The numbers of a constant are known.
    assert not jax.jit(lambda: is_robust(plane))()


def test_stretched_cells_cost_few_steps():
    """Without it 26."""
    A, solver = ops.Diffusion(ONES, STRETCHED), kx.solvers.CG(rtol=1e-8)
    found = kx.solve(A, jnp.ones((40, 48)), solver, preconditioner=Multigrid())
    assert int(found.stats.num_steps) <= 11
    M = jax.jit(lambda A: Multigrid(semicoarsening=(0, 3))(A))(A)
    assert [level.coarse_shape for level in M.levels[:4]] == [
        (40, 24),
        (40, 12),
        (40, 6),
        (20, 3),
    ]


def test_halvings_that_do_not_fit_are_refused():
    for halvings in [3, (0, -1), (0.5, 0)]:
        with pytest.raises(ValueError, match=r"semicoarsening"):
            Multigrid(semicoarsening=halvings)
    with pytest.raises(ValueError, match="is for the cheap cycle"):
        Multigrid(cycle="robust", semicoarsening=(0, 1))
    with pytest.raises(ValueError, match=r"a number per axis, 2, got \(1,\)"):
        Multigrid(semicoarsening=(1,))(ops.Diffusion(ONES))
