"""What every solver promises, against dense linear algebra."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.solvers.core._stopping import MARGIN

from ..helpers import relative_error, solution_tolerance, to_vector, tolerance
from .cases import (
    FAILING,
    GENERAL_ROWS,
    HARD,
    ITERATIVE,
    KINDS,
    MAX_STEPS,
    PAIRS,
    PRECONDITIONED,
    ROWS,
    RTOL,
    STEPPING,
    operator,
    problem,
    solve,
    solved,
    true_residual,
)

# A check of shapes and types costs a tenth of a solve: where a row is first traced.
checks_types = pytest.mark.usefixtures("with_types_checked")
Status = kx.Status
each_row = pytest.mark.parametrize("row", ROWS)
each_iterative = pytest.mark.parametrize("row", ITERATIVE)
each_pair = pytest.mark.parametrize(("row", "name"), PAIRS)
# What a solver has no part in is tested for one of each kind.
each_kind = pytest.mark.parametrize("row", KINDS)


def primary(row: str) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and right-hand side of the row's first problem."""
    return problem(ROWS[row].problems[0])


@checks_types
@each_pair
def test_solution_is_that_of_a_dense_solve(row: str, name: str):
    found, expected = solved(row, name), problem(name)
    error = relative_error(found.value, expected.solution)
    assert error <= solution_tolerance(expected.cond, RTOL["float64"], "float64")


@checks_types
@each_row
def test_solution_is_that_of_a_dense_solve_in_single_and_complex(row: str):
    name, dtype = ROWS[row].complex_problem, "complex64"
    found, expected = solved(row, name, dtype), problem(name, dtype)
    error = relative_error(found.value, expected.solution)
    assert found.value.dtype == dtype
    assert error <= solution_tolerance(expected.cond, RTOL[dtype], dtype)
    assert found.status == Status.converged
    assert true_residual(name, found.value, dtype) <= RTOL[dtype]


@each_pair
def test_true_residual_meets_the_tolerance(row: str, name: str):
    found = solved(row, name)
    assert found.status == Status.converged
    assert true_residual(name, found.value) <= RTOL["float64"]


@pytest.mark.parametrize(
    ("row", "preconditioner"),
    [
        *((row, "jacobi") for row in PRECONDITIONED),
        *((row, "operator") for row in KINDS),
    ],
)
def test_true_residual_meets_the_tolerance_with_a_preconditioner(
    row: str, preconditioner: str
):
    name = ROWS[row].problems[0]
    found = solved(row, name, preconditioner=preconditioner)
    assert found.status == Status.converged
    assert true_residual(name, found.value) <= RTOL["float64"]


@each_pair
def test_reported_residual_is_the_true_one(row: str, name: str):
    found, (matrix, b) = solved(row, name), problem(name)
    # The rounding of a residual is in units of ‖A‖ ‖x‖, here over ‖b‖.
    size = np.linalg.norm(matrix, 2) * np.linalg.norm(found.value) / np.linalg.norm(b)
    reported = float(found.stats.relative_residual)
    assert abs(reported - true_residual(name, found.value)) <= tolerance(
        float(size), "float64"
    )
    by_size = float(found.stats.residual) / np.linalg.norm(b)
    assert reported == pytest.approx(by_size, rel=tolerance(1, "float64"))


@each_row
def test_reported_residual_of_a_failure_is_the_true_one(row: str):
    found = solved(row, HARD)
    reported = float(found.stats.relative_residual)
    expected = true_residual(HARD, found.value)
    # Here ‖A‖ ‖x‖ / ‖b‖ is the reciprocal of the accuracy to expect.
    size = np.linalg.norm(found.value) / np.linalg.norm(problem(HARD).b)
    assert abs(reported - expected) <= tolerance(float(size), "float64", 100)


