"""What every solver says to input that is wrong or awkward, from one table."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..gallery import singular_incompatible
from ..helpers import relative_error, solution_tolerance
from .cases import PRECONDITIONED, ROWS, RTOL, operator, problem, solve, true_residual
from .inner_solve import InnerSolve

pytestmark = pytest.mark.usefixtures("as_users_run_it")
Status = kx.Status
ops: Any = kx.operators
each_row = pytest.mark.parametrize("row", ROWS)
N = 48
LINEAR = [row for row in PRECONDITIONED if not ROWS[row].solver().is_flexible]
FLEXIBLE = [row for row in PRECONDITIONED if row not in LINEAR]
# Who needs definiteness, and what it says; Chebyshev takes no inner products that would
# tell it more. The others solve the system all the same.
DEFINITE_ONLY = {
    "cg": Status.indefinite_operator,
    "cg_single_reduction": Status.indefinite_operator,
    "flexible_cg": Status.indefinite_operator,
    "flexible_cg_of_four": Status.indefinite_operator,
    "deflated_cg": Status.indefinite_operator,
    "cholesky": Status.indefinite_operator,
    "chebyshev": Status.diverged,
    "sor": Status.diverged,
    "sor_adaptive": Status.diverged,
    "batched": Status.indefinite_operator,
    "refinement": Status.indefinite_operator,
}
# A preconditioner that is negative definite, likewise; FlexibleCG divides its sign out.
DEFINITE_PRECONDITIONER_ONLY = {
    "cg": Status.indefinite_preconditioner,
    "cg_single_reduction": Status.indefinite_preconditioner,
    "deflated_cg": Status.indefinite_preconditioner,
    "minres": Status.indefinite_preconditioner,
    "recycled_minres": Status.indefinite_preconditioner,
    "chebyshev": Status.diverged,
    "batched": Status.indefinite_preconditioner,
    "refinement": Status.indefinite_preconditioner,
}


def system(row: str) -> tuple[np.ndarray, np.ndarray]:
    """The row's first problem."""
    return problem(ROWS[row].problems[0])


def identity(*shape: int, dtype: Any = jnp.float64) -> Any:
    return ops.Identity(jax.ShapeDtypeStruct(shape, dtype))


def with_operator(make: Callable[[str], Any]) -> Callable[[str], dict[str, Any]]:
    return lambda row: {"A": make(row)}


# What replaces an argument of a sound call, and the sentence that has to come back.
REFUSED: dict[str, tuple[Callable[[str], dict[str, Any]], str]] = {
    "b_too_short": (
        lambda _: {"b": np.ones(N - 1)},
        r"b has structure float64\[47\], the operator expects float64\[48\]",
    ),
    "b_on_a_grid": (
        lambda _: {"b": np.ones((8, 6))},
        r"b has structure float64\[8, 6\], the operator expects float64\[48\]",
    ),
    "b_in_a_tree": (
        lambda _: {"b": {"u": np.ones(N)}},
        r"b has structure \{u: float64\[48\]\}, the operator expects float64\[48\]",
    ),
    "b_of_another_precision": (
        lambda _: {"b": np.ones(N, np.float32)},
        r"b has structure float32\[48\], the operator expects float64\[48\]",
    ),
    "b_complex": (
        lambda _: {"b": np.ones(N, np.complex128)},
        r"b has structure complex128\[48\], the operator expects float64\[48\]",
    ),
    "b_in_a_list": (
        lambda _: {"b": [1.0] * N},
        r"b has structure a list of 48 arrays, first float64\[\], .*use np.asarray",
    ),
    "b_of_integers": (
        lambda _: {"b": np.ones(N, int)},
        "b must be an array of a floating or complex type, got dtype int64",
    ),
    "start_too_short": (
        lambda _: {"x0": np.ones(N - 1)},
        r"x0 has structure float64\[47\], the operator expects float64\[48\]",
    ),
    "start_of_another_precision": (
        lambda _: {"x0": np.ones(N, np.float32)},
        r"x0 has structure float32\[48\], the operator expects float64\[48\]",
    ),
    "operator_not_square": (
        lambda _: {"A": ops.Dense(np.ones((N, N - 1)))},
        r"A must be square, got one from float64\[47\] to float64\[48\]",
    ),
    "operator_singular_undeclared": (
        lambda _: {"A": ops.Laplacian((N,), boundary="neumann")},
        'singular .*declare nullspace="constant"',
    ),
    "preconditioner_too_small": (
        lambda _: {"preconditioner": identity(N - 1)},
        r"preconditioner acts on float64\[47\], the operator on float64\[48\]",
    ),
    "preconditioner_of_another_precision": (
        lambda _: {"preconditioner": identity(N, dtype=jnp.float32)},
        r"preconditioner acts on float32\[48\], the operator on float64\[48\]",
    ),
}


@each_row
@pytest.mark.parametrize("case", REFUSED)
def test_wrong_structure_is_refused_with_the_reason(row: str, case: str):
    matrix, b = system(row)
    change, sentence = REFUSED[case]
    sound = {"A": operator(row, matrix), "b": b, "solver": ROWS[row].solver()}
    with pytest.raises(ValueError, match=sentence):
        kx.solve(**(sound | change(row)))


