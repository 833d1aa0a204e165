"""Batches of systems in one program: the same as one after the other outside of it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.sequences import solve_batch, solve_sequence

from ...helpers import types_unchecked

SHAPE = (9, 8)
FACTORS = jax.device_put(np.linspace(1.0, 1.4, 6))
FIELD = jax.device_put(np.random.default_rng(0).random(SHAPE))
CHAIN = kx.solvers.GCRODR(rtol=1e-9, restart=16, num_recycled=6)
CG = kx.solvers.CG(rtol=1e-9)


def system(factor: Any) -> Any:
    return kx.operators.Diffusion(1 + factor * FIELD), jnp.ones(SHAPE)


@dataclass(frozen=True)
class Scaled:
    """A system as a function that is equal to another one of the same scale."""

    scale: float

    def __call__(self, factor: Any) -> Any:
        A, b = system(factor)
        return A, self.scale * b


@pytest.mark.parametrize("solver", [CHAIN, CG], ids=["gcrodr", "cg"])
def test_batch_is_the_sequence_of_its_systems(solver: Any):
    found = solve_batch(system, FACTORS, solver, preconditioner=kx.solvers.Jacobi())
    one_by_one = list(
        solve_sequence(map(system, FACTORS), solver, preconditioner=kx.solvers.Jacobi())
    )
    steps = [int(s.stats.num_steps) for s in one_by_one]
    assert found.stats.num_steps.tolist() == steps
    assert found.status.tolist() == [0] * 6
    for value, other in zip(found.value, one_by_one, strict=True):
        np.testing.assert_allclose(value, other.value, rtol=1e-6)


def test_batch_goes_on_from_the_carry_of_another_one():
    whole = solve_batch(system, FACTORS, CHAIN)
    first = solve_batch(system, FACTORS[:2], CHAIN)
    rest = solve_batch(system, FACTORS[2:], CHAIN, carry=first.carry)
    steps = [*first.stats.num_steps.tolist(), *rest.stats.num_steps.tolist()]
    assert steps == whole.stats.num_steps.tolist()


def test_frozen_space_is_handed_to_every_system_and_back():
    space = solve_batch(system, FACTORS[:1], CHAIN).carry
    found = solve_batch(system, FACTORS, CHAIN, carry=space, recycle="frozen")
    systems = [system(f) for f in FACTORS]
    alone = [kx.solve(A, b, CHAIN, carry=space) for A, b in systems]
    steps = [int(s.stats.num_steps) for s in alone]
    assert found.stats.num_steps.tolist() == steps
    assert jax.tree.all(jax.tree.map(np.array_equal, found.carry, space))


def test_start_from_the_previous_solution_saves_steps():
    factors = jnp.linspace(1.0, 1.001, 6)
    zero, previous = (
        solve_batch(system, factors, CG, start=start) for start in ("zero", "previous")
    )
    assert zero.stats.num_steps[0] == previous.stats.num_steps[0]
    assert all(previous.stats.num_steps[1:] < zero.stats.num_steps[1:])
    assert previous.status.tolist() == [0] * 6


def test_failure_does_not_spoil_what_follows():
    factors = FACTORS.at[2].set(jnp.nan)
    found = solve_batch(system, factors, CHAIN, start="previous")
    nonfinite = int(kx.Status.nonfinite_input)
    assert found.status.tolist() == [0, 0, nonfinite, 0, 0, 0]
    assert bool(jnp.all(jnp.isfinite(found.value)))


def test_one_operator_preconditions_all_systems():
    shared = kx.solvers.Multigrid()(system(1.2)[0])
    found = solve_batch(system, FACTORS, CG, preconditioner=shared)
    plain = solve_batch(system, FACTORS, CG)
    assert all(found.stats.num_steps < plain.stats.num_steps)


def test_batches_side_by_side_are_batches_alone():
    both = jnp.stack([FACTORS, 1.3 * FACTORS])
    found = jax.vmap(lambda f: solve_batch(system, f, CHAIN))(both)
    for row, factors in enumerate(both):
        alone = solve_batch(system, factors, CHAIN)
        assert found.stats.num_steps[row].tolist() == alone.stats.num_steps.tolist()


@pytest.mark.parametrize("solver", [CHAIN, CG], ids=["gcrodr", "cg"])
def test_derivatives_of_a_batch_are_those_of_dense_solves(solver: Any):
    def total(factors: Any, is_dense: bool) -> Any:
        if not is_dense:
            return jnp.sum(solve_batch(system, factors, solver).value ** 2)
        matrices = jax.vmap(lambda factor: system(factor)[0].as_matrix())(factors)
        return jnp.sum(
            jax.vmap(jnp.linalg.solve, (0, None))(matrices, np.ones(72)) ** 2
        )

    direction = np.cos(np.arange(6.0))
    gradient = jax.jit(jax.grad(total), static_argnums=1)
    reverse, expected = gradient(FACTORS, False), gradient(FACTORS, True)
    push = jax.jit(lambda f, along: jax.jvp(lambda f: total(f, False), (f,), (along,)))
    _, forward = push(FACTORS, direction)
    np.testing.assert_allclose(reverse, expected, rtol=1e-6)
    np.testing.assert_allclose(forward, expected @ direction, rtol=1e-6)


def test_equal_functions_share_a_program():
    others = 1.1 * FACTORS
    solve_batch(Scaled(2.0), FACTORS, CG)
    with jax.no_tracing(True):
        solve_batch(Scaled(2.0), others, CG)


@pytest.mark.parametrize(
    ("parameters", "options", "message"),
    [
        (FACTORS, {"recycle": "tree"}, "recycle must be one of"),
        (FACTORS, {"start": "nearest"}, "start must be one of"),
        (jnp.ones(()), {}, "along their first axis"),
        ((FACTORS, FACTORS[:2]), {}, "along their first axis"),
    ],
)
def test_what_makes_no_sense_is_refused(parameters: Any, options: Any, message: str):
    with types_unchecked(), pytest.raises(ValueError, match=message):
        solve_batch(system, parameters, CG, **options)