@each_pair
def test_history_starts_at_one_and_ends_at_the_residual(row: str, name: str):
    stats = solved(row, name).stats
    steps = int(stats.num_steps)
    seen = np.asarray(stats.history)[: steps + 1]
    assert seen[0] == pytest.approx(1, rel=tolerance(1, "float64"))
    assert np.all(np.isinf(np.asarray(stats.history)[steps + 1 :]))
    assert seen[-1] <= RTOL["float64"]
    assert seen[-2] > MARGIN * RTOL["float64"]
    assert float(stats.relative_residual) <= 1.1 * max(seen[-1], RTOL["float64"])


@pytest.mark.parametrize("row", [row for row in KINDS if row in STEPPING])
def test_good_preconditioner_saves_steps(row: str):
    # That of A + I/10 leaves eigenvalues λ / (λ + 1/10): all near one.
    name = ROWS[row].problems[0]
    with_it, without = solved(row, name, preconditioner="operator"), solved(row, name)
    assert int(with_it.stats.num_steps) <= int(without.stats.num_steps) / 3


def started(row: str, x0: np.ndarray) -> Any:
    """A solve of the first problem, preconditioned, from x0."""
    matrix, b = primary(row)
    options = {"preconditioner": ROWS[row].preconditioner, "x0": jnp.asarray(x0)}
    return solve(row, matrix, b, **options)


@each_row
def test_exact_start_takes_no_steps(row: str):
    exact = problem(ROWS[row].problems[0]).solution
    found = started(row, exact)
    assert (int(found.status), int(found.stats.num_steps)) == (Status.converged, 0)
    assert np.array_equal(found.value, exact)


@each_iterative
def test_good_start_saves_steps(row: str):
    exact = problem(ROWS[row].problems[0]).solution
    noise = 1e-6 * np.cos(np.arange(len(exact)))
    near, cold = started(row, exact + noise), started(row, np.zeros(len(exact)))
    assert near.status == Status.converged
    assert near.stats.num_steps < cold.stats.num_steps


@each_row
def test_start_worse_than_zero_does_no_harm(row: str):
    exact = problem(ROWS[row].problems[0]).solution
    far, cold = started(row, -1e6 * exact), started(row, np.zeros(len(exact)))
    assert far.status == Status.converged
    assert far.stats.num_steps == cold.stats.num_steps
    assert true_residual(ROWS[row].problems[0], far.value) <= RTOL["float64"]


@each_row
def test_nan_in_the_start_is_nonfinite_input(row: str):
    matrix, _ = primary(row)
    found = started(row, np.full(len(matrix), np.nan))
    assert found.status == Status.nonfinite_input


@each_row
def test_zero_right_hand_side_gives_zero_without_steps(row: str):
    matrix, b = primary(row)
    found = solve(row, matrix, np.zeros_like(b))
    assert (int(found.status), int(found.stats.num_steps)) == (Status.converged, 0)
    assert not np.any(found.value)
    assert found.stats.relative_residual == 0


@each_row
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_right_hand_side_that_is_not_finite_is_told(row: str, value: float):
    matrix, b = primary(row)
    found = solve(row, matrix, np.r_[value, b[1:]])
    assert (int(found.status), int(found.stats.num_steps)) == (
        Status.nonfinite_input,
        0,
    )
    assert np.all(np.isfinite(found.value))


@each_row
@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1e20, 1e200])
def test_scale_of_the_right_hand_side_does_not_matter(row: str, scale: float):
    matrix, b = primary(row)
    found, reference = solve(row, matrix, scale * b), solve(row, matrix, b)
    assert found.status == Status.converged
    assert relative_error(found.value / scale, reference.value) <= RTOL["float64"]


@each_row
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_scale_of_the_operator_does_not_matter(row: str, scale: float):
    matrix, b = primary(row)
    found, reference = solve(row, scale * matrix, b), solve(row, matrix, b)
    assert found.status == Status.converged
    assert relative_error(scale * found.value, reference.value) <= RTOL["float64"]


@each_row
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_scales_do_not_matter_in_single_precision(row: str, scale: float):
    matrix, b = problem(ROWS[row].complex_problem, "complex64")
    scaled = (scale * matrix.astype(np.complex128)).astype(np.complex64)
    found = solve(row, scaled, b, "complex64")
    assert found.status == Status.converged
    residual = b - scaled.astype(np.complex128) @ np.asarray(found.value, np.complex128)
    assert np.linalg.norm(residual) <= RTOL["complex64"] * np.linalg.norm(b)


