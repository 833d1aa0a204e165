"""The cycle over levels and smoothers that are made outside of the library."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

from ...helpers import as_matrix, draw, relative_error, solution_tolerance, tolerance

solvers, operators = kx.solvers, kx.operators
SHAPES = ["V", "W", "F"]
N = 24


class DampedJacobi(solvers.AbstractSmoother):
    """Sweeps with one factor before and others after the correction."""

    inverse_diagonal: jax.Array
    before_factor: float = eqx.field(static=True)
    after_factors: tuple[float, ...] = eqx.field(static=True)

    def before(self, level: Any, b: Any) -> Any:
        return self.before_factor * (self.inverse_diagonal * b)

    def after(self, level: Any, x: Any, b: Any) -> Any:
        for factor in self.after_factors:
            x = x + factor * (self.inverse_diagonal * (b - level.mv(x)))
        return x


class LearnedSmoother(solvers.AbstractSmoother):
    """A full matrix S of weights, and its adjoint after the correction."""

    S: jax.Array

    def before(self, level: Any, b: Any) -> Any:
        return self.S @ b

    def after(self, level: Any, x: Any, b: Any) -> Any:
        return x + self.S.conj().T @ (b - level.mv(x))

    @property
    def is_adjoint(self) -> bool:
        return True

    @property
    def T(self) -> "LearnedSmoother":
        return LearnedSmoother(self.S.conj())


class Pairs(operators.AbstractLinearOperator):
    """Weighted sums of pairs of cells, with a weight for each cell."""

    weights: jax.Array

    @property
    def in_structure(self) -> Any:
        return jax.eval_shape(lambda: self.weights)

    @property
    def out_structure(self) -> Any:
        return jax.eval_shape(lambda: self.weights[::2])

    def mv(self, x: Any) -> Any:
        return jnp.sum((self.weights * x).reshape(-1, 2), axis=1)


def matrix(kind: str) -> np.ndarray:
    """A line of cells: diffusion, in a flow, with loss, or with turned phases."""
    A = 2.1 * np.eye(N) - np.eye(N, k=1) - np.eye(N, k=-1)
    if kind == "flow":
        return A + 0.4 * (np.eye(N) - np.eye(N, k=-1))
    if kind == "lossy":
        return A + 0.3j * np.diag(np.linspace(0, 1, N))
    phases = np.exp(1j * np.arange(N))
    return phases[:, None] * A * phases.conj() if kind == "hermitian" else A


TAGS: dict[str, Any] = {
    "definite": ["positive_definite"],
    "hermitian": ["positive_definite"],
    "lossy": ["symmetric"],
    "flow": [],
}


def level_of(A: np.ndarray, tags: Any, smoother: Any, own: Any = None) -> Any:
    """A level with transfers of random weights, and the matrix on the next one."""
    rng = np.random.default_rng(len(A))
    jitter = 0.1 * draw(rng, (len(A),), A.dtype)
    R = Pairs(jnp.asarray((1 + jitter).astype(A.dtype)))
    P = None if own is None else own(R)
    level = solvers.Level(operators.Dense(A, tags=tags), smoother, R, P)
    dense = as_matrix(R)
    other = dense.conj().T if P is None else as_matrix(P)
    return level, dense @ A @ other


def hierarchy(kind: str, smoother_of: Any, own: Any = None) -> tuple[Any, list[Any]]:
    """The levels of a matrix, and its inverse on the last."""
    A, levels = matrix(kind), []
    for _ in range(2):
        level, below = level_of(A, TAGS[kind], smoother_of(A), own)
        levels.append(level)
        A = below
    return operators.Dense(np.linalg.inv(A), tags=TAGS[kind]), levels


def unequal(A: np.ndarray) -> DampedJacobi:
    return DampedJacobi(jnp.asarray(1 / np.diagonal(A)), 0.6, (0.8, 0.5))


def learned(A: np.ndarray) -> LearnedSmoother:
    rng = np.random.default_rng(1)
    noise = draw(rng, A.shape, A.dtype) / len(A)
    return LearnedSmoother(jnp.asarray(0.6 * np.diag(1 / np.diagonal(A)) + 0.1 * noise))


def other_prolongation(R: Pairs) -> Any:
    """Not the adjoint of the restriction."""
    return Pairs(1.5 * R.weights[::-1]).T


@jax.jit
def parts_of(level: Any) -> Any:
    """The matrices of both smoothers, of the restriction and of the prolongation."""
    fine, coarse = (
        jnp.eye(n, dtype=level.operator.matrix.dtype)
        for n in (len(level.operator.matrix), len(level.operator.matrix) // 2)
    )
    pieces = (
        (lambda b: level.smoother.before(level, b), fine),
        (lambda b: level.smoother.after(level, jnp.zeros_like(b), b), fine),
        (level.restrict, fine),
        (level.prolong, coarse),
    )
    return [jax.vmap(apply)(columns).T for apply, columns in pieces]


def expected_matrix(levels: Any, inverse: np.ndarray, shape: str) -> np.ndarray:
    """The cycle as its error propagation says, by dense products."""
    if not levels:
        return inverse
    level, below = levels[0], levels[1:]
    A = np.asarray(level.operator.matrix)
    one = np.eye(len(A), dtype=A.dtype)
    S, S_after, restriction, prolongation = map(np.asarray, parts_of(level))
    M = expected_matrix(below, inverse, shape)
    if below and shape != "V":
        again = M if shape == "W" else expected_matrix(below, inverse, "V")
        A_below = np.asarray(below[0].operator.matrix)
        M = M + again @ (np.eye(len(M)) - A_below @ M)
    X = S + prolongation @ M @ restriction @ (one - A @ S)
    return X + S_after @ (one - A @ X)


CASES: dict[str, Any] = {
    "definite, learned": ("definite", learned, None),
    "hermitian, learned": ("hermitian", learned, None),
    "lossy, unequal": ("lossy", unequal, other_prolongation),
    "flow, learned": ("flow", learned, other_prolongation),
    "flow, unequal": ("flow", unequal, None),
}


@jax.jit
def matrices_of(M: Any) -> Any:
    columns = jnp.eye(N, dtype=M.in_structure.dtype)
    transposed = jax.linear_transpose(M.mv, M.in_structure)
    oracle = jax.vmap(lambda x: transposed(x)[0], out_axes=1)(columns)
    return M.as_matrix(), M.T.as_matrix(), oracle


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_cycle_and_transpose_are_those_of_dense_products(case: str, shape: Any):
    inverse, levels = hierarchy(*CASES[case])
    M = solvers.MultigridCycle(levels, inverse, shape=shape)
    got, transposed, oracle = map(np.asarray, matrices_of(M))
    slack = tolerance(float(np.linalg.cond(matrix(CASES[case][0]))), "float64")
    expected = expected_matrix(levels, np.asarray(inverse.matrix), shape)
    assert relative_error(got, expected) <= slack
    assert relative_error(transposed, got.T) <= slack
    assert relative_error(oracle, got.T) <= slack


@pytest.mark.parametrize("case", ["definite, learned", "hermitian, learned"])
@pytest.mark.parametrize("shape", ["V", "W"])
def test_cycle_is_tagged_hermitian_where_it_is(case: str, shape: Any):
    inverse, levels = hierarchy(*CASES[case])
    M = solvers.MultigridCycle(levels, inverse, shape=shape)
    dense = as_matrix(M)
    assert relative_error(dense.conj().T, dense) <= tolerance(100, "float64")
    assert "hermitian" in M.tags
    # Nothing is known of what the smoother makes of errors.
    assert "positive_definite" not in M.tags


SOLVES: dict[str, tuple[str, Any]] = {
    "definite, learned": ("definite", solvers.CG(1e-10)),
    "flow, learned": ("flow", solvers.FGMRES(1e-10)),
    "flow, unequal": ("flow", solvers.BiCGStab(1e-10)),
}


@pytest.mark.parametrize("case", SOLVES)
def test_gradient_through_a_solve_with_an_own_cycle_is_that_of_a_dense_one(case: str):
    kind, solver = SOLVES[case]
    inverse, levels = hierarchy(*CASES[case])
    M = solvers.MultigridCycle(levels, inverse)
    A, b = matrix(kind), np.linspace(1, 2, N)

    def total(A: Any, b: Any, M: Any) -> Any:
        system = operators.Dense(A, tags=TAGS[kind])
        solution = kx.solve(system, b, solver, preconditioner=M)
        return jnp.sum(solution.value**2), solution.stats.num_steps

    def dense(A: Any, b: Any) -> Any:
        return jnp.sum(jnp.linalg.solve(A, b) ** 2)

    compiled = eqx.filter_jit(jax.grad(total, (0, 1), has_aux=True))
    got, num_steps = compiled(jnp.asarray(A), jnp.asarray(b), M)
    expected = jax.grad(dense, (0, 1))(jnp.asarray(A), jnp.asarray(b))
    slack = 10 * solution_tolerance(float(np.linalg.cond(A)), 1e-10, "float64")
    assert num_steps <= 14
    assert relative_error(got[0] + got[0].T, expected[0] + expected[0].T) <= slack
    assert relative_error(got[1], expected[1]) <= slack


@pytest.mark.parametrize("factory", [solvers.Multigrid, solvers.AlgebraicMultigrid])
def test_promises_end_where_the_smoother_is_replaced(factory: Any):
    grid = operators.Laplacian((24, 23))
    A: Any = grid
    if factory is solvers.AlgebraicMultigrid:
        pytest.importorskip("pyamg")
        A = operators.Sparse.from_scipy(
            scipy.sparse.csr_array(np.asarray(grid.as_matrix())), tags=grid.tags
        )
    M = factory()(A)
    smoother = DampedJacobi(1 / A.diagonal(), 0.6, (0.8, 0.5))
    other = eqx.tree_at(lambda M: M.levels[0].smoother, M, smoother)
    assert M.tags == A.tags
    assert not other.tags
    found = kx.solve(
        A, jnp.ones(A.in_structure.shape), solvers.BiCGStab(1e-8), preconditioner=other
    )
    assert found.stats.num_steps <= 10


def test_w_cycle_promises_no_definiteness():
    A = operators.Laplacian((20, 21))
    M = solvers.Multigrid(shape="W")(A)
    assert M.tags == {"symmetric", "hermitian"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["flow", "complex"])
def test_transpose_of_grid_cycles_is_that_of_their_matrices(kind: str, shape: Any):
    k, velocity = np.ones((18, 11)), np.array([0.8, -0.5])
    A = operators.Diffusion(k * (1 + 0.5j))
    if kind == "flow":
        A = operators.ConvectionDiffusion(k, velocity)
    M, MT = eqx.filter_jit(lambda M: (M.as_matrix(), M.T.as_matrix()))(
        solvers.Multigrid(shape=shape)(A)
    )
    assert relative_error(MT, M.T) <= tolerance(100, "float64")


def test_levels_that_do_not_follow_each_other_are_refused():
    inverse, levels = hierarchy("definite", learned)
    with pytest.raises(ValueError, match=r"level 0 restricts to .*from fine to coarse"):
        solvers.MultigridCycle(levels[::-1], inverse)


def test_transfers_that_do_not_fit_are_refused():
    inverse, (level, below) = hierarchy("definite", learned)
    with pytest.raises(ValueError, match=r"the prolongation must map .* to "):
        solvers.Level(level.operator, level.smoother, level.restriction, inverse)
    with pytest.raises(ValueError, match="the restriction must map "):
        solvers.Level(level.operator, level.smoother, below.restriction)


@pytest.mark.usefixtures("as_users_run_it")
def test_parts_of_another_kind_are_refused_by_name():
    inverse, (level, _) = hierarchy("definite", learned)
    factory: Any = solvers.Jacobi()
    refused = partial(pytest.raises, TypeError)
    with refused(match="smoother must be an AbstractSmoother, got Jacobi"):
        solvers.Level(level.operator, factory, level.restriction)
    with refused(match="restriction must be an AbstractLinearOperator, got Jacobi"):
        solvers.Level(level.operator, level.smoother, factory)
    with refused(match="level 0 must be an AbstractLevel, got"):
        solvers.MultigridCycle([level.operator], inverse)
    with refused(match="coarse_inverse must be an AbstractLinearOperator, got Jacobi"):
        solvers.MultigridCycle([level], factory)
