"""Recycling MINRES: its identities, what a space is worth, what it must survive."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

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
    operator,
    problem,
    recycled_minres,
    solve,
    solved,
)
from ..test_solve import counted_solve
from .test_deflated_cg import nearby
from .test_gcrodr import DEFECTIVE, IDENTITY, carry_of, pair_errors

Status = kx.Status
ROW = "recycled_minres"
SOLVER = ROWS[ROW].solver()
PROBLEMS = ROWS[ROW].problems
SMALL = np.r_[
    np.geomspace(1e-3, 1e-2, 3), -np.geomspace(1e-3, 1e-2, 3), np.linspace(1, 5, 42)
]
"""As many small eigenvalues of both signs as are recycled, and 42 others."""


def two_signs() -> tuple[np.ndarray, np.ndarray]:
    """A system with that spectrum."""
    return from_spectrum(SMALL), np.cos(np.arange(48))


@cache
def carried(before: str) -> Any:
    """The matrix of a solve and its solution, after what was solved before."""
    matrix, b = two_signs()
    carry = None if before == "cold" else carried("cold")[1].carry
    current = {"changed": nearby(matrix)}.get(before, matrix)
    return current, solve(ROW, current, b, carry=carry)


@pytest.mark.parametrize("before", ["cold", "same", "changed"])
def test_recycled_pair_is_a_pair_after_every_solve(before: str):
    matrix, found = carried(before)
    assert found.status == Status.converged
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


@pytest.mark.parametrize("name", ["diffusion_2d", "complex_hermitian"])
def test_recycled_vectors_are_images_of_the_preconditioner(name: str):
    dtype = {"complex_hermitian": "complex128"}.get(name, "float64")
    matrix, b = problem(name, dtype)
    M = approximate_inverse(ROW, matrix)
    first = solve(ROW, matrix, b, preconditioner=M)
    second = solve(ROW, matrix, b[::-1], preconditioner=M, carry=first.carry)
    assert second.status == Status.converged
    assert relative_error(M.mm(first.carry.Y), first.carry.U) <= IDENTITY
    assert relative_error(M.mm(second.carry.Y), second.carry.U) <= IDENTITY


def test_recycled_vectors_stand_for_themselves_without_a_preconditioner():
    _, found = carried("changed")
    assert np.array_equal(found.carry.Y, found.carry.U)


@pytest.mark.parametrize(
    ("name", "preconditioner"),
    [
        *((name, "none") for name in PROBLEMS),
        *((name, "jacobi") for name in DEFINITE),
        *((name, "operator") for name in DEFINITE),
    ],
)
def test_first_solve_of_a_sequence_is_minres(name: str, preconditioner: str):
    found = solved(ROW, name, preconditioner=preconditioner).stats
    plain = solved("minres", name, preconditioner=preconditioner).stats
    assert abs(int(found.num_steps) - int(plain.num_steps)) <= 1
    extra = plain.num_matvecs - plain.num_steps
    assert int(found.num_matvecs - found.num_steps) == int(extra)


@pytest.mark.parametrize("is_warm", [False, True])
def test_counts_are_those_of_the_calls(is_warm: bool):
    carry = solved(ROW, "diffusion_2d").carry if is_warm else None
    found, products, calls = counted_solve(ROW, x0=np.ones(48), carry=carry)
    assert int(found.stats.num_preconditioner_calls) == len(calls)
    assert int(found.stats.num_matvecs) == len(products)


@pytest.mark.parametrize("weights", [np.linspace(0.5, 2, 48)])
def test_exact_invariant_subspace_gives_the_steps_of_the_deflated_spectrum(
    weights: np.ndarray | None,
):
    root = np.ones(48) if weights is None else np.sqrt(weights)
    # The split form has the spectrum of M⁻¹A, and eigenvectors with M⁻¹ taken out.
    Q, matrix = random_unitary(48), from_spectrum(SMALL) / np.outer(root, root)
    b, low = np.cos(np.arange(48)), root[:, None] * Q[:, :NUM_RECYCLED]
    M = None if weights is None else kx.operators.Diagonal(jnp.asarray(weights))
    A, plain = operator("minres", matrix), kx.solvers.MINRES(rtol=0.0, atol=1e-8)
    recycling = recycled_minres(rtol=0.0, atol=1e-8)
    found = kx.solve(A, b, recycling, preconditioner=M, carry=carry_of(low.T))
    image = low / root[:, None] ** 2
    without = kx.solve(A, b - image @ (low.T @ b), plain, preconditioner=M)
    cold = kx.solve(A, b, plain, preconditioner=M)
    assert abs(int(found.stats.num_steps) - int(without.stats.num_steps)) <= 1
    assert found.stats.num_steps < cold.stats.num_steps


@pytest.mark.parametrize("weights", [np.linspace(0.5, 2, 48)])
def test_recycled_space_holds_the_eigenvectors_of_smallest_modulus(weights: np.ndarray):
    matrix, b = two_signs()
    M = kx.operators.Diagonal(jnp.asarray(weights), tags=["positive_definite"])
    first = solve(ROW, matrix, b, preconditioner=M)
    found = solve(ROW, matrix, b, preconditioner=M, carry=first.carry)
    # Of M⁻¹A, where M⁻¹ is what is called the preconditioner.
    values, vectors = scipy.linalg.eigh(matrix, np.diag(1 / weights))
    smallest = vectors[:, np.argsort(np.abs(values))[:NUM_RECYCLED]]
    angles = scipy.linalg.subspace_angles(np.asarray(found.carry.U).T, smallest)
    assert np.max(angles) <= 1e-2


def cavity(time: float) -> Any:
    """Waves in a changing medium: 5 eigenvalues below zero."""
    x = np.linspace(0, 1, 20)
    index = 1 + 0.2 * np.sin(3 * x[:, None] + time) * np.cos(2 * x + time)
    return kx.operators.Helmholtz(jnp.ones((20, 20)), (0.45 * index) ** 2)


def test_slowly_changing_medium_takes_less_than_half_the_steps():
    b = np.random.default_rng(0).standard_normal((20, 20))
    systems = [(cavity(0.05 * i), b) for i in range(4)]
    solver = kx.solvers.RecycledMINRES(rtol=1e-8, num_recycled=20)
    warm = list(solve_sequence(systems, solver))
    plain = kx.solvers.MINRES(rtol=1e-8)
    cold = [int(kx.solve(A, b, plain).stats.num_steps) for A, _ in systems]
    steps = [int(s.stats.num_steps) for s in warm]
    assert abs(steps[0] - cold[0]) <= 1
    assert max(steps[1:]) < min(cold) / 2


@pytest.mark.parametrize("num_directions", [1, 100])
def test_any_number_of_directions_finds_what_to_deflate(num_directions: int):
    matrix, b = problem("nearly_singular")
    A = operator(ROW, matrix)
    solver = recycled_minres(rtol=1e-10, num_directions=num_directions)
    first = kx.solve(A, b, solver)
    second = kx.solve(A, b, solver, carry=first.carry)
    assert second.stats.num_steps < first.stats.num_steps


def test_same_system_again_is_strictly_cheaper():
    first, second = carried("cold")[1].stats, carried("same")[1].stats
    assert second.num_steps < first.num_steps
    assert second.num_matvecs < first.num_matvecs


def test_space_that_is_never_refreshed_stays_the_same_span():
    matrix, b = two_signs()
    A, solver = operator(ROW, nearby(matrix)), recycled_minres(1e-10, refresh="never")
    first = carried("cold")[1].carry
    second = kx.solve(A, b, solver, carry=first).carry
    assert np.max(scipy.linalg.subspace_angles(first.U.T, second.U.T)) <= IDENTITY


@pytest.mark.parametrize("name", PROBLEMS)
def test_carry_of_an_unrelated_system_costs_little(name: str):
    matrix, b = problem(name)
    warm = solve(ROW, matrix, b, carry=carried("cold")[1].carry)
    plain = solved("minres", name).stats
    assert warm.status == Status.converged
    bound = 1.1 * int(plain.num_matvecs) + NUM_RECYCLED + 1
    assert int(warm.stats.num_matvecs) <= bound


@pytest.mark.parametrize("name", ["complex_hermitian", "diffusion_2d"])
def test_carry_saves_steps_in_every_precision(name: str):
    dtype = {"complex_hermitian": "complex128"}.get(name, "float32")
    matrix, b = problem(name, dtype)
    first = solve(ROW, matrix, b, dtype)
    second = solve(ROW, matrix, b[::-1], dtype, carry=first.carry)
    assert second.status == Status.converged
    assert second.stats.num_steps < first.stats.num_steps


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize("preconditioner", ["jacobi"])
def test_scale_of_the_operator_does_not_matter_to_recycling(
    scale: float, preconditioner: str
):
    matrix, b = problem("diffusion_2d", "float32")
    scaled = (scale * matrix.astype(np.float64)).astype(np.float32)
    M = {"none": None, "jacobi": kx.solvers.Jacobi()}[preconditioner]
    steps = []
    for A in (matrix, scaled):
        first = solve(ROW, A, b, "float32", preconditioner=M)
        again = solve(ROW, A, b, "float32", preconditioner=M, carry=first.carry)
        steps.append(int(again.stats.num_steps))
    assert abs(steps[0] - steps[1]) <= 1


def test_tight_tolerance_is_met_by_the_true_residual_with_a_carry():
    matrix, b = two_signs()
    A, solver = operator(ROW, matrix), recycled_minres(rtol=1e-11)
    found = kx.solve(A, b, solver, carry=carried("cold")[1].carry)
    residual = b - matrix @ np.asarray(found.value)
    assert np.linalg.norm(residual) <= 1e-11 * np.linalg.norm(b)


@pytest.mark.parametrize("defect", DEFECTIVE)
def test_rank_deficient_carry_does_no_harm(defect: str):
    matrix, b = problem("diffusion_2d")
    rows = random_unitary(48, seed=3)[:NUM_RECYCLED]
    found = solve(ROW, matrix, b, carry=carry_of(DEFECTIVE[defect](rows)))
    assert found.status == Status.converged
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


def test_carry_mapped_to_zero_by_the_operator_does_no_harm():
    matrix, b = problem("singular_incompatible")
    null = np.eye(48)[[0, 0, 1, 2, 3, 4]]
    found = solve(ROW, matrix, np.r_[0.0, b[1:]], carry=carry_of(null))
    assert found.status == Status.converged
    assert np.all(np.isfinite(found.value))


def test_carry_that_is_not_finite_is_told_and_not_handed_on():
    matrix, b = problem("diffusion_2d")
    rows = random_unitary(48, seed=3)[:NUM_RECYCLED]
    rows[2, 7] = np.nan
    found = solve(ROW, matrix, b, carry=carry_of(rows))
    assert found.status == Status.nonfinite_input
    after = solve(ROW, matrix, b, carry=found.carry)
    assert after.status == Status.converged


def test_failed_solve_hands_on_a_usable_carry():
    failed = solved(ROW, "wide_spectrum")
    matrix, b = problem("diffusion_2d")
    found = solve(ROW, matrix, b, carry=failed.carry)
    assert failed.status == Status.max_steps_reached
    assert found.status == Status.converged


def test_reported_residual_of_a_failure_with_a_carry_is_the_true_one():
    matrix, b = two_signs()
    A, solver = operator(ROW, nearby(matrix)), recycled_minres(1e-10)
    few = recycled_minres(1e-10, max_steps=5)
    carry = carried("cold")[1].carry
    found = kx.solve(A, b, few, carry=carry, throw=False)
    residual = np.linalg.norm(b - nearby(matrix) @ np.asarray(found.value))
    assert found.status == Status.max_steps_reached
    assert kx.solve(A, b, solver, carry=carry).stats.num_steps > 5
    assert float(found.stats.residual) == pytest.approx(residual, rel=1e-8)


@pytest.mark.parametrize("is_warm", [False, True])
def test_indefinite_preconditioner_is_told(is_warm: bool):
    matrix, b = problem("diffusion_2d")
    M = -1 * approximate_inverse("cg", matrix)
    carry = solved(ROW, "diffusion_2d").carry if is_warm else None
    found = solve(ROW, matrix, b, preconditioner=M, carry=carry)
    assert found.status == Status.indefinite_preconditioner


def test_zero_right_hand_side_keeps_the_space():
    matrix, b = two_signs()
    carry = carried("cold")[1].carry
    found = solve(ROW, matrix, np.zeros_like(b), carry=carry)
    assert found.stats.num_steps == 0
    angles = scipy.linalg.subspace_angles(carry.U.T, found.carry.U.T)
    assert np.max(angles) <= IDENTITY


def test_exact_start_is_kept_with_a_carry():
    matrix, b = problem("diffusion_2d")
    exact = problem("diffusion_2d").solution
    carry = solved(ROW, "diffusion_2d").carry
    found = solve(ROW, matrix, b, x0=jnp.asarray(exact), carry=carry)
    assert found.stats.num_steps == 0
    assert np.array_equal(found.value, exact)


def test_space_of_all_unknowns_solves_without_steps():
    matrix = np.diag([-1.0, 2.0, 3.0])
    solver = recycled_minres(rtol=1e-10)
    A, b = operator(ROW, matrix), np.ones(3)
    first = kx.solve(A, b, solver)
    second = kx.solve(A, b[::-1], solver, carry=first.carry)
    assert int(second.stats.num_steps) == 0
    slack = solution_tolerance(3, 1e-10, "float64")
    assert relative_error(second.value, 1 / np.diagonal(matrix)) <= slack


def total(matrix: Any, b: Any) -> Any:
    carry = carried("cold")[1].carry
    return jnp.sum(solve(ROW, matrix, b, carry=carry).value)


def test_gradient_with_a_carry_is_that_of_the_dense_solve():
    matrix, b = two_signs()
    by_matrix, by_b = jax.grad(total, (0, 1))(jnp.asarray(matrix), jnp.asarray(b))
    adjoint = np.linalg.solve(matrix, np.ones(48))
    x = np.linalg.solve(matrix, b)
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), RTOL["float64"], "float64")
    assert relative_error(by_b, adjoint) <= slack
    assert relative_error(by_matrix, -np.outer(adjoint, x)) <= slack


def test_directional_derivative_with_a_carry_is_that_of_the_dense_solve():
    matrix, b = two_signs()
    pair = (jnp.asarray(matrix), jnp.asarray(b))
    _, got = jax.jvp(total, pair, (jnp.asarray(matrix @ matrix), jnp.ones(48)))
    x = np.linalg.solve(matrix, b)
    expected = np.sum(np.linalg.solve(matrix, np.ones(48) - matrix @ (matrix @ x)))
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), RTOL["float64"], "float64")
    assert float(got) == pytest.approx(float(expected), rel=slack)


@pytest.mark.parametrize("is_queued", [True])
def test_vmap_over_carries_gives_each_system_its_own(is_queued: bool):
    matrix, b = two_signs()
    A = operator(ROW, matrix)
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
    found = list(solve_sequence([(A, rhs)] * 6, ROWS[ROW].solver(dtype)))
    assert [int(s.status) for s in found] == [Status.converged] * 6
    steps = [int(s.stats.num_steps) for s in found]
    assert max(steps[1:]) < steps[0]


def test_a_complex_symmetric_operator_is_refused():
    A = kx.operators.Dense(np.array([[1.0, 1j], [1j, 2.0]]), tags=["symmetric"])
    with pytest.raises(ValueError, match="MINRES needs a hermitian operator"):
        kx.solve(A, np.ones(2, complex), SOLVER)


@pytest.mark.parametrize("name", ["num_recycled", "num_directions"])
@pytest.mark.usefixtures("as_users_run_it")
def test_counts_below_one_are_refused(name: str):
    settings: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        kx.solvers.RecycledMINRES(**settings)


@pytest.mark.usefixtures("as_users_run_it")
def test_unknown_refresh_is_refused():
    settings: Any = {"refresh": "cycle"}
    with pytest.raises(ValueError, match="refresh must be one of"):
        kx.solvers.RecycledMINRES(**settings)