@each_row
def test_hard_system_ends_as_announced(row: str):
    assert solved(row, HARD).status == ROWS[row].hard_status


@pytest.mark.parametrize("row", STEPPING)
def test_all_allowed_steps_are_taken(row: str):
    assert solved(row, HARD).stats.num_steps == MAX_STEPS


@pytest.mark.parametrize("row", FAILING)
def test_failure_raises_with_the_sentence_and_the_result(row: str):
    matrix, b = problem(HARD)
    sentence = ROWS[row].hard_status.sentence
    with pytest.raises(kx.solvers.SolveError, match=sentence) as e:
        kx.solve(operator(row, matrix), b, ROWS[row].solver())
    assert e.value.solution.stats.num_steps == solved(row, HARD).stats.num_steps


@cache
def compiled(row: str) -> Any:
    """A user's own jit around a solve that raises, the solver among the arguments."""
    solver = ROWS[row].solver()
    return partial(jax.jit(lambda s, A, b: kx.solve(A, b, s)), solver)


@each_kind
def test_jit_agrees_with_plain(row: str):
    matrix, b = primary(row)
    found = compiled(row)(operator(row, matrix), b)
    plain = solved(row, ROWS[row].problems[0])
    assert found.stats.num_steps == plain.stats.num_steps
    assert relative_error(found.value, plain.value) <= RTOL["float64"]


@pytest.mark.parametrize("row", [row for row in KINDS if row in FAILING])
def test_failure_under_jit_raises_with_the_sentence(row: str):
    matrix, b = problem(HARD)
    # JAX turns the error of a callback into a RuntimeError, but into a ValueError from
    # the second call of a compiled function on.
    sentence = ROWS[row].hard_status.sentence
    with pytest.raises((RuntimeError, ValueError), match=sentence):
        jax.block_until_ready(compiled(row)(operator(row, matrix), b))


@each_row
def test_second_system_of_the_same_structure_compiles_nothing(row: str):
    name = ROWS[row].problems[0]
    matrix, b = problem(name)
    solver, b = ROWS[row].solver(), jnp.asarray(b)
    A, b_again = operator(row, 2 * matrix), -b
    # Anew, as programs are dropped where they take too much memory.
    kx.solve(operator(row, matrix), b, solver, throw=False)
    with jax.no_tracing(True):
        again = kx.solve(A, b_again, solver, throw=False)
    assert again.status == Status.converged


