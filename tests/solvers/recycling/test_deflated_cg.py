"""Deflated CG: its identities, what a carried space is worth, what it must survive."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax import lax

import krylax as kx
from krylax.solvers.sequences import solve_sequence

from ...gallery import from_spectrum, random_unitary
from ...helpers import relative_error, solution_tolerance
from ..cases import (
    DEFINITE,
    NUM_RECYCLED,
    ROWS,
    RTOL,
    approximate_inverse,
    deflated_cg,
    operator,
    problem,
    solve,
    solved,
)
from ..test_solve import counted_solve
from .test_gcrodr import DEFECTIVE, IDENTITY, carry_of, changed, pair_errors

Status = kx.Status
ROW = "deflated_cg"
SOLVER = ROWS[ROW].solver()
SMALL = np.r_[np.geomspace(1e-4, 1e-2, NUM_RECYCLED), np.linspace(1, 5, 42)]
"""A spectrum of as many small eigenvalues as are recycled, and 42 others."""


def definite(matrix: Any) -> Any:
    return kx.operators.Dense(matrix, tags=["positive_definite"])


def nearby(matrix: np.ndarray) -> np.ndarray:
    """A related matrix, symmetric too."""
    other = changed(matrix)
    return (other + other.T) / 2


@cache
def carried(before: str, name: str = "poisson_1d") -> Any:
    """The matrix of a solve and its solution, after what was solved before."""
    matrix, b = problem(name)
    carry = None if before == "cold" else carried("cold", name)[1].carry
    current = {"changed": nearby(matrix)}.get(before, matrix)
    return current, kx.solve(definite(current), b, SOLVER, carry=carry)


@pytest.mark.parametrize("before", ["cold", "same", "changed"])
def test_recycled_pair_is_a_pair_after_every_solve(before: str):
    matrix, found = carried(before)
    assert int(found.carry.num_vectors) == NUM_RECYCLED
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@pytest.mark.parametrize("preconditioner", ["jacobi", "operator"])
def test_recycled_pair_is_a_pair_with_a_preconditioner(preconditioner: str):
    found = solved(ROW, "diffusion_2d", preconditioner=preconditioner)
    errors = pair_errors(problem("diffusion_2d").matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@pytest.mark.parametrize("preconditioner", ["none", "operator"])
def test_recycled_pair_is_a_pair_in_complex_arithmetic(preconditioner: str):
    name = "complex_hermitian"
    found = solved(ROW, name, "complex128", preconditioner)
    errors = pair_errors(problem(name, "complex128").matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@pytest.mark.parametrize("name", ["poisson_1d", "complex_hermitian"])
def test_recycled_vectors_are_images_of_the_preconditioner(name: str):
    dtype = {"complex_hermitian": "complex128"}.get(name, "float64")
    matrix, b = problem(name, dtype)
    M = approximate_inverse(ROW, matrix)
    first = solve(ROW, matrix, b, preconditioner=M)
    second = solve(ROW, matrix, b[::-1], preconditioner=M, carry=first.carry)
    assert relative_error(M.mm(first.carry.Y), first.carry.U) <= IDENTITY
    assert relative_error(M.mm(second.carry.Y), second.carry.U) <= IDENTITY


def test_recycled_vectors_stand_for_themselves_without_a_preconditioner():
    _, found = carried("changed")
    assert np.array_equal(found.carry.Y, found.carry.U)


@pytest.mark.parametrize("name", DEFINITE)
@pytest.mark.parametrize("preconditioner", ["none", "jacobi", "operator"])
def test_first_solve_of_a_sequence_is_cg(name: str, preconditioner: str):
    found = solved(ROW, name, preconditioner=preconditioner).stats
    plain = solved("cg", name, preconditioner=preconditioner).stats
    assert abs(int(found.num_steps) - int(plain.num_steps)) <= 1
    # What CG confirms is the deflated system: the certificate is one product more.
    beside_steps = plain.num_matvecs - plain.num_steps
    assert int(found.num_matvecs - found.num_steps) == int(beside_steps) + 1


@pytest.mark.parametrize("is_warm", [False, True])
def test_counts_are_those_of_the_calls(is_warm: bool):
    carry = solved(ROW, "diffusion_2d").carry if is_warm else None
    found, products, calls = counted_solve(ROW, x0=np.ones(48), carry=carry)
    assert int(found.stats.num_preconditioner_calls) == len(calls)
    assert int(found.stats.num_matvecs) == len(products)


def test_exact_invariant_subspace_gives_the_steps_of_the_deflated_spectrum():
    Q, matrix = random_unitary(48), from_spectrum(SMALL)
    low, b = Q[:, :NUM_RECYCLED], np.cos(np.arange(48))
    A, plain = definite(matrix), kx.solvers.CG(rtol=0.0, atol=1e-8)
    recycling = deflated_cg(rtol=0.0, atol=1e-8)
    found = kx.solve(A, b, recycling, carry=carry_of(low.T))
    without = kx.solve(A, b - low @ (low.T @ b), plain)
    assert found.stats.num_steps == without.stats.num_steps
    assert found.stats.num_steps < kx.solve(A, b, plain).stats.num_steps


@pytest.mark.parametrize("weights", [np.ones(48), np.linspace(0.5, 2, 48)])
def test_recycled_space_holds_the_smallest_eigenvectors(weights: np.ndarray):
    matrix, b = from_spectrum(SMALL), np.cos(np.arange(48))
    M = kx.operators.Diagonal(weights, tags=["positive_definite"])
    found = kx.solve(definite(matrix), b, SOLVER, preconditioner=M)
    # Of M⁻¹A, where M⁻¹ is what is called the preconditioner.
    _, vectors = scipy.linalg.eigh(matrix, np.diag(1 / weights))
    smallest = vectors[:, :NUM_RECYCLED]
    angles = scipy.linalg.subspace_angles(np.asarray(found.carry.U).T, smallest)
    assert np.max(angles) <= 1e-2


def islands(time: float) -> Any:
    """Four conducting blocks in a poor conductor: Jacobi leaves 4 small eigenvalues."""
    k = np.ones((20, 20))
    for i, j in np.ndindex(2, 2):
        block = 1e4 * (1 + 0.3 * np.sin(i + 3 * j + time))
        k[2 + 10 * i : 8 + 10 * i, 2 + 10 * j : 8 + 10 * j] = block
    return kx.operators.Diffusion(k)


def test_slowly_changing_diffusion_takes_less_than_half_the_steps():
    b = np.random.default_rng(0).standard_normal((20, 20))
    systems = [(islands(0.1 * i), b) for i in range(3)]
    jacobi = kx.solvers.Jacobi()
    warm = list(solve_sequence(systems, SOLVER, preconditioner=jacobi))
    solver = kx.solvers.CG(rtol=RTOL["float64"])
    cold = [kx.solve(A, b, solver, preconditioner=jacobi) for A, _ in systems]
    steps = [int(s.stats.num_steps) for s in warm]
    expected = [int(s.stats.num_steps) for s in cold]
    assert steps[0] == expected[0]
    assert max(steps[1:]) < min(expected) / 2


@pytest.mark.parametrize("num_directions", [1, 5, 100])
def test_any_number_of_directions_finds_what_to_deflate(num_directions: int):
    matrix, b = problem("nearly_singular")
    solver = deflated_cg(rtol=1e-10, num_directions=num_directions)
    first = kx.solve(definite(matrix), b, solver)
    second = kx.solve(definite(matrix), b, solver, carry=first.carry)
    assert second.stats.num_steps < first.stats.num_steps


def test_same_system_again_is_strictly_cheaper():
    first, second = carried("cold")[1].stats, carried("same")[1].stats
    assert second.num_steps < first.num_steps
    assert second.num_matvecs < first.num_matvecs


@pytest.mark.parametrize("name", DEFINITE)
def test_carry_of_an_unrelated_system_costs_little(name: str):
    matrix, b = problem(name)
    warm = solve(ROW, matrix, b, carry=carried("cold")[1].carry)
    plain = solved("cg", name).stats
    assert warm.status == Status.converged
    assert int(warm.stats.num_steps) <= 1.1 * int(plain.num_steps)


@pytest.mark.parametrize("name", ["complex_hermitian", "diffusion_2d"])
def test_carry_saves_steps_in_every_precision(name: str):
    dtype = {"complex_hermitian": "complex128"}.get(name, "float32")
    matrix, b = problem(name, dtype)
    first = solve(ROW, matrix, b, dtype)
    second = solve(ROW, matrix, b[::-1], dtype, carry=first.carry)
    assert second.status == Status.converged
    assert second.stats.num_steps < first.stats.num_steps


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize("preconditioner", ["none", "jacobi"])
def test_scale_of_the_operator_does_not_matter_in_single_precision(
    scale: float, preconditioner: str
):
    matrix, b = problem("diffusion_2d", "float32")
    scaled = (scale * matrix.astype(float)).astype(np.float32)
    M = {"jacobi": kx.solvers.Jacobi()}.get(preconditioner)
    first = solve(ROW, scaled, b, "float32", preconditioner=M)
    second = solve(ROW, scaled, b[::-1], "float32", preconditioner=M, carry=first.carry)
    assert second.status == Status.converged
    assert second.stats.num_steps < first.stats.num_steps


@pytest.mark.parametrize("defect", DEFECTIVE)
def test_rank_deficient_carry_does_no_harm(defect: str):
    matrix, b = problem("diffusion_2d")
    rows = random_unitary(48, seed=3)[:NUM_RECYCLED]
    found = solve(ROW, matrix, b, carry=carry_of(DEFECTIVE[defect](rows)))
    assert found.status == Status.converged
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_carry_that_is_not_finite_is_told_and_not_handed_on(value: float):
    matrix, b = problem("diffusion_2d")
    rows = random_unitary(48, seed=3)[:NUM_RECYCLED]
    rows[2, 7] = value
    found = solve(ROW, matrix, b, carry=carry_of(rows))
    assert found.status == Status.nonfinite_input
    assert np.all(np.isfinite(found.value))
    after = solve(ROW, matrix, b, carry=found.carry)
    assert after.status == Status.converged


@pytest.mark.parametrize("name", ["wide_spectrum", "indefinite"])
def test_failed_solve_hands_on_a_usable_carry(name: str):
    failed = solve(ROW, *problem(name))
    matrix, b = problem("diffusion_2d")
    found = solve(ROW, matrix, b, carry=failed.carry)
    assert failed.status in (Status.max_steps_reached, Status.indefinite_operator)
    assert found.status == Status.converged


def test_indefinite_operator_is_told():
    failed = solve(ROW, *problem("indefinite"), carry=carried("cold")[1].carry)
    assert failed.status == Status.indefinite_operator


def test_zero_right_hand_side_keeps_the_space():
    matrix, b = problem("poisson_1d")
    carry = carried("cold")[1].carry
    found = solve(ROW, matrix, np.zeros_like(b), carry=carry)
    assert found.stats.num_steps == 0
    angles = scipy.linalg.subspace_angles(carry.U.T, found.carry.U.T)
    assert np.max(angles) <= IDENTITY


def test_exact_start_is_kept_with_a_carry():
    matrix, b = problem("poisson_1d")
    exact = problem("poisson_1d").solution
    carry = carried("cold")[1].carry
    found = solve(ROW, matrix, b, x0=jnp.asarray(exact), carry=carry)
    assert found.stats.num_steps == 0
    assert np.array_equal(found.value, exact)


def test_space_of_all_unknowns_solves_without_steps():
    matrix = np.diag([1.0, 2.0, 3.0])
    solver = deflated_cg(rtol=1e-10)
    A, b = definite(matrix), np.ones(3)
    first = kx.solve(A, b, solver)
    second = kx.solve(A, b[::-1], solver, carry=first.carry)
    assert int(second.stats.num_steps) == 0
    slack = solution_tolerance(3, 1e-10, "float64")
    assert relative_error(second.value, 1 / np.diagonal(matrix)) <= slack


def test_gradient_with_a_carry_is_that_of_the_dense_solve():
    matrix, b = problem("poisson_1d")
    carry = carried("cold")[1].carry

    def total(matrix: Any, b: Any) -> Any:
        return jnp.sum(solve(ROW, matrix, b, carry=carry).value)

    by_matrix, by_b = jax.grad(total, (0, 1))(jnp.asarray(matrix), jnp.asarray(b))
    adjoint = np.linalg.solve(matrix, np.ones(48))
    x = np.linalg.solve(matrix, b)
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), RTOL["float64"], "float64")
    assert relative_error(by_b, adjoint) <= slack
    assert relative_error(by_matrix, -np.outer(adjoint, x)) <= slack


def test_scan_over_a_sequence_carries_like_a_loop():
    matrix, b = problem("poisson_1d")
    matrices = np.stack([matrix, nearby(matrix), matrix])

    def body(carry: Any, matrix: Any) -> tuple[Any, Any]:
        solution = kx.solve(definite(matrix), b, SOLVER, carry=carry, throw=False)
        return solution.carry, solution.stats.num_steps

    start = SOLVER.initial_carry(definite(matrix).in_structure)
    _, steps = jax.jit(lambda c, As: lax.scan(body, c, As))(start, matrices)
    loop = solve_sequence([(definite(A), b) for A in matrices], SOLVER)
    assert steps.tolist() == [int(s.stats.num_steps) for s in loop]


@pytest.mark.parametrize("is_queued", [False, True])
def test_vmap_over_carries_gives_each_system_its_own(is_queued: bool):
    matrix, b = problem("poisson_1d")
    A = definite(matrix)
    solver: Any = kx.solvers.Batched(SOLVER, num_lanes=1) if is_queued else SOLVER
    carries = [SOLVER.initial_carry(A.in_structure), carried("cold")[1].carry]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *carries)
    found = jax.vmap(lambda c: kx.solve(A, b, solver, carry=c, throw=False))(stacked)
    each = [kx.solve(A, b, SOLVER, carry=carry) for carry in carries]
    assert found.stats.num_steps.tolist() == [int(s.stats.num_steps) for s in each]
    assert found.stats.num_matvecs.tolist() == [int(s.stats.num_matvecs) for s in each]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_carry_of_a_singular_operator_saves_steps_again_and_again(dtype: str):
    b = np.random.default_rng(0).standard_normal((12, 10))
    rhs = (b - b.mean()).astype(dtype)
    k = np.ones((12, 10), dtype)
    A = kx.operators.Diffusion(k, boundary="neumann", nullspace="constant")
    solver = ROWS[ROW].solver(dtype)
    found = list(solve_sequence([(A, rhs)] * 6, solver))
    assert [int(s.status) for s in found] == [Status.converged] * 6
    steps = [int(s.stats.num_steps) for s in found]
    assert max(steps[1:]) < steps[0]


def test_unrolling_is_refused_with_the_remedy():
    matrix, b = problem("diffusion_2d")
    with pytest.raises(ValueError, match="DeflatedCG cannot be unrolled; use a method"):
        kx.solve(operator(ROW, matrix), b, SOLVER, unroll=3)


@pytest.mark.parametrize("name", ["num_recycled", "num_directions"])
@pytest.mark.usefixtures("as_users_run_it")
def test_counts_below_one_are_refused(name: str):
    settings: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        kx.solvers.DeflatedCG(**settings)
