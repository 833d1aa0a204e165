"""GCRO-DR: its identities, what recycling is worth, and what it must survive."""

from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import krylax as kx
from krylax.solvers.krylov._arnoldi_cycle import run_cycle

from ...gallery import from_spectrum, random_unitary
from ...helpers import relative_error
from ..cases import (
    MAX_STEPS,
    NUM_RECYCLED,
    RESTART,
    ROWS,
    RTOL,
    approximate_inverse,
    gcrodr,
    problem,
    solve,
    solved,
)

Status = kx.Status
IDENTITY = 1e-10
"""What the identities of the recycled pair must hold to, over ‖A‖ ‖U‖ or absolute."""
RECYCLING = [row for row in ROWS if "gcrodr" in row]
SOLVERS = {row: ROWS[row].solver() for row in RECYCLING} | {
    "gcrodr_harmonic_per_cycle": gcrodr(rtol=RTOL["float64"], selection="harmonic"),
    "gcrodr_per_system": gcrodr(rtol=RTOL["float64"], refresh="system"),
    "gcrodr_never_refreshed": gcrodr(rtol=RTOL["float64"], refresh="never"),
}
HISTORIES = ["cold", "same", "changed"]
each_solver = pytest.mark.parametrize("name", SOLVERS)
each_row = pytest.mark.parametrize("row", RECYCLING)


def changed(matrix: np.ndarray) -> np.ndarray:
    """A related matrix, as the next of a sequence; the change is as large as the least
    eigenvalue of poisson_1d.
    """
    rng = np.random.default_rng(5)
    return matrix * (1 + 1e-3 * rng.standard_normal(matrix.shape))


@cache
def carried(name: str, before: str, problem_name: str = "poisson_1d") -> Any:
    """The matrix of a solve and its solution, after what was solved before."""
    matrix, b = problem(problem_name)
    A, solver = kx.operators.Dense(matrix), SOLVERS[name]
    carry = None if before == "cold" else carried(name, "cold", problem_name)[1].carry
    current = {"changed": changed(matrix)}.get(before, matrix)
    A = kx.operators.Dense(current)
    return current, kx.solve(A, b, solver, carry=carry, throw=False)


def pair_errors(matrix: np.ndarray, carry: Any) -> dict[str, float]:
    """How far A U = C and CᴴC = I are from holding."""
    k = int(carry.num_vectors)
    U, C = np.asarray(carry.U)[:k].T, np.asarray(carry.C)[:k].T
    size = np.linalg.norm(matrix, 2) * np.linalg.norm(U, 2)
    return {
        "image": float(np.linalg.norm(matrix @ U - C, 2) / size),
        "orthonormality": float(np.linalg.norm(C.conj().T @ C - np.eye(k), 2)),
        "unused": float(np.linalg.norm(np.asarray(carry.U)[k:])),
    }