def batch(row: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A good system, one without steps, one that is not finite, one that fails."""
    matrix, b = primary(row)
    hard, hard_b = problem(HARD)
    matrices = [matrix, matrix, matrix, hard]
    return matrices, [b, np.zeros_like(b), np.full_like(b, np.nan), hard_b]


@cache
def batched(row: str) -> Any:
    """A batch of systems of a pytree, or of vectors where the solver needs those."""
    matrices, bs = batch(row)
    solver, is_general = ROWS[row].solver(), row in GENERAL_ROWS

    def one(matrix: Any, b: Any) -> Any:
        A = operator_on_trees(row, matrix) if is_general else operator(row, matrix)
        return kx.solve(A, b, solver, throw=False)

    b = to_tree(np.stack(bs)) if is_general else np.stack(bs)
    return jax.jit(jax.vmap(one))(np.stack(matrices), b)


def operator_on_trees(row: str, matrix: Any) -> Any:
    structure = {
        "u": jax.ShapeDtypeStruct((8, 4), jnp.float64),
        "v": jax.ShapeDtypeStruct((16,), jnp.float64),
    }
    product = jax.tree_util.Partial(apply_to_tree, matrix)
    return kx.operators.Function(product, structure, tags=ROWS[row].tags)


def to_tree(vectors: np.ndarray) -> Any:
    return {"u": vectors[:, :32].reshape(-1, 8, 4), "v": vectors[:, 32:]}


def apply_to_tree(matrix: Any, x: Any) -> Any:
    flat = matrix @ jnp.concatenate([x["u"].reshape(-1), x["v"]])
    return {"u": flat[:32].reshape(8, 4), "v": flat[32:]}


@each_row
def test_vmap_gives_every_system_its_own_status_and_counts(row: str):
    found = batched(row)
    each = [solve(row, A, b) for A, b in zip(*batch(row), strict=True)]
    assert found.status.tolist() == [int(one.status) for one in each]
    # Rounding decides how often a direct solver refines what it cannot solve, and how
    # many steps in 32 bits a refinement takes.
    num_equal = 3 if ROWS[row].is_direct or row == "refinement" else 4
    slack = 0.1 if row == "refinement" else 0
    for count in ("num_steps", "num_matvecs", "num_preconditioner_calls"):
        expected = np.array([getattr(one.stats, count) for one in each[:num_equal]])
        got = np.asarray(getattr(found.stats, count)[:num_equal])
        assert np.all(np.abs(got - expected) <= slack * expected)


@each_row
def test_vmap_gives_the_solutions_of_one_by_one(row: str):
    good = solved(row, ROWS[row].problems[0])
    first, second = (
        to_vector(jax.tree.map(lambda leaf, i=i: leaf[i], batched(row).value))
        for i in (0, 1)
    )
    assert relative_error(first, good.value) <= RTOL["float64"]
    assert not np.any(second)


@pytest.mark.parametrize("row", GENERAL_ROWS)
def test_fields_may_be_pytrees(row: str):
    # In a batch, the first system of which is the row's first problem.
    found = batched(row).value
    assert jax.tree.map(jnp.shape, found) == {"u": (4, 8, 4), "v": (4, 16)}


def value_of(row: str, weights: np.ndarray, matrix: Any, b: Any) -> Any:
    """A functional of the solution, as a function of the system."""
    return jnp.vdot(weights, solve(row, matrix, b).value)


@each_row
def test_gradient_is_that_of_the_dense_solve(row: str):
    matrix, b = primary(row)
    weights = np.cos(np.arange(len(b)))
    function = partial(value_of, row, weights)
    by_matrix, by_b = jax.grad(function, argnums=(0, 1))(jnp.asarray(matrix), b)
    adjoint = np.linalg.solve(matrix.T, weights)
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), RTOL["float64"], "float64")
    assert relative_error(by_b, adjoint) <= slack
    x = np.linalg.solve(matrix, b)
    assert relative_error(by_matrix, -np.outer(adjoint, x)) <= slack


@pytest.mark.parametrize("row", ["cg", "gmres", "gcrodr"])
def test_directional_derivative_is_that_of_the_dense_solve(row: str):
    matrix, b = primary(row)
    direction = 0.1 * (matrix @ matrix + matrix) / np.linalg.norm(matrix, 2)
    pair = (jnp.asarray(matrix), jnp.asarray(b))
    tangents = (jnp.asarray(direction), jnp.ones(len(b)))
    _, got = jax.jvp(lambda A, b: solve(row, A, b).value, pair, tangents)
    x = np.linalg.solve(matrix, b)
    expected = np.linalg.solve(matrix, np.ones(len(b)) - direction @ x)
    slack = 3 * solution_tolerance(np.linalg.cond(matrix), RTOL["float64"], "float64")
    assert relative_error(got, expected) <= slack


@each_row
def test_directional_derivative_is_that_of_finite_differences(row: str):
    matrix, b = primary(row)
    # Of the size at which an error of rtol / step and one of step² are alike.
    step = RTOL["float64"] ** (1 / 3)
    ahead = solve(row, (1 + step) * matrix, b + step).value
    back = solve(row, (1 - step) * matrix, b - step).value
    x = np.linalg.solve(matrix, b)
    expected = np.linalg.solve(matrix, np.ones(len(b))) - x
    error = relative_error((ahead - back) / (2 * step), expected)
    assert error <= 10 * np.linalg.cond(matrix) * step**2
