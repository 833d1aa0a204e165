"""Solves in programs that are exported, that look for NaN, or are traced in settings.

`jit`, `vmap`, `grad` and `jvp` of every row are in test_all_solvers.py, `shard_map` in
test_sharding.py; the whole suite runs with strict promotion of types and ranks.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import relative_error, solution_tolerance, to_vector
from . import preconditioner_cases as preconditioners
from .cases import KINDS, ROWS, RTOL, operator, problem

Status = kx.Status
# One row of each class.
TWICE = ("cg_single_reduction", "flexible_cg_of_four", "gcrodr_harmonic_per_system")
each_row = pytest.mark.parametrize("row", [row for row in ROWS if row not in TWICE])
# What a derivative is, no solver has a part in.
each_kind = pytest.mark.parametrize("row", KINDS)
GOOD = RTOL["float64"]


def system(row: str) -> tuple[np.ndarray, np.ndarray]:
    return problem(ROWS[row].problems[0])


def numbers_of(solution: Any) -> Any:
    """The solution's value, and its statistics that are no counts."""
    stats = solution.stats
    return solution.value, (stats.relative_residual, stats.residual, stats.history)


@cache
def exported(row: str, with_derivatives: bool = False) -> Any:
    """A solve, to a given tolerance, or its derivatives in both modes, stored."""
    pytest.importorskip("flatbuffers")

    def solved(matrix: Any, b: Any, rtol: Any) -> Any:
        solver = ROWS[row].make(rtol=rtol)
        found = kx.solve(operator(row, matrix), b, solver, throw=False)
        carry = jax.tree.leaves(found.carry)
        return numbers_of(found), {"status": found.status, "carry": carry}

    def value(matrix: Any, b: Any, rtol: Any) -> dict[str, Any]:
        (value, stats), rest = solved(matrix, b, rtol)
        return rest | {"value": value, "stats": stats}

    def derivatives(matrix: Any, b: Any, direction: Any) -> dict[str, Any]:
        (value, _), push, _ = jax.linearize(
            lambda b: solved(matrix, b, GOOD), b, has_aux=True
        )
        change, of_stats = push(direction)
        pull_back = jax.linear_transpose(push, direction)
        zeros = jax.tree.map(jnp.zeros_like, of_stats)
        ones = jax.tree.map(jnp.ones_like, of_stats)
        return {
            "change": change,
            "pulled_back": pull_back((direction, zeros))[0],
            "of_stats": (of_stats, pull_back((jnp.zeros_like(value), ones))[0]),
        }

    matrix, b = system(row)
    run, last = (derivatives, b) if with_derivatives else (value, 0.0)
    return jax.export.deserialize(
        jax.export.export(jax.jit(run))(matrix, b, last).serialize()
    )


@each_row
def test_exported_solve_is_that_of_dense_algebra(row: str):
    matrix, b = system(row)
    found = exported(row).call(matrix, b, GOOD)
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), GOOD, "float64")
    assert found["status"] == Status.converged
    assert relative_error(found["value"], np.linalg.solve(matrix, b)) <= slack


@each_kind
def test_exported_derivatives_are_those_of_dense_algebra(row: str):
    matrix, b = system(row)
    direction = np.cos(np.arange(len(b)))
    found = exported(row, with_derivatives=True).call(matrix, b, direction)
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), GOOD, "float64")
    expected = np.linalg.solve(matrix, direction)
    assert relative_error(found["change"], expected) <= slack
    transposed = np.linalg.solve(matrix.T, direction)
    assert relative_error(found["pulled_back"], transposed) <= slack


@each_kind
def test_statistics_have_derivative_zero_in_both_modes(row: str):
    matrix, b = system(row)
    found = exported(row, with_derivatives=True).call(matrix, b, np.ones_like(b))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(found["of_stats"]))


@pytest.mark.parametrize("rtol", [np.nan, np.inf, -1.0])
@each_row
def test_tolerance_that_is_traced_and_bad_ends_with_a_status(row: str, rtol: float):
    matrix, b = system(row)
    found = exported(row).call(matrix, b, rtol)
    # Below zero is as zero: what rounding allows.
    ends = [Status.attained, Status.max_steps_reached, Status.stagnated]
    ends = ends if rtol < 0 else [Status.nonfinite_input]
    assert found["status"] in ends
    assert np.all(np.isfinite(found["value"]))


@each_row
def test_solve_has_no_nan_on_its_way(row: str):
    matrix, b = system(row)
    with jax.debug_nans(True):
        found = exported(row).call(matrix, b, GOOD)
        still = exported(row).call(matrix, np.zeros_like(b), GOOD)
    assert found["status"] == still["status"] == Status.converged


@pytest.mark.parametrize("row", preconditioners.ROWS)
def test_exported_solve_with_a_preconditioner_is_that_without_export(row: str):
    pytest.importorskip("flatbuffers")
    name = preconditioners.ROWS[row].operators[0]
    A = preconditioners.operator(name)
    leaves, tree = jax.tree.flatten(A)
    solver, factory = preconditioners.solver(name), preconditioners.ROWS[row].make()

    def run(leaves: Any, b: Any) -> Any:
        A = tree.unflatten(leaves)
        return kx.solve(A, b, solver, preconditioner=factory, throw=False).value

    b = preconditioners.right_hand_side(A)
    stored = jax.export.export(jax.jit(run))(leaves, b).serialize()
    with jax.debug_nans(True):
        found = jax.export.deserialize(stored).call(leaves, b)
        direct = preconditioners.solved(row, name)
    error = relative_error(to_vector(found), to_vector(direct.value))
    assert error <= 100 * preconditioners.RTOL["float64"]
    assert preconditioners.true_residual(A, found) <= preconditioners.RTOL["float64"]


def test_solve_that_raises_is_not_exported():
    pytest.importorskip("flatbuffers")
    A, solver = kx.operators.Laplacian((6,)), kx.solvers.CG()
    program = jax.jit(lambda b: kx.solve(A, b, solver).value)
    with pytest.raises(NotImplementedError, match="callback"):
        jax.export.export(program)(jnp.ones(6)).serialize()


@pytest.mark.parametrize("omega", [-1.0, 0.0, 2.0, 3.0, np.nan, np.inf])
def test_factor_that_is_traced_and_bad_ends_with_a_status(omega: float):
    found = with_factor(omega)
    assert not any(status == Status.converged for status in found["status"])
    assert all(np.all(np.isfinite(value)) for value in found["value"])


@jax.jit
def with_factor(omega: Any) -> Any:
    matrix, b = problem("diffusion_2d")
    A = kx.operators.Dense(matrix, tags=["positive_definite"])
    S, options = kx.solvers, {"max_steps": 40}
    found = [
        kx.solve(A, b, S.SOR(omega=omega, **options), throw=False),
        kx.solve(A, b, S.AdaptiveSOR(omega=omega, **options), throw=False),
        kx.solve(A, b, S.CG(**options), preconditioner=S.SSOR(omega), throw=False),
    ]
    return {
        "status": [one.status for one in found],
        "value": [one.value for one in found],
    }
