"""What holds for every solver that hands a space from one solve to the next."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax import lax

import krylax as kx
from krylax.solvers.sequences import solve_sequence

from ...gallery import random_unitary
from ...helpers import relative_error, solution_tolerance
from ..cases import (
    DEFINITE,
    MAX_STEPS,
    NUM_RECYCLED,
    RESTART,
    ROWS,
    RTOL,
    approximate_inverse,
    deflated_cg,
    gcrodr,
    operator,
    problem,
    recycled_minres,
    solve,
    solved,
)
from ..test_solve import counted_solve
from .cases import (
    DEFECTIVE,
    IDENTITY,
    RECYCLING,
    SYMMETRIC,
    carried,
    carry_of,
    nearby,
    pair_errors,
    system,
)

Status = kx.Status
MAKE = {
    "gcrodr": gcrodr,
    "deflated_cg": deflated_cg,
    "recycled_minres": recycled_minres,
}
# The same method with nothing recycled; of GCRO-DR, with as many new directions in a
# cycle as it has beside the recycled ones.
PLAIN: dict[str, Any] = {
    "gcrodr": partial(kx.solvers.GMRES, restart=RESTART - NUM_RECYCLED),
    "deflated_cg": kx.solvers.CG,
    "recycled_minres": kx.solvers.MINRES,
}
each_row = pytest.mark.parametrize("row", RECYCLING)
each_method = pytest.mark.parametrize("row", MAKE)
each_symmetric = pytest.mark.parametrize("row", SYMMETRIC)
PLAIN_PAIRS = [
    (row, name) for row in MAKE for name in ROWS[row].problems if name != "poisson_1d"
]


@each_row
@pytest.mark.parametrize("before", ["cold", "same", "changed"])
def test_recycled_pair_is_a_pair_after_every_solve(row: str, before: str):
    matrix, found = carried(row, before)
    assert found.status == Status.converged
    assert int(found.carry.num_vectors) == NUM_RECYCLED
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@each_row
def test_recycled_pair_is_a_pair_with_a_preconditioner(row: str):
    name = ROWS[row].problems[0]
    found = solved(row, name, preconditioner="jacobi")
    errors = pair_errors(problem(name).matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@each_row
@pytest.mark.parametrize("preconditioner", ["none", "operator"])
def test_recycled_pair_is_a_pair_in_complex_arithmetic(row: str, preconditioner: str):
    name = ROWS[row].complex_problem
    found = solved(row, name, "complex128", preconditioner)
    errors = pair_errors(problem(name, "complex128").matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@each_row
def test_recycled_vectors_are_images_of_the_preconditioner(row: str):
    dtype = "complex128"
    matrix, b = problem(ROWS[row].complex_problem, dtype)
    M = approximate_inverse(row, matrix)
    first = solve(row, matrix, b, dtype, preconditioner=M)
    second = solve(row, matrix, b[::-1], dtype, preconditioner=M, carry=first.carry)
    assert second.status == Status.converged
    for carry in (first.carry, second.carry):
        assert relative_error(carry.Y @ np.transpose(M.matrix), carry.U) <= IDENTITY


@each_row
def test_recycled_vectors_stand_for_themselves_without_a_preconditioner(row: str):
    _, found = carried(row, "changed")
    assert relative_error(found.carry.Y, found.carry.U) <= IDENTITY


@pytest.mark.parametrize(
    ("row", "name", "preconditioner"),
    [
        *((row, name, "none") for row in SYMMETRIC for name in ROWS[row].problems[:4]),
        *((row, name, "jacobi") for row in SYMMETRIC for name in DEFINITE),
    ],
)
def test_solve_with_an_empty_carry_is_the_plain_method(
    row: str, name: str, preconditioner: str
):
    plain_row = {"deflated_cg": "cg", "recycled_minres": "minres"}[row]
    found = solved(row, name, preconditioner=preconditioner).stats
    plain = solved(plain_row, name, preconditioner=preconditioner).stats
    assert abs(int(found.num_steps) - int(plain.num_steps)) <= 1
    # What CG confirms is the deflated system: the certificate is one product more.
    beside_steps = int(plain.num_matvecs - plain.num_steps) + (row == "deflated_cg")
    assert int(found.num_matvecs - found.num_steps) == beside_steps


@each_symmetric
@pytest.mark.parametrize("is_warm", [False, True])
def test_counts_are_those_of_the_calls(row: str, is_warm: bool):
    carry = solved(row, "diffusion_2d").carry if is_warm else None
    found, products, calls = counted_solve(row, x0=np.ones(48), carry=carry)
    assert int(found.stats.num_preconditioner_calls) == len(calls)
    assert int(found.stats.num_matvecs) == len(products)


@each_row
def test_same_system_again_is_strictly_cheaper(row: str):
    first, second = carried(row, "cold")[1].stats, carried(row, "same")[1].stats
    assert second.num_steps < first.num_steps
    assert second.num_matvecs < first.num_matvecs


@each_row
def test_related_system_is_cheaper_too(row: str):
    matrix, warm = carried(row, "changed")
    cold = solve(row, matrix, system(row)[1])
    assert warm.stats.num_matvecs < cold.stats.num_matvecs


@pytest.mark.parametrize(("row", "name"), PLAIN_PAIRS)
def test_carry_of_an_unrelated_system_costs_little(row: str, name: str):
    matrix, b = problem(name)
    warm = solve(row, matrix, b, carry=carried(row, "cold")[1].carry)
    solver = PLAIN[row](rtol=RTOL["float64"], max_steps=MAX_STEPS)
    plain = kx.solve(operator(row, matrix), b, solver)
    assert warm.status == Status.converged
    # Beside a tenth, the products that renew the space, and to leave it and certify.
    bound = 1.1 * int(plain.stats.num_matvecs) + NUM_RECYCLED + 1
    assert int(warm.stats.num_matvecs) <= bound


@each_method
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_carry_saves_steps_in_every_precision(row: str, dtype: str):
    name = {"complex128": ROWS[row].complex_problem}.get(dtype, "diffusion_2d")
    matrix, b = problem(name, dtype)
    first = solve(row, matrix, b, dtype)
    second = solve(row, matrix, b[::-1], dtype, carry=first.carry)
    assert second.status == Status.converged
    assert second.stats.num_steps < first.stats.num_steps


@each_symmetric
@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize("preconditioner", ["none", "jacobi"])
def test_carry_saves_steps_whatever_the_scale_in_single_precision(
    row: str, scale: float, preconditioner: str
):
    matrix, b = problem("diffusion_2d", "float32")
    scaled = (scale * matrix.astype(float)).astype(np.float32)
    M = {"jacobi": kx.solvers.Jacobi()}.get(preconditioner)
    first = solve(row, scaled, b, "float32", preconditioner=M)
    second = solve(row, scaled, b[::-1], "float32", preconditioner=M, carry=first.carry)
    assert second.status == Status.converged
    assert second.stats.num_steps < first.stats.num_steps


@each_symmetric
@pytest.mark.parametrize("num_directions", [1, 100])
def test_any_number_of_directions_finds_what_to_deflate(row: str, num_directions: int):
    matrix, b = problem("nearly_singular")
    A, solver = operator(row, matrix), MAKE[row](1e-10, num_directions=num_directions)
    first = kx.solve(A, b, solver)
    second = kx.solve(A, b, solver, carry=first.carry)
    assert second.stats.num_steps < first.stats.num_steps


@each_row
@pytest.mark.parametrize("defect", DEFECTIVE)
def test_rank_deficient_carry_does_no_harm(row: str, defect: str):
    matrix, b = problem("diffusion_2d")
    rows = random_unitary(48, seed=3)[:NUM_RECYCLED]
    found = solve(row, matrix, b, carry=carry_of(DEFECTIVE[defect](rows)))
    assert found.status == Status.converged
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@pytest.mark.parametrize("row", [row for row in RECYCLING if row != "deflated_cg"])
def test_carry_mapped_to_zero_by_the_operator_does_no_harm(row: str):
    matrix, b = problem("singular_incompatible")
    null = np.eye(48)[[0, 0, 1, 2, 3, 4]]
    found = solve(row, matrix, np.r_[0.0, b[1:]], carry=carry_of(null))
    assert found.status == Status.converged
    assert np.all(np.isfinite(found.value))


@each_row
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_carry_that_is_not_finite_is_reported_and_not_handed_on(row: str, value: float):
    matrix, b = problem("diffusion_2d")
    rows = random_unitary(48, seed=3)[:NUM_RECYCLED]
    rows[2, 7] = value
    found = solve(row, matrix, b, carry=carry_of(rows))
    assert found.status == Status.nonfinite_input
    assert np.all(np.isfinite(found.value))
    after = solve(row, matrix, b, carry=found.carry)
    assert after.status == Status.converged


@each_row
def test_failed_solve_hands_on_a_usable_carry(row: str):
    failed = solved(row, "wide_spectrum")
    matrix, b = problem("diffusion_2d")
    found = solve(row, matrix, b, carry=failed.carry)
    assert failed.status == Status.max_steps_reached
    assert found.status == Status.converged


@each_row
def test_zero_right_hand_side_keeps_the_space(row: str):
    matrix, b = system(row)
    carry = carried(row, "cold")[1].carry
    found = solve(row, matrix, np.zeros_like(b), carry=carry)
    assert found.stats.num_steps == 0
    assert int(found.carry.num_vectors) == NUM_RECYCLED
    assert pair_errors(matrix, found.carry)["image"] <= IDENTITY
    angles = scipy.linalg.subspace_angles(carry.U.T, found.carry.U.T)
    assert np.max(angles) <= IDENTITY


@each_row
def test_exact_start_is_kept_with_a_carry(row: str):
    matrix, b = problem("diffusion_2d")
    exact = problem("diffusion_2d").solution
    carry = solved(row, "diffusion_2d", preconditioner="jacobi").carry
    M = ROWS[row].preconditioner
    found = solve(row, matrix, b, preconditioner=M, x0=jnp.asarray(exact), carry=carry)
    assert found.stats.num_steps == 0
    assert np.array_equal(found.value, exact)


@pytest.mark.parametrize(
    ("row", "least"), [("deflated_cg", 1), ("recycled_minres", -1)]
)
def test_space_of_all_unknowns_solves_without_steps(row: str, least: float):
    matrix = np.diag([least, 2.0, 3.0])
    A, b, solver = operator(row, matrix), np.ones(3), MAKE[row](1e-10)
    first = kx.solve(A, b, solver)
    second = kx.solve(A, b[::-1], solver, carry=first.carry)
    assert int(second.stats.num_steps) == 0
    slack = solution_tolerance(3, 1e-10, "float64")
    assert relative_error(second.value, 1 / np.diagonal(matrix)) <= slack


@pytest.mark.parametrize("row", ["gcrodr", "recycled_minres"])
def test_space_that_is_never_refreshed_stays_the_same_span(row: str):
    matrix, b = system(row)
    A, solver = operator(row, nearby(row, matrix)), MAKE[row](1e-10, refresh="never")
    first = carried(row, "cold")[1].carry
    second = kx.solve(A, b, solver, carry=first).carry
    assert np.max(scipy.linalg.subspace_angles(first.U.T, second.U.T)) <= IDENTITY


# A derivative hands the space on as any solve does: to one method of each kind.
@pytest.mark.parametrize("row", ["gcrodr", "deflated_cg"])
def test_gradient_with_a_carry_is_that_of_the_dense_solve(row: str):
    matrix, b = system(row)
    carry = carried(row, "cold")[1].carry

    def total(matrix: Any, b: Any) -> Any:
        return jnp.sum(solve(row, matrix, b, carry=carry).value)

    by_matrix, by_b = jax.grad(total, (0, 1))(jnp.asarray(matrix), jnp.asarray(b))
    adjoint = np.linalg.solve(matrix, np.ones(48))
    x = np.linalg.solve(matrix, b)
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), RTOL["float64"], "float64")
    assert relative_error(by_b, adjoint) <= slack
    assert relative_error(by_matrix, -np.outer(adjoint, x)) <= slack


@pytest.mark.parametrize("row", ["gcrodr", "deflated_cg"])
def test_scan_over_a_sequence_carries_like_a_loop(row: str):
    matrix, b = system(row)
    matrices = np.stack([matrix, nearby(row, matrix), matrix])
    solver = ROWS[row].solver()

    def body(carry: Any, matrix: Any) -> tuple[Any, Any]:
        solution = solve(row, matrix, b, carry=carry)
        return solution.carry, (solution.status, solution.stats.num_steps)

    start = solver.initial_carry(operator(row, matrix).in_structure)
    _, (statuses, steps) = jax.jit(lambda c, As: lax.scan(body, c, As))(start, matrices)
    loop = solve_sequence([(operator(row, A), b) for A in matrices], solver)
    assert statuses.tolist() == [Status.converged] * 3
    assert steps.tolist() == [int(s.stats.num_steps) for s in loop]


@pytest.mark.parametrize(
    ("row", "is_queued"), [("gcrodr", False), ("recycled_minres", True)]
)
def test_vmap_over_carries_gives_each_system_its_own(row: str, is_queued: bool):
    matrix, b = system(row)
    A, plain = operator(row, matrix), ROWS[row].solver()
    solver: Any = kx.solvers.Batched(plain, num_lanes=1) if is_queued else plain
    carries = [plain.initial_carry(A.in_structure), carried(row, "cold")[1].carry]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *carries)
    found = jax.vmap(lambda c: kx.solve(A, b, solver, carry=c, throw=False))(stacked)
    each = [kx.solve(A, b, plain, carry=carry, throw=False) for carry in carries]
    assert found.stats.num_steps.tolist() == [int(s.stats.num_steps) for s in each]
    assert found.stats.num_matvecs.tolist() == [int(s.stats.num_matvecs) for s in each]


@each_method
def test_carry_of_a_singular_operator_saves_steps_again_and_again(row: str):
    # In 32 bits, where rounding adds null vectors to the space soonest.
    b = np.random.default_rng(0).standard_normal((12, 10))
    rhs, k = (b - b.mean()).astype(np.float32), np.ones((12, 10), np.float32)
    A = kx.operators.Diffusion(k, boundary="neumann", nullspace="constant")
    found = list(solve_sequence([(A, rhs)] * 6, ROWS[row].solver("float32")))
    assert [int(s.status) for s in found] == [Status.converged] * 6
    steps = [int(s.stats.num_steps) for s in found]
    assert max(steps[1:]) < steps[0]


@pytest.mark.parametrize(
    ("row", "name"), [("gcrodr", "GCRODR"), ("deflated_cg", "DeflatedCG")]
)
def test_unrolling_is_refused_with_the_remedy(row: str, name: str):
    matrix, b = problem("diffusion_2d")
    with pytest.raises(ValueError, match=f"{name} cannot be unrolled; use a method"):
        kx.solve(operator(row, matrix), b, ROWS[row].solver(), unroll=3)


@each_symmetric
@pytest.mark.parametrize("name", ["num_recycled", "num_directions"])
@pytest.mark.usefixtures("as_users_run_it")
def test_counts_below_one_are_refused(row: str, name: str):
    settings: Any = {"rtol": 1e-8, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        MAKE[row](**settings)
