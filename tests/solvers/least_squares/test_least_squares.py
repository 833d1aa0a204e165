"""Least squares through `solve`: solutions, certificates, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance
from .cases import (
    RTOL,
    SHAPES,
    SOLVERS,
    ByPseudoInverse,
    expected_of,
    matrix_of,
    rhs_of,
    solve_all,
)

ops: Any = kx.operators
Status = kx.Status
each_solver = pytest.mark.parametrize("solver", SOLVERS)
each_shape = pytest.mark.parametrize("shape", SHAPES)
COND = 3.0  # of every matrix here, apart from zeros


def normal_residual(matrix: Any, b: Any, damping: float, x: Any) -> float:
    r = b - matrix @ x
    g = matrix.conj().T @ r - damping**2 * x
    length = np.hypot(np.linalg.norm(r), damping * np.linalg.norm(x))
    size = np.sqrt(np.linalg.norm(matrix, 2) ** 2 + damping**2)
    return float(np.linalg.norm(g) / (size * length))


def slack(dtype: str) -> float:
    """κ² rtol for a residual that is not small, and rounding."""
    return COND**2 * RTOL[dtype] + tolerance(COND**2, dtype)


@pytest.mark.parametrize(
    ("shape", "damping"),
    [("tall", 0.0), ("wide", 0.0), ("square", 0.0), ("tall", 0.5), ("wide", 0.5)],
)
@each_solver
def test_solution_is_that_of_least_length_at_any_scale(
    solver: str, shape: str, damping: float
):
    scales = [(1.0, 1.0), (1e200, 1e200), (1e-200, 1e-200), (1.0, 1e-200), (1e200, 1e9)]
    scales = scales if damping == 0 else [(1.0, 1.0), (1.0, 1e-200), (1.0, 1e200)]
    matrix, b = matrix_of(shape), rhs_of(shape)
    found = solve_all(
        solver, [c * matrix for c, _ in scales], [d * b for _, d in scales], damping
    )
    for solution, (c, d) in zip(found, scales, strict=True):
        assert solution.status == Status.converged
        x = solution.value / (d / c)
        assert relative_error(x, expected_of(matrix, b, damping)) <= slack("float64")
        residual = np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)
        assert abs(solution.stats.relative_residual - residual) <= slack("float64")


@each_solver
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_other_precisions_and_complex_problems_are_solved(solver: str, dtype: str):
    matrix, b = matrix_of("tall", dtype), rhs_of("tall", dtype)
    size = 1e25 if dtype == "float32" else 1.0
    first, second = solve_all(
        solver, [matrix, (size * matrix).astype(dtype)], [b, (b / size).astype(dtype)]
    )
    assert first.status == Status.converged
    assert relative_error(first.value, expected_of(matrix, b)) <= slack(dtype)
    # 1e-50 is beyond single precision.
    is_beyond = dtype == "float32"
    assert second.status == (Status.nonfinite if is_beyond else Status.converged)


@each_shape
def test_problem_without_full_rank_is_solved_by_lsmr_and_told_by_qr(shape: str):
    matrix, b = matrix_of(shape, rank=3), rhs_of(shape)
    inside = matrix @ expected_of(matrix, b)
    outside = b - inside
    matrices, rhs = [matrix] * 3 + [0 * matrix], [b, inside, outside, b]
    found = solve_all("lsmr", matrices, rhs)
    assert all(solution.status == Status.converged for solution in found)
    for solution, b in zip(found[:2], rhs, strict=False):
        error = relative_error(solution.value, expected_of(matrix, b))
        assert error <= slack("float64")
    assert np.linalg.norm(found[2].value) <= tolerance(1, "float64")
    assert not np.any(found[3].value)
    for solution in solve_all("qr", matrices, rhs):
        assert solution.status == Status.breakdown
        assert not np.any(solution.value)


@each_solver
def test_nothing_is_solved_of_zeros_and_of_what_is_not_finite(solver: str):
    matrix, b = matrix_of("tall"), rhs_of("tall")
    wrong, nan = matrix.copy(), b.copy()
    wrong[2, 1], nan[3] = np.inf, np.nan
    zero, *others = solve_all(solver, [matrix, wrong, matrix], [0 * b, b, nan])
    assert (zero.status, zero.stats.num_steps) == (Status.converged, 0)
    for found in others:
        assert (found.status, found.stats.num_steps) == (Status.nonfinite_input, 0)
        assert not np.any(found.value)


@each_solver
def test_start_serves_where_it_is_closer_and_selects_among_several(solver: str):
    matrix, b = matrix_of("wide"), rhs_of("wide")
    expected = expected_of(matrix, b)
    null = np.eye(9) - np.linalg.pinv(matrix) @ matrix

    @jax.jit
    def solve(x0: Any) -> Any:
        A, made = ops.Dense(matrix), SOLVERS[solver](1e-10)
        return kx.solve(A, jnp.asarray(b), made, x0=x0, throw=False)

    start = expected + 0.3 * np.cos(np.arange(9))
    near, far = solve(start), solve(1e3 * start)
    assert near.stats.is_start_used
    assert not far.stats.is_start_used
    nearest = expected + null @ start
    assert relative_error(near.value, nearest) <= slack("float64")
    assert relative_error(far.value, expected) <= slack("float64")


def pair_operator() -> Any:
    """Sums of rectangular Kronecker products over an array and a vector beside it."""
    rng = np.random.default_rng(2)
    factors = [ops.Dense(rng.standard_normal((4, 3)) / 3) for _ in range(4)]
    grid = ops.Kronecker(*factors[:2]) + ops.Kronecker(*factors[2:])
    line = ops.Dense(rng.standard_normal((2, 2)))
    return ops.Block([[grid, None], [None, line]])


@each_solver
@pytest.mark.parametrize("damping", [0.0, 1.0])
def test_fields_may_be_trees_of_arrays_on_grids(solver: str, damping: float):
    A, made = pair_operator(), SOLVERS[solver](1e-10, damping=damping)
    b = (jnp.cos(jnp.arange(16.0)).reshape(4, 4), jnp.ones(2))
    found = kx.solve(A, b, made)
    matrix = np.asarray(A.as_matrix())
    flat = np.concatenate([np.ravel(leaf) for leaf in b])
    got = np.concatenate([np.ravel(leaf) for leaf in found.value])
    cond = np.linalg.cond(matrix) ** 2
    assert relative_error(got, expected_of(matrix, flat, damping)) <= cond * 1e-10
    reported = float(found.stats.normal_residual)  # pyright: ignore[reportArgumentType]
    # Rounding is all that there is of either.
    assert max(normal_residual(matrix, flat, damping, got), reported) <= 1e-10


@pytest.mark.parametrize("miss", [1e-8, 1e-2])
def test_certificate_is_of_the_result_whatever_a_solver_claims(miss: float):
    A, b = ops.Dense(matrix_of("tall")), rhs_of("tall")
    claims = ByPseudoInverse(rtol=1e-6, miss=jnp.asarray(miss))
    found = kx.solve(A, b, claims, throw=False)
    measured = normal_residual(matrix_of("tall"), rhs_of("tall"), 0.0, found.value)
    assert float(found.stats.normal_residual) == pytest.approx(measured, rel=1e-6)  # pyright: ignore[reportArgumentType]
    assert (found.status == Status.converged) == (measured <= 1e-6)


A: Any = ops.Dense(matrix_of("tall"))
B = jnp.asarray(rhs_of("tall"))
LSMR = kx.solvers.LSMR(rtol=1e-10)


class Forward(kx.operators.AbstractLinearOperator):
    """An operator whose transpose JAX cannot make."""

    @property
    def in_structure(self) -> Any:
        return A.in_structure

    def mv(self, x: Any) -> Any:
        return jax.lax.while_loop(lambda y: y[0] > 1, lambda y: y / 2, x)


REFUSED: dict[str, tuple[Any, str]] = {
    "b_of_the_unknown": (
        lambda: kx.solve(A, jnp.ones(5), LSMR),
        r"b has structure float64\[5\], the operator expects float64\[9\]",
    ),
    "start_of_the_data": (
        lambda: kx.solve(A, B, LSMR, x0=B),
        r"x0 has structure float64\[9\], the operator expects float64\[5\]",
    ),
    "preconditioner_of_the_data": (
        lambda: kx.solve(
            A, B, LSMR, preconditioner=ops.Identity(jax.eval_shape(lambda: B))
        ),
        r"preconditioner acts on float64\[9\], the unknown is float64\[5\]",
    ),
    "preconditioner_without_adjoint": (
        lambda: kx.solve(A, B, LSMR, preconditioner=Forward()),
        "needs the adjoint of the preconditioner, which this Forward has not",
    ),
    "preconditioner_of_residuals": (
        lambda: kx.solve(
            ops.Dense(np.eye(3)), np.ones(3), LSMR, preconditioner=lambda r: 2 * r
        ),
        "made a multiple of A",
    ),
    "transpose_preconditioner": (
        lambda: kx.solve(A, B, LSMR, transpose_preconditioner=Forward()),
        "leave out transpose_preconditioner",
    ),
    "carry": (lambda: kx.solve(A, B, LSMR, carry=B), "this LSMR carries nothing"),
    "unroll": (lambda: kx.solve(A, B, LSMR, unroll=2), "LSMR cannot be unrolled"),
    "damping": (
        lambda: kx.solvers.QR(damping=-1.0),
        "damping must be one number, zero or positive and finite, got -1.0",
    ),
    "rectangle_for_cg": (
        lambda: kx.solve(A, B, kx.solvers.CG()),
        "A must be square, .*; LSMR and QR solve least-squares problems",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_input_is_refused_with_the_reason(case: str):
    attempt, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        attempt()


def test_inverse_by_a_least_squares_solver_is_refused():
    with pytest.raises(
        TypeError, match=r"pseudo-inverse as an operator is QR\(\)\(A\)"
    ):
        ops.Inverse(ops.Identity(A.in_structure), LSMR)


def test_failed_solve_raises_outside_and_inside_of_jit():
    few = kx.solvers.LSMR(rtol=1e-10, max_steps=2)
    with pytest.raises(kx.solvers.SolveError, match="reached max_steps"):
        kx.solve(A, B, few)
    with pytest.raises(jax.errors.JaxRuntimeError, match="reached max_steps"):
        jax.block_until_ready(jax.jit(lambda b: kx.solve(A, b, few).value)(B))
