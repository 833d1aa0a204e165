from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.sequences import solve_sequence

from ...helpers import relative_error, solution_tolerance
from ..cases import ROWS, RTOL, operator, problem

Status = kx.Status
MATRIX, B = problem("poisson_1d")
FACTORS = [1.0, 1.01, 1.02, 1.03]


def systems(row: str = "gcrodr") -> list[tuple[Any, np.ndarray]]:
    return [(operator(row, factor * MATRIX), B) for factor in FACTORS]


def run(row: str, given: list[tuple[Any, Any]], **options: Any) -> list[Any]:
    return list(solve_sequence(given, ROWS[row].solver(), **options))


def test_later_systems_take_fewer_steps_than_cold_ones():
    warm = run("gcrodr", systems())
    cold = [kx.solve(A, b, ROWS["gcrodr"].solver()) for A, b in systems()]
    assert warm[0].stats.num_steps == cold[0].stats.num_steps
    assert all(
        a.stats.num_matvecs < b.stats.num_matvecs
        for a, b in zip(warm[1:], cold[1:], strict=True)
    )


@pytest.mark.parametrize("row", ["cg", "gcrodr", "gcrodr_harmonic_per_system"])
def test_every_solution_is_that_of_a_dense_solve(row: str):
    expected = problem("poisson_1d")
    slack = solution_tolerance(expected.cond, RTOL["float64"], "float64")
    errors = [
        relative_error(factor * found.value, expected.solution)
        for factor, found in zip(FACTORS, run(row, systems(row)), strict=True)
    ]
    assert max(errors) <= slack


def test_failures_are_reported_and_do_not_spoil_what_follows():
    bad = np.full_like(B, np.nan)
    given = systems()
    given[1] = (given[1][0], bad)
    found = run("gcrodr", given)
    assert [int(s.status) for s in found] == [
        Status.converged,
        Status.nonfinite_input,
        Status.converged,
        Status.converged,
    ]
    assert found[2].stats.num_steps < found[0].stats.num_steps


def test_system_that_does_not_converge_does_not_spoil_what_follows():
    hard = problem("wide_spectrum")
    given = [systems()[0], (operator("gcrodr", hard.matrix), hard.b), systems()[2]]
    found = run("gcrodr", given)
    assert [int(s.status) for s in found] == [
        Status.converged,
        Status.max_steps_reached,
        Status.converged,
    ]


def test_sequence_goes_on_from_a_given_carry():
    first = run("gcrodr", systems()[:2])
    rest = run("gcrodr", systems()[2:], carry=first[-1].carry)
    whole = run("gcrodr", systems())
    assert [int(s.stats.num_steps) for s in first + rest] == [
        int(s.stats.num_steps) for s in whole
    ]


def test_preconditioner_is_made_anew_for_each_operator():
    found = run("gcrodr", systems(), preconditioner=kx.solvers.Jacobi())
    assert [int(s.status) for s in found] == [Status.converged] * 4
    assert all(s.stats.num_preconditioner_calls > 0 for s in found)


def test_systems_are_taken_as_they_are_needed():
    taken = []

    def generated() -> Any:
        for i, system in enumerate(systems()):
            taken.append(i)
            yield system

    sequence = solve_sequence(generated(), ROWS["gcrodr"].solver())
    next(sequence)
    assert taken == [0]


def test_sequence_of_no_systems_is_empty():
    assert run("gcrodr", []) == []


def test_carry_holds_no_memory_of_how_many_systems_there_were():
    found = run("gcrodr", systems())
    sizes = {s.carry.U.shape for s in found}
    assert sizes == {(6, 48)}
    assert all(jnp.all(jnp.isfinite(s.carry.U)) for s in found)