@pytest.mark.parametrize("row", LINEAR)
def test_preconditioner_that_is_not_linear_is_refused_by_a_linear_solver(row: str):
    matrix, b = system(row)
    A, solver = operator(row, matrix), ROWS[row].solver()
    sentence = f"{type(solver).__name__} needs a linear preconditioner, got a InnerSol"
    with pytest.raises(ValueError, match=sentence):
        kx.solve(A, b, solver, preconditioner=InnerSolve(A))


@pytest.mark.parametrize("row", FLEXIBLE)
def test_preconditioner_that_is_not_linear_is_taken_by_a_flexible_solver(row: str):
    name = "diffusion_2d"
    matrix, b = problem(name)
    inner = InnerSolve(operator("cg", matrix))
    found = solve(row, matrix, b, preconditioner=inner)
    assert found.status == Status.converged
    assert true_residual(name, found.value) <= RTOL["float64"]


def poisoned(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[5] = value
    return changed


@cache
def solve_traced(row: str) -> Any:
    """A solve of matrices that, being traced, are not refused when they are wrapped."""

    @jax.jit
    def found_for(A: Any, b: Any, **inverse: Any) -> Any:
        M = {name: operator(row, matrix) for name, matrix in inverse.items()}
        return solve(row, A, b, **M)

    return found_for


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("row", "argument"),
    [
        *((row, "A") for row in ROWS),
        *((row, "preconditioner") for row in PRECONDITIONED),
    ],
)
def test_input_that_is_not_finite_is_told(row: str, argument: str, value: float):
    matrix, b = system(row)
    matrices = {"A": matrix}
    if row in PRECONDITIONED:
        matrices["preconditioner"] = np.eye(N)
    matrices[argument] = poisoned(matrices[argument], value)
    found = solve_traced(row)(b=b, **matrices)
    assert (int(found.status), int(found.stats.num_steps)) == (
        Status.nonfinite_input,
        0,
    )
    assert np.all(np.isfinite(found.value))


@each_row
def test_operator_that_is_not_as_promised_is_told_or_solved(row: str):
    matrix, b = problem("indefinite")
    found = solve(row, matrix, b)
    assert int(found.status) == DEFINITE_ONLY.get(row, Status.converged)
    assert np.all(np.isfinite(found.value))


@pytest.mark.parametrize("row", PRECONDITIONED)
def test_preconditioner_that_is_not_as_promised_is_told_or_harmless(row: str):
    matrix, b = problem("diffusion_2d")
    M = -np.linalg.inv(matrix)
    found = solve_traced(row)(A=matrix, b=b, preconditioner=M)
    expected = DEFINITE_PRECONDITIONER_ONLY.get(row, Status.converged)
    # The factors of another matrix are all that a direct solver has.
    expected = Status.stagnated if ROWS[row].is_direct else expected
    assert int(found.status) == expected
    assert np.all(np.isfinite(found.value))


@each_row
def test_singular_system_without_a_solution_is_never_called_solved(row: str):
    matrix, b = singular_incompatible()
    found = solve(row, matrix, b)
    assert found.status != Status.converged
    assert np.all(np.isfinite(found.value))
    # The certificate holds for failures too.
    residual = np.linalg.norm(b - matrix @ np.asarray(found.value))
    assert float(found.stats.residual) == pytest.approx(residual)


@each_row
def test_zero_operator_is_never_called_solved(row: str):
    found = solve(row, np.zeros((N, N)), np.ones(N))
    assert found.status != Status.converged
    assert np.all(np.isfinite(found.value))


LONG_RESTARTS: dict[str, Any] = {
    "gmres": kx.solvers.GMRES(RTOL["float64"], restart=100),
    "fgmres": kx.solvers.FGMRES(RTOL["float64"], restart=100),
    "gcrodr": kx.solvers.GCRODR(RTOL["float64"], restart=100, num_recycled=60),
    "deflated_cg": kx.solvers.DeflatedCG(
        RTOL["float64"], num_recycled=60, num_directions=100
    ),
}


@pytest.mark.parametrize("row", LONG_RESTARTS)
def test_more_vectors_than_unknowns_do_no_harm(row: str):
    expected = problem("diffusion_2d")
    A, solver = operator(row, expected.matrix), LONG_RESTARTS[row]
    first = kx.solve(A, expected.b, solver)
    second = kx.solve(A, expected.b[::-1].copy(), solver, carry=first.carry)
    again = kx.solve(A, expected.b, solver, carry=second.carry)
    slack = solution_tolerance(expected.cond, RTOL["float64"], "float64")
    assert relative_error(first.value, expected.solution) <= slack
    assert relative_error(again.value, expected.solution) <= slack


def skew() -> np.ndarray:
    """No symmetric part: rᴴAr = 0 for every r."""
    upper = np.triu(np.random.default_rng(4).standard_normal((N, N)), 1)
    return upper - upper.T


@pytest.mark.parametrize("row", ["bicgstab", "gmres", "fgmres", "gcrodr", "lu"])
def test_breakdown_is_survived_or_told(row: str):
    found = solve(row, skew(), np.ones(N))
    residual = np.linalg.norm(np.ones(N) - skew() @ np.asarray(found.value))
    has_met = residual <= RTOL["float64"] * np.sqrt(N)
    assert (found.status == Status.converged) == has_met
    assert np.all(np.isfinite(found.value))
