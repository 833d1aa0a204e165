"""The algebraic cycle as a matrix, against PyAMG's own, and as a preconditioner."""

import sys
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx
from krylax.solvers.multigrid import _pyamg_hierarchy
from krylax.solvers.multigrid._jacobi_sweeps import optimal_steps
from krylax.solvers.multigrid._smoothed_aggregation import aggregated_levels

from ...helpers import draw, relative_error, solution_tolerance, tolerance

pyamg: Any = pytest.importorskip("pyamg")
AlgebraicMultigrid: Any = kx.solvers.AlgebraicMultigrid
CG = kx.solvers.CG(rtol=1e-8)


def line(n: int) -> Any:
    """The tridiagonal (-1, 2, -1)."""
    diagonals: Any = scipy.sparse.diags_array
    return diagonals([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)).tocsr()


def poisson(n: int, weight: float = 1.0) -> Any:
    """-u_xx - weight u_yy on n × n points, both scaled by the squared spacing."""
    identity = scipy.sparse.eye_array(n)
    along = scipy.sparse.kron(line(n), identity)
    return scipy.sparse.csr_array(along + weight * scipy.sparse.kron(identity, line(n)))


def jumping(n: int) -> Any:
    """A diffusion whose coefficient jumps by 10⁴ between blocks of 8 × 8 cells."""
    is_high = np.random.default_rng(0).random((n // 8, n // 8)) < 0.5
    k = np.where(is_high, 1e4, 1.0).repeat(8, 0).repeat(8, 1)
    dense = kx.operators.Diffusion(k).as_matrix()
    return scipy.sparse.csr_array(np.asarray(dense))


def turned(matrix: Any) -> Any:
    """A hermitian matrix, not symmetric, with the spectrum of a symmetric one."""
    phases = scipy.sparse.diags_array(np.exp(1j * np.arange(matrix.shape[0])))
    return scipy.sparse.csr_array(phases @ matrix @ phases.conj())


def elastic(n: int) -> tuple[Any, np.ndarray]:
    """Plane elasticity of n × n nodes, and the rigid-body modes."""
    matrix, modes = pyamg.gallery.linear_elasticity((n, n))
    return scipy.sparse.csr_array(matrix) / 1e5, modes


def flow(n: int) -> Any:
    """A recirculating flow on n × n cells, upwind, with Péclet numbers up to 5."""
    x = (np.arange(n) + 0.5) / n
    rise, fall = 4 * x * (x - 1), 1 - 2 * x
    velocity = 5 * np.stack([np.outer(rise, fall), -np.outer(fall, rise)])
    A = kx.operators.ConvectionDiffusion(np.ones((n, n)), velocity)
    return scipy.sparse.csr_array(np.asarray(A.as_matrix()))


def as_operator(matrix: Any, dtype: str = "float64") -> Any:
    return kx.operators.Sparse.from_scipy(
        matrix.astype(dtype), tags=["positive_definite"]
    )


def right_hand_side(n: int, dtype: str = "float64") -> np.ndarray:
    return draw(np.random.default_rng(3), (n,), np.dtype(dtype))


MATRICES: dict[str, Any] = {
    "poisson": lambda: poisson(24),
    "anisotropic": lambda: poisson(24, 1e-2),
    "jumping": lambda: jumping(24),
    "hermitian": lambda: turned(poisson(24)),
    "elastic": lambda: elastic(18)[0],
}
each_matrix = pytest.mark.parametrize("name", MATRICES)


@cache
def made(name: str, num_sweeps: int = 2) -> tuple[Any, Any]:
    """A matrix and its cycle."""
    matrix = MATRICES[name]()
    A = as_operator(matrix, str(matrix.dtype))
    return matrix.toarray(), AlgebraicMultigrid(num_sweeps)(A)


@pytest.mark.parametrize(
    ("name", "num_sweeps"),
    [*((name, count) for name in MATRICES for count in (1, 2)), ("poisson", 3)],
)
def test_cycle_is_hermitian_and_definite(name: str, num_sweeps: int):
    A, cycle = made(name, num_sweeps)
    M = np.asarray(cycle.as_matrix())
    slack = tolerance(float(np.linalg.cond(A)), "float64")
    assert "positive_definite" in cycle.tags
    assert relative_error(M.conj().T, M) <= slack
    assert np.linalg.eigvalsh(M)[0] > 0


@each_matrix
def test_cycle_never_amplifies_the_error(name: str):
    A, cycle = made(name)
    eigenvalues = np.linalg.eigvals(np.asarray(cycle.as_matrix()) @ A).real
    assert np.min(eigenvalues) > 0
    assert np.max(eigenvalues) <= 1 + tolerance(float(np.linalg.cond(A)), "float64")


@pytest.mark.parametrize("num_sweeps", range(1, 6))
def test_sweeps_reduce_every_error_up_to_their_bound(num_sweeps: int):
    eigenvalues = np.linspace(0, 2, 1001)[1:]
    steps = np.asarray(optimal_steps(num_sweeps))
    factors = np.prod(1 - steps * eigenvalues[:, None], axis=1)
    upper = eigenvalues >= 8 / (3 * (num_sweeps + 1) ** 2)
    assert np.max(np.abs(factors)) < 1
    assert np.max(np.abs(factors[upper])) <= 0.51


def omega_of(level: Any) -> float:
    """The factor of D⁻¹ in a sweep."""
    step, weights = level.smoother.steps[0], np.asarray(level.smoother.weights)
    diagonal = jax.jit(lambda A: A.diagonal())(level.operator)
    return float(np.asarray(step) * weights[0] * np.asarray(diagonal)[0])


def as_rows(part: Any) -> Any:
    return None if part is None else part.tocsr()


def with_our_sweep(matrix: Any, cycle: Any) -> Any:
    """PyAMG's solver with Jacobi sweeps of our step on every level."""
    ml = pyamg.smoothed_aggregation_solver(matrix, max_coarse=500)
    for level, ours in zip(
        ml.levels, aggregated_levels(matrix, None, 500), strict=True
    ):
        level.A, level.P, level.R = (as_rows(part) for part in ours[:3])
    smoothers = [
        ("jacobi", {"omega": omega_of(level), "withrho": False})
        for level in cycle.levels
    ]
    pyamg.relaxation.smoothing.change_smoothers(ml, smoothers, smoothers)
    return ml


@pytest.mark.parametrize("name", ["poisson", "anisotropic", "jumping"])
def test_cycle_is_that_of_pyamg_with_the_same_smoother(name: str):
    A, cycle = made(name, 1)
    ml = with_our_sweep(scipy.sparse.csr_array(A), cycle)
    expected = ml.aspreconditioner(cycle="V").matmat(np.eye(len(A)))
    slack = tolerance(float(np.linalg.cond(A)), "float64")
    assert relative_error(cycle.as_matrix(), expected) <= slack


def test_steps_are_those_of_pyamg_with_the_same_smoother():
    matrix, b = poisson(64), right_hand_side(64**2)
    A = as_operator(matrix)
    cycle = AlgebraicMultigrid(num_sweeps=1)(A)
    found = kx.solve(A, b, CG, preconditioner=cycle)
    ml, residuals = with_our_sweep(matrix, cycle), []
    x0 = np.zeros_like(b)
    ml.solve(b, x0=x0, tol=CG.rtol, accel="cg", residuals=residuals)
    assert abs(int(found.stats.num_steps) - (len(residuals) - 1)) <= 1


BOUNDS: dict[str, Any] = {
    "poisson": (lambda: poisson(64), 10),
    "anisotropic": (lambda: poisson(64, 1e-2), 10),
    "jumping": (lambda: jumping(48), 14),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_few_steps_are_enough(name: str):
    matrix, bound = BOUNDS[name][0](), BOUNDS[name][1]
    A, b = as_operator(matrix), right_hand_side(matrix.shape[0])
    found = kx.solve(A, b, CG, preconditioner=AlgebraicMultigrid()(A))
    assert int(found.stats.num_steps) <= bound


def test_candidates_that_depend_on_each_other_leave_the_cycle_definite(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(_pyamg_hierarchy, "COARSEST", 20)
    matrix, ones = poisson(24), np.ones((576, 1))
    M = AlgebraicMultigrid(near_nullspace=np.hstack([ones, 2 * ones]))(
        as_operator(matrix)
    )
    eigenvalues = np.linalg.eigvalsh(np.asarray(M.as_matrix()))
    assert len(M.levels) > 2
    assert eigenvalues[0] > 0


OWN: dict[str, Any] = {
    "poisson": lambda: (poisson(64), None),
    "anisotropic": lambda: (poisson(64, 1e-2), None),
    "jumping": lambda: (jumping(48), None),
    "elastic": lambda: (elastic(32)[0], None),
    "elastic with modes": lambda: elastic(32),
}


@pytest.mark.parametrize("name", OWN)
def test_steps_are_those_of_pyamg_with_a_product_less(name: str):
    matrix, modes = OWN[name]()
    A, b = as_operator(matrix), right_hand_side(matrix.shape[0])
    M = AlgebraicMultigrid(near_nullspace=modes)(A)
    found = kx.solve(A, b, CG, preconditioner=M)
    residuals: list[float] = []
    with _pyamg_hierarchy._fixed_seed():
        ml = pyamg.smoothed_aggregation_solver(matrix, B=modes)
    ml.solve(b, tol=CG.rtol, accel="cg", residuals=residuals)
    own = len(residuals) - 1
    assert int(found.stats.num_steps) <= max(own + 1, 1.1 * own)


def test_flow_takes_few_steps_of_gmres():
    matrix = flow(32)
    A = kx.operators.Sparse.from_scipy(matrix)
    M = AlgebraicMultigrid()(A)
    solver = kx.solvers.GMRES(rtol=1e-8)
    found = kx.solve(A, right_hand_side(1024), solver, preconditioner=M)
    assert M.tags == frozenset()
    assert int(found.stats.num_steps) <= 16


def test_finest_level_keeps_the_matrix_that_is_given():
    A = as_operator(poisson(24))
    M = AlgebraicMultigrid()(A)
    assert M.levels[0].operator is A


def test_hierarchies_of_the_user_are_taken():
    matrix = jumping(48)
    A, b = as_operator(matrix), right_hand_side(matrix.shape[0])
    M = AlgebraicMultigrid(build=pyamg.ruge_stuben_solver)(A)
    assert "positive_definite" in M.tags
    assert int(kx.solve(A, b, CG, preconditioner=M).stats.num_steps) <= 12


def unsymmetric(matrix: Any) -> Any:
    """A hierarchy whose R is twice the adjoint of P."""
    ml = pyamg.smoothed_aggregation_solver(matrix)
    for level in ml.levels[:-1]:
        level.R = 2 * level.R
    return ml


def test_hierarchy_that_is_not_symmetric_promises_nothing():
    M = AlgebraicMultigrid(build=unsymmetric)(as_operator(poisson(24)))
    assert M.tags == frozenset()
    matrix, transpose = jax.jit(lambda M: (M.as_matrix(), M.T.as_matrix()))(M)
    assert relative_error(transpose, matrix.T) <= tolerance(100, "float64")


def test_matrix_below_the_coarsest_size_is_inverted():
    matrix = line(6)
    M = AlgebraicMultigrid()(as_operator(matrix))
    slack = tolerance(float(np.linalg.cond(matrix.toarray())), "float64")
    assert relative_error(M.as_matrix() @ matrix.toarray(), np.eye(6)) <= slack


def test_same_matrix_gives_the_same_numbers_and_others_draw_as_before():
    matrix = as_operator(poisson(24))
    factory = AlgebraicMultigrid(build=pyamg.smoothed_aggregation_solver)
    np.random.seed(1)  # noqa: NPY002
    first, drawn = factory(matrix), np.random.rand()  # noqa: NPY002
    second = factory(matrix)
    np.random.seed(1)  # noqa: NPY002
    assert drawn == np.random.rand()  # noqa: NPY002
    assert all(map(np.array_equal, jax.tree.leaves(first), jax.tree.leaves(second)))


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_true_residual_meets_the_tolerance_in_every_precision(dtype: str):
    rtol = {"float32": 1e-4}.get(dtype, 1e-8)
    matrix = {"complex128": turned(poisson(24))}.get(dtype, poisson(24))
    A, b = as_operator(matrix, dtype), right_hand_side(24**2, dtype)
    M = AlgebraicMultigrid()(A)
    found = kx.solve(A, b, kx.solvers.CG(rtol=rtol), preconditioner=M)
    wide = np.asarray(found.value, np.result_type(dtype, float))
    assert found.value.dtype == M.out_structure.dtype == dtype
    assert relative_error(matrix @ wide, b) <= rtol


def test_jit_and_vmap_over_right_hand_sides_agree_with_a_dense_solve():
    matrix, M = made("anisotropic")
    A = as_operator(MATRICES["anisotropic"]())
    bs = np.stack([right_hand_side(576), np.ones(576)])
    solve = jax.jit(
        jax.vmap(
            lambda A, b, M: kx.solve(A, b, CG, preconditioner=M).value,
            in_axes=(None, 0, None),
        )
    )
    slack = solution_tolerance(float(np.linalg.cond(matrix)), CG.rtol, "float64")
    assert relative_error(solve(A, bs, M).T, np.linalg.solve(matrix, bs.T)) <= slack


@pytest.mark.parametrize("name", ["poisson", "hermitian"])
def test_gradient_is_that_of_a_dense_solve(name: str):
    matrix, M = made(name)
    A = as_operator(MATRICES[name](), str(matrix.dtype))

    def total(b: Any) -> Any:
        return jnp.sum(kx.solve(A, b, CG, preconditioner=M).value).real

    got = jax.grad(total)(jnp.asarray(right_hand_side(576, str(matrix.dtype))))
    expected = np.linalg.solve(matrix.T, np.ones(576))
    slack = solution_tolerance(float(np.linalg.cond(matrix)), CG.rtol, "float64")
    assert relative_error(got, expected) <= slack


def test_gradient_with_respect_to_the_matrix_is_that_without_it():
    A, b = as_operator(poisson(24)), right_hand_side(576)
    M = AlgebraicMultigrid()(A)

    def total(values: Any, M: Any) -> Any:
        scaled = kx.operators.Diagonal(values, tags=["positive_definite"])
        system = kx.operators.Sum(A, scaled)
        return jnp.sum(kx.solve(system, b, CG, preconditioner=M).value)

    ones = jnp.ones(576)
    got, plain = jax.grad(total)(ones, M), jax.grad(total)(ones, None)
    assert relative_error(got, plain) <= 6 * solution_tolerance(9, CG.rtol, "float64")


def test_second_system_of_the_same_structure_compiles_nothing():
    matrix, b = poisson(24), right_hand_side(576)
    A, other = as_operator(matrix), as_operator(2 * matrix)
    kx.solve(A, b, CG, preconditioner=AlgebraicMultigrid()(A))
    M = AlgebraicMultigrid()(other)
    with jax.no_tracing(True):
        again = kx.solve(other, b, CG, preconditioner=M, throw=False)
    assert again.status == kx.Status.converged


def test_traced_matrix_is_refused_with_the_remedy():
    A = as_operator(poisson(12))
    with pytest.raises(ValueError, match="make it before the solve and outside of jit"):
        kx.solve(A, np.ones(144), CG, preconditioner=AlgebraicMultigrid())


def test_other_operators_are_refused_with_the_remedy():
    A = kx.operators.Laplacian((4, 4))
    with pytest.raises(ValueError, match=r"knows Sparse, got Laplacian.*use Multi"):
        AlgebraicMultigrid()(A)


def test_zero_on_the_diagonal_is_refused():
    matrix = scipy.sparse.csr_array(np.eye(20)[::-1])
    A = kx.operators.Sparse.from_scipy(matrix, tags=["symmetric"])
    with pytest.raises(ValueError, match="got a matrix with a zero on it"):
        AlgebraicMultigrid()(A)


def test_missing_pyamg_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyamg", None)
    with pytest.raises(ImportError, match=r"pip install krylax\[amg\]"):
        AlgebraicMultigrid()(as_operator(poisson(24)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(576), r"finite vectors in its columns, got an array of shape \(576,"),
        (np.full((576, 1), np.nan), "must hold finite vectors"),
        (np.ones((144, 1)), "a row for each of the 576 unknowns, got 144"),
    ],
)
def test_near_nullspace_that_does_not_fit_is_refused(values: Any, message: str):
    A = as_operator(poisson(24))
    with pytest.raises(ValueError, match=message):
        AlgebraicMultigrid(near_nullspace=values)(A)


def test_near_nullspace_of_a_build_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"build=functools.partial\(.*, B=B\)"):
        AlgebraicMultigrid(
            build=pyamg.ruge_stuben_solver, near_nullspace=np.ones((576, 1))
        )
