"""GCRO-DR: its identities, its selections and refreshes, and unrelated systems."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.krylov._arnoldi_cycle import run_cycle
from krylax.solvers.sequences import solve_sequence

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
)
from .cases import IDENTITY, carried, carry_of, changed, pair_errors

Status = kx.Status
# Beside those of the table of rows, "svd" per cycle and "harmonic" per system.
SOLVERS = {
    "harmonic_per_cycle": gcrodr(rtol=RTOL["float64"], selection="harmonic"),
    "per_system": gcrodr(rtol=RTOL["float64"], refresh="system"),
    "never_refreshed": gcrodr(rtol=RTOL["float64"], refresh="never"),
}
each_row = pytest.mark.parametrize("row", ["gcrodr", "gcrodr_harmonic_per_system"])


@pytest.mark.parametrize("name", SOLVERS)
def test_recycled_pair_is_a_pair_in_every_solve_of_a_sequence(name: str):
    matrix, b = problem("poisson_1d")
    matrices = [matrix, matrix, changed(matrix)]
    systems = [(kx.operators.Dense(A), b) for A in matrices]
    found = list(solve_sequence(systems, SOLVERS[name]))
    errors = [
        max(pair_errors(A, s.carry).values())
        for A, s in zip(matrices, found, strict=True)
    ]
    assert [int(s.status) for s in found] == [Status.converged] * 3
    assert [int(s.carry.num_vectors) for s in found] == [NUM_RECYCLED] * 3
    assert max(errors) <= IDENTITY
    assert relative_error(found[-1].carry.Y, found[-1].carry.U) <= IDENTITY


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
        "warm": carry_of(random_unitary(48, matrix.dtype.type, seed=3)[:NUM_RECYCLED]),
    }
    cycle = cycle_of(solver, system_of(name, dtype, M), carries[before])
    W, S = np.asarray(cycle.W).T, np.asarray(cycle.S).T
    G = np.asarray(cycle.problem.Qh).conj().T[:, :RESTART] @ cycle.problem.R
    size = np.linalg.norm(matrix, 2) * np.linalg.norm(S, 2)
    assert np.linalg.norm(matrix @ S - W @ G, 2) <= IDENTITY * size
    assert np.linalg.norm(W.conj().T @ W - np.eye(RESTART + 1), 2) <= IDENTITY


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
def test_system_of_shuffled_unknowns_costs_one_matvec_more_than_alone(row: str):
    matrix = np.asarray(kx.operators.Laplacian((18, 17)).as_matrix())
    shuffle = np.random.default_rng(7).permutation(len(matrix))
    shuffled, b = matrix[np.ix_(shuffle, shuffle)], np.cos(np.arange(len(matrix)))
    related = solve(row, matrix, b)
    cold = solve(row, shuffled, b)
    warm = solve(row, shuffled, b, carry=related.carry)
    assert int(warm.stats.num_steps) == int(cold.stats.num_steps)
    assert int(warm.stats.num_matvecs) == int(cold.stats.num_matvecs) + 1


def test_refreshed_space_follows_the_operator():
    first = carried("gcrodr", "cold")[1].carry
    second = carried("gcrodr", "changed")[1].carry
    before, after = (np.linalg.qr(np.asarray(c.U).T)[0] for c in (first, second))
    assert np.linalg.svd(before.T @ after)[1][-1] < 1 - IDENTITY


@pytest.mark.parametrize(
    "solver", [ROWS["gcrodr"].solver(), SOLVERS["harmonic_per_cycle"]]
)
def test_recycled_space_holds_the_smallest_eigenvectors(solver: Any):
    matrix, b = problem("prescribed_spectrum")
    found = kx.solve(kx.operators.Dense(matrix), b, solver)
    found = kx.solve(kx.operators.Dense(matrix), b, solver, carry=found.carry)
    basis = np.linalg.qr(np.asarray(found.carry.U).T)[0]
    smallest = np.linalg.eigh(matrix)[1][:, :2]
    assert np.linalg.svd(basis.T @ smallest)[1][-1] > 0.99


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
        ({"restart": 20.0}, "restart must be an integer, got 20.0"),
        ({"num_recycled": -1}, "num_recycled=-1"),
        ({"selection": "ritz"}, "selection must be one of .*got 'ritz'"),
        ({"refresh": "daily"}, "refresh must be one of .*got 'daily'"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_bad_settings_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        kx.solvers.GCRODR(**settings)