@each_solver
@pytest.mark.parametrize("before", HISTORIES)
def test_recycled_pair_is_a_pair_after_every_solve(name: str, before: str):
    matrix, found = carried(name, before)
    assert found.status == Status.converged
    assert int(found.carry.num_vectors) == NUM_RECYCLED
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@each_row
@pytest.mark.parametrize("preconditioner", ["jacobi", "operator"])
def test_recycled_pair_is_a_pair_with_a_preconditioner(row: str, preconditioner: str):
    name = ROWS[row].problems[0]
    found = solved(row, name, preconditioner=preconditioner)
    errors = pair_errors(problem(name).matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@pytest.mark.parametrize(
    ("row", "preconditioner"),
    [
        ("gcrodr", "none"),
        ("gcrodr_harmonic_per_system", "none"),
        ("gcrodr", "operator"),
    ],
)
def test_recycled_pair_is_a_pair_in_complex_arithmetic(row: str, preconditioner: str):
    name = ROWS[row].complex_problem
    found = solved(row, name, "complex128", preconditioner)
    errors = pair_errors(problem(name, "complex128").matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@each_solver
def test_recycled_vectors_are_the_preconditioned_ones(name: str):
    _, found = carried(name, "changed")
    assert relative_error(found.carry.Y, found.carry.U) <= IDENTITY


@each_row
def test_recycled_vectors_are_images_of_the_preconditioner(row: str):
    name = ROWS[row].problems[0]
    M = approximate_inverse(row, problem(name).matrix)
    found = solved(row, name, preconditioner="operator")
    assert relative_error(M.mm(found.carry.Y), found.carry.U) <= IDENTITY


@each_row
@pytest.mark.parametrize("count", [2, 3, 5])
def test_recycled_pair_of_a_first_cycle_shorter_than_it_is_a_pair(row: str, count: int):
    values = np.resize(np.geomspace(1, 50, count), 48)
    matrix = similar(values)
    found = solve(row, matrix, np.cos(np.arange(48)))
    assert (int(found.status), int(found.stats.num_steps)) == (Status.converged, count)
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


def similar(eigenvalues: np.ndarray) -> np.ndarray:
    """A nonsymmetric matrix of given eigenvalues, with oblique eigenvectors."""
    basis = np.eye(48) + 0.5 * np.eye(48, k=1)
    return basis @ np.diag(eigenvalues) @ np.linalg.inv(basis)


@eqx.filter_jit
def cycle_of(solver: Any, system: Any, carry: Any) -> Any:
    """A cycle after all its Arnoldi steps, by the solver's own pieces."""
    state = solver.start(system, carry)
    _, cycle = solver._deflated_cycle(state)
    system = eqx.tree_at(lambda s: s.target, system, -jnp.ones_like(system.target))
    return run_cycle(system, cycle, MAX_STEPS, solver.inner_product)


def system_of(name: str, dtype: str, preconditioner: Any = None) -> Any:
    matrix, b = problem(name, dtype)
    return kx.solvers.LinearSystem(
        operator=kx.operators.Dense(matrix),
        preconditioner=preconditioner,
        b=jnp.asarray(b),
        x0=jnp.zeros_like(b),
        r0=jnp.asarray(b),
        target=jnp.asarray(0.0),
        scale=jnp.asarray(float(np.linalg.norm(b))),
    )


ARNOLDI = [
    ("poisson_1d", "float64", "cold"),
    ("poisson_1d", "float64", "warm"),
    ("complex_shifted", "complex128", "cold"),
    ("complex_shifted", "complex128", "warm"),
]


@pytest.mark.parametrize(("name", "dtype", "before"), ARNOLDI)
@pytest.mark.parametrize("preconditioned", [False, True])
def test_arnoldi_relation_holds(
    name: str, dtype: str, before: str, preconditioned: bool
):
    matrix, _ = problem(name, dtype)
    M = [None, approximate_inverse("gcrodr", matrix)][preconditioned]
    solver = ROWS["gcrodr"].solver(dtype)
    carries = {
        "cold": solver.initial_carry(kx.operators.Dense(matrix).in_structure),
        "warm": random_carry(matrix),
    }
    cycle = cycle_of(solver, system_of(name, dtype, M), carries[before])
    W, S = np.asarray(cycle.W).T, np.asarray(cycle.S).T
    G = np.asarray(cycle.problem.Qh).conj().T[:, :RESTART] @ cycle.problem.R
    size = np.linalg.norm(matrix, 2) * np.linalg.norm(S, 2)
    assert np.linalg.norm(matrix @ S - W @ G, 2) <= IDENTITY * size
    assert np.linalg.norm(W.conj().T @ W - np.eye(RESTART + 1), 2) <= IDENTITY


def random_carry(matrix: np.ndarray, count: int = NUM_RECYCLED) -> Any:
    """A recycle space of random vectors."""
    dtype = matrix.dtype.type
    rows = jnp.asarray(random_unitary(48, dtype, seed=3)[:count])
    return kx.solvers.RecycleSpace(rows, rows, rows, jnp.asarray(count, jnp.int32))


def carry_of(vectors: np.ndarray) -> Any:
    """A recycle space of given vectors."""
    rows = jnp.asarray(vectors)
    count = jnp.asarray(len(vectors), jnp.int32)
    return kx.solvers.RecycleSpace(rows, rows, rows, count)


def test_exact_invariant_subspace_gives_the_steps_of_the_deflated_spectrum():
    eigenvalues = np.r_[np.geomspace(1e-4, 1e-2, NUM_RECYCLED), np.linspace(1, 5, 42)]
    Q, matrix = random_unitary(48), from_spectrum(eigenvalues)
    low, b = Q[:, :NUM_RECYCLED], np.cos(np.arange(48))
    A = kx.operators.Dense(matrix)
    recycling = gcrodr(rtol=0.0, atol=1e-8, refresh="never")
    plain = kx.solvers.GMRES(rtol=0.0, atol=1e-8, restart=RESTART - NUM_RECYCLED)
    found = kx.solve(A, b, recycling, carry=carry_of(low.T))
    deflated = kx.solve(A, b - low @ (low.T @ b), plain)
    assert found.stats.num_steps == deflated.stats.num_steps
    assert found.stats.num_steps < kx.solve(A, b, plain, throw=False).stats.num_steps


@each_row
def test_same_system_again_is_strictly_cheaper(row: str):
    _, first = carried(row, "cold")
    _, second = carried(row, "same")
    assert second.stats.num_steps < first.stats.num_steps
    assert second.stats.num_matvecs < first.stats.num_matvecs


@each_row
def test_related_system_is_cheaper_too(row: str):
    matrix, warm = carried(row, "changed")
    cold = solve(row, matrix, problem("poisson_1d").b)
    assert warm.stats.num_matvecs < cold.stats.num_matvecs


@pytest.mark.parametrize("name", ROWS["gmres"].problems)
def test_carry_of_an_unrelated_system_costs_little(name: str):
    matrix, b = problem(name)
    unrelated = solved("gcrodr", "poisson_1d").carry
    warm = solve("gcrodr", matrix, b, carry=unrelated)
    # As many new directions per cycle as GCRO-DR has beside the recycled ones.
    solver = kx.solvers.GMRES(
        rtol=RTOL["float64"], restart=RESTART - NUM_RECYCLED, max_steps=MAX_STEPS
    )
    plain = kx.solve(kx.operators.Dense(matrix), b, solver)
    assert warm.status == Status.converged
    bound = 1.1 * int(plain.stats.num_matvecs) + NUM_RECYCLED
    assert int(warm.stats.num_matvecs) <= bound


@each_row
def test_system_of_shuffled_unknowns_costs_one_matvec_more_than_alone(row: str):
    matrix = np.asarray(kx.operators.Laplacian((18, 17)).as_matrix())
    shuffle = np.random.default_rng(7).permutation(len(matrix))
    shuffled, b = matrix[np.ix_(shuffle, shuffle)], np.cos(np.arange(len(matrix)))
    related = solve(row, matrix, b)
    cold = solve(row, shuffled, b)
    warm = solve(row, shuffled, b, carry=related.carry)
    assert int(warm.stats.num_steps) == int(cold.stats.num_steps)
    assert int(warm.stats.num_matvecs) == int(cold.stats.num_matvecs) + 1


DEFECTIVE = {
    "equal": lambda rows: np.repeat(rows[:1], NUM_RECYCLED, axis=0),
    "zero": lambda rows: np.zeros_like(rows),
    "some_zero": lambda rows: rows * (np.arange(NUM_RECYCLED) % 2)[:, None],
    "dependent": lambda rows: rows[[0, 1, 2, 0, 1, 2]],
    "nearly_dependent": lambda rows: rows[:1] + 1e-12 * rows,
    "unequal_lengths": lambda rows: rows * 10.0 ** np.arange(-12, 12, 4)[:, None],
}


@each_row
@pytest.mark.parametrize("defect", DEFECTIVE)
def test_rank_deficient_carry_does_no_harm(row: str, defect: str):
    matrix, b = problem("diffusion_2d")
    rows = random_unitary(48, seed=3)[:NUM_RECYCLED]
    found = solve(row, matrix, b, carry=carry_of(DEFECTIVE[defect](rows)))
    assert found.status == Status.converged
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


@each_row
def test_carry_mapped_to_zero_by_the_operator_does_no_harm(row: str):
    matrix, b = problem("singular_incompatible")
    null = np.eye(48)[[0, 0, 1, 2, 3, 4]]
    found = solve(row, matrix, np.r_[0.0, b[1:]], carry=carry_of(null))
    assert found.status == Status.converged
    assert np.all(np.isfinite(found.value))


@each_row
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_carry_that_is_not_finite_is_told_and_not_handed_on(row: str, value: float):
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
def test_zero_right_hand_side_keeps_the_carry(row: str):
    matrix, b = problem("poisson_1d")
    carry = solved(row, "poisson_1d").carry
    found = solve(row, matrix, np.zeros_like(b), carry=carry)
    assert found.stats.num_steps == 0
    assert pair_errors(matrix, found.carry)["image"] <= IDENTITY
    assert int(found.carry.num_vectors) == NUM_RECYCLED


def test_never_refreshed_space_stays_the_same_span():
    first = carried("gcrodr_never_refreshed", "cold")[1].carry
    second = carried("gcrodr_never_refreshed", "changed")[1].carry
    before, after = (np.linalg.qr(np.asarray(c.U).T)[0] for c in (first, second))
    # The smallest cosine between the two spans.
    cosine = np.linalg.svd(before.T @ after)[1][-1]
    assert cosine >= 1 - IDENTITY


def test_refreshed_space_follows_the_operator():
    first = carried("gcrodr", "cold")[1].carry
    second = carried("gcrodr", "changed")[1].carry
    before, after = (np.linalg.qr(np.asarray(c.U).T)[0] for c in (first, second))
    assert np.linalg.svd(before.T @ after)[1][-1] < 1 - IDENTITY


@pytest.mark.parametrize("name", ["gcrodr", "gcrodr_harmonic_per_cycle"])
def test_recycled_space_holds_the_smallest_eigenvectors(name: str):
    matrix, b = problem("prescribed_spectrum")
    found = kx.solve(kx.operators.Dense(matrix), b, SOLVERS[name])
    found = kx.solve(kx.operators.Dense(matrix), b, SOLVERS[name], carry=found.carry)
    basis = np.linalg.qr(np.asarray(found.carry.U).T)[0]
    smallest = np.linalg.eigh(matrix)[1][:, :2]
    assert np.linalg.svd(basis.T @ smallest)[1][-1] > 0.99


def test_scan_over_a_sequence_carries_like_a_loop():
    matrix, b = problem("poisson_1d")
    matrices = np.stack([matrix, changed(matrix), matrix])
    solver = SOLVERS["gcrodr"]

    def body(carry: Any, matrix: Any) -> tuple[Any, Any]:
        A = kx.operators.Dense(matrix)
        solution = kx.solve(A, b, solver, carry=carry, throw=False)
        return solution.carry, (solution.status, solution.stats.num_steps)

    start = solver.initial_carry(kx.operators.Dense(matrix).in_structure)
    _, (statuses, steps) = jax.jit(lambda c, As: lax.scan(body, c, As))(start, matrices)
    systems = [(kx.operators.Dense(A), b) for A in matrices]
    loop = list(kx.solvers.sequences.solve_sequence(systems, solver))
    assert statuses.tolist() == [Status.converged] * 3
    assert steps.tolist() == [int(s.stats.num_steps) for s in loop]


def test_vmap_over_carries_gives_each_system_its_own():
    matrix, b = problem("poisson_1d")
    solver, A = SOLVERS["gcrodr"], kx.operators.Dense(matrix)
    carries = [solver.initial_carry(A.in_structure), carried("gcrodr", "cold")[1].carry]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *carries)
    found = jax.vmap(lambda c: kx.solve(A, b, solver, carry=c, throw=False))(stacked)
    each = [kx.solve(A, b, solver, carry=carry) for carry in carries]
    assert found.stats.num_steps.tolist() == [int(s.stats.num_steps) for s in each]
    assert found.stats.num_matvecs.tolist() == [int(s.stats.num_matvecs) for s in each]


def test_more_recycled_vectors_than_unknowns_do_no_harm():
    matrix = np.diag([1.0, 2.0, 3.0])
    solver = gcrodr(rtol=1e-10)
    A, b = kx.operators.Dense(matrix), np.ones(3)
    first = kx.solve(A, b, solver)
    second = kx.solve(A, b[::-1], solver, carry=first.carry)
    assert relative_error(second.value, 1 / np.diagonal(matrix)) <= 1e-9


def test_flexible_preconditioner_converges():
    matrix, b = problem("diffusion_2d")
    inner = approximate_inverse("gcrodr", matrix)
    found = solve("gcrodr", matrix, b, preconditioner=Nonlinear(inner))
    assert found.status == Status.converged
    errors = pair_errors(matrix, found.carry)
    assert max(errors.values()) <= IDENTITY, errors


class Nonlinear(kx.operators.AbstractOperator):
    """An approximate inverse whose scale depends on what it is given."""

    operator: Any

    @property
    def in_structure(self) -> Any:
        return self.operator.in_structure

    @property
    def out_structure(self) -> Any:
        return self.operator.out_structure

    def __call__(self, x: Any) -> Any:
        return (1.5 + jnp.tanh(x[0])) * self.operator.mv(x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"restart": 6, "num_recycled": 6}, "restart=6 and num_recycled=6"),
        ({"restart": 5, "num_recycled": 6}, "restart=5 and num_recycled=6"),
        ({"restart": 0, "num_recycled": 0}, "restart=0 and num_recycled=0"),
        ({"num_recycled": -1}, "num_recycled=-1"),
        ({"selection": "ritz"}, "selection must be one of .*got 'ritz'"),
        ({"refresh": "daily"}, "refresh must be one of .*got 'daily'"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_bad_settings_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        kx.solvers.GCRODR(**settings)
