"""A cap holds wherever its solver is nested."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import krylax as kx
from krylax.solvers.sequences import solve_batch

CAP = 3
A = kx.operators.Laplacian((40,))
B = jnp.arange(1.0, 41.0)
WITHIN = {
    "cg": kx.solvers.CG(rtol=1e-8),
    "minres": kx.solvers.MINRES(rtol=1e-8),
    "deflated_cg": kx.solvers.DeflatedCG(rtol=1e-8, num_recycled=2),
    "batched": kx.solvers.Batched(kx.solvers.CG(rtol=1e-8), num_lanes=2),
}


def system(b: Any) -> Any:
    return A, b


@pytest.mark.parametrize("name", WITHIN)
def test_capped_solve_ends_at_the_cap_and_says_so(name: str):
    found = kx.solve(A, B, kx.solvers.Capped(WITHIN[name], CAP), throw=False)
    assert int(found.stats.num_steps) == CAP
    assert found.status == kx.Status.max_steps_reached


@pytest.mark.parametrize("name", ["cg", "deflated_cg"])
@pytest.mark.parametrize("around", ["batched", "lanes", "sequence"])
def test_cap_holds_for_every_system_of_a_batch(name: str, around: str):
    capped = kx.solvers.Capped(WITHIN[name], CAP)
    bs = jnp.stack([B, B[::-1], B**2])
    found = {
        "batched": lambda: jax.vmap(
            lambda b: kx.solve(A, b, kx.solvers.Batched(capped, 2), throw=False)
        )(bs),
        "lanes": lambda: solve_batch(system, bs, capped, num_lanes=2),
        "sequence": lambda: solve_batch(system, bs, capped),
    }[around]()
    assert found.stats.num_steps.tolist() == [CAP] * 3
    assert found.status.tolist() == [kx.Status.max_steps_reached] * 3


def test_refinement_of_a_capped_solver_ends():
    inner = kx.solvers.Capped(kx.solvers.CG(rtol=1e-3), CAP)
    found = kx.solve(A, B, kx.solvers.Refinement(inner), throw=False)
    assert found.status == kx.Status.max_steps_reached
