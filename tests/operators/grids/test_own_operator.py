"""An operator of a user's own, outside of the package, with every preconditioner."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import krylax as kx
from krylax.operators import Separable, Stencil

from ...helpers import as_matrix

N = 12


class CompactLaplacian(kx.operators.AbstractLinearOperator):
    """The fourth-order 9-point Laplacian, -6h² Δ ≈ [1 4 1; 4 -20 4; 1 4 1]."""

    weight: Float[Array, ""]

    @property
    def in_structure(self) -> Any:
        return jax.ShapeDtypeStruct((N, N), jnp.dtype(float))

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(
            ["symmetric", "hermitian", "positive_definite", "positive_semidefinite"]
        )

    @property
    def stencil(self) -> Stencil:
        along, across = -4 * self.weight, -self.weight
        return Stencil.of(
            jnp.full((N, N), 20 * self.weight),
            {(0, 1): along, (1, 0): along, (1, 1): across, (1, -1): across},
            is_symmetric=True,
        )

    @property
    def separable(self) -> Separable | None:
        return (6 * self.weight * kx.operators.Laplacian((N, N))).separable

    def mv(self, x: Float[Array, "n m"]) -> Float[Array, "n m"]:
        padded = jnp.pad(x, 1)
        window = jnp.array([[1.0, 4, 1], [4, -20, 4], [1, 4, 1]])
        parts = [
            window[i, j] * padded[i : i + N, j : j + N]
            for i in range(3)
            for j in range(3)
        ]
        return -self.weight * sum(parts[1:], parts[0])


class RobinWall(kx.operators.AbstractLinearOperator):
    """-Δu on cells with u' = alpha u on the low wall of the first axis, else zero."""

    alpha: Float[Array, ""]

    @property
    def in_structure(self) -> Any:
        return jax.ShapeDtypeStruct((N, N), jnp.dtype(float))

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(
            ["symmetric", "hermitian", "positive_definite", "positive_semidefinite"]
        )

    def _line(self) -> Float[Array, "n n"]:
        robin = jnp.zeros((N, N)).at[0, 0].set(self.alpha / (1 + self.alpha / 2) - 1)
        return kx.operators.Laplacian((N,)).as_matrix() + robin

    @property
    def stencil(self) -> Stencil:
        line = jnp.diagonal(self._line())
        centre = jnp.add.outer(line, 2 * jnp.ones(N))
        return Stencil.of(centre, {(0, 1): -1.0, (1, 0): -1.0}, is_symmetric=True)

    @property
    def separable(self) -> Separable:
        lines = (self._line(), kx.operators.Laplacian((N,)).as_matrix())
        return Separable(tuple(map(kx.operators.DenseLine, lines)))

    def mv(self, x: Float[Array, "n m"]) -> Float[Array, "n m"]:
        across = kx.operators.Laplacian((N,)).as_matrix()
        return self._line() @ x + x @ across


OPERATORS = {
    "nine points": CompactLaplacian(jnp.asarray(1.5)),
    "Robin wall": RobinWall(jnp.asarray(0.7)),
}
FACTORIES = {
    "ssor": kx.solvers.SSOR(1.2),
    "ssor in colours": kx.solvers.SSOR(order=kx.solvers.Multicolour()),
    "ssor by series": kx.solvers.SSOR(order=kx.solvers.Neumann(2)),
    "incomplete cholesky": kx.solvers.IncompleteCholesky(),
    "incomplete lu": kx.solvers.IncompleteLU(),
    "block jacobi": kx.solvers.BlockJacobi(5),
    "fast diagonalisation": kx.solvers.FastDiagonalization(),
}
RHS = jnp.asarray(np.random.default_rng(2).standard_normal((N, N)))


@pytest.mark.parametrize("kind", OPERATORS)
def test_stencil_is_the_operator(kind: str):
    A = OPERATORS[kind]
    matrix = as_matrix(A)
    x = np.asarray(RHS)
    allowed = 100 * np.finfo(float).eps * np.max(np.abs(matrix))

    @jax.jit
    def of_stencil(A: Any, x: Any) -> Any:
        stencil = A.stencil
        return stencil.mv(x), stencil.complete().T.mv(x)

    products = np.stack(of_stencil(A, x))
    assert np.max(np.abs(products - (matrix @ x.ravel()).reshape(N, N))) <= allowed
    assert np.max(np.abs(as_matrix(A.stencil.as_sparse()) - matrix)) <= allowed


def incomplete_factor(matrix: np.ndarray) -> np.ndarray:
    """M = (P + L) P⁻¹ (P + Lᵀ), equal to the matrix wherever that is not zero."""
    factor, pattern = matrix.copy(), matrix != 0
    for k in range(len(matrix)):
        rows = np.flatnonzero(pattern[k + 1 :, k]) + k + 1
        factor[rows, k] /= factor[k, k]
        factor[rows, k + 1 :] -= np.outer(factor[rows, k], factor[k, k + 1 :])
        factor[~pattern] = 0
    lower, upper = np.tril(factor, -1) + np.eye(len(factor)), np.triu(factor)
    return lower @ upper


def ssor_matrix(matrix: np.ndarray, omega: float) -> np.ndarray:
    D = np.diag(np.diagonal(matrix))
    L = np.tril(matrix, -1)
    P = D / omega
    return (P + L) @ np.linalg.inv(P) @ (P + L.T) / (2 - omega)


def block_matrix(matrix: np.ndarray, size: int) -> np.ndarray:
    number = np.arange(len(matrix)) // size
    return np.where(number[:, None] == number, matrix, 0)


ORACLES = {
    "ssor": lambda A: ssor_matrix(A, 1.2),
    "incomplete cholesky": incomplete_factor,
    "incomplete lu": incomplete_factor,
    "block jacobi": lambda A: block_matrix(A, 5),
}


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("factory", ORACLES)
def test_preconditioner_of_an_own_operator_is_that_of_its_matrix(
    kind: str, factory: str
):
    A = OPERATORS[kind]
    M = np.linalg.inv(FACTORIES[factory](A).as_matrix())
    expected = ORACLES[factory](as_matrix(A))
    assert np.max(np.abs(M - expected)) <= 1e4 * np.finfo(float).eps * np.max(expected)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("factory", FACTORIES)
def test_cg_with_any_preconditioner_solves_an_own_operator(kind: str, factory: str):
    A, solver = OPERATORS[kind], kx.solvers.CG(rtol=1e-10)
    sol = kx.solve(A, RHS, solver, preconditioner=FACTORIES[factory])
    exact = np.linalg.solve(as_matrix(A), np.ravel(RHS)).reshape(N, N)
    # κ(A) is below 200 on this grid.
    assert np.linalg.norm(sol.value - exact) <= 200 * 1e-10 * np.linalg.norm(exact)


def test_robin_wall_has_multigrid():
    A, solver = OPERATORS["Robin wall"], kx.solvers.CG(rtol=1e-8)
    sol = kx.solve(A, RHS, solver, preconditioner=kx.solvers.Multigrid())
    alone = kx.solve(A, RHS, solver)
    assert 2 * sol.stats.num_steps < alone.stats.num_steps


def test_separable_operator_is_inverted_by_fast_diagonalisation():
    A = OPERATORS["Robin wall"]
    inverse = kx.solvers.FastDiagonalization()(A).as_matrix()
    product = np.asarray(inverse @ A.as_matrix())
    # κ(A) eps, κ(A) < 200.
    assert np.max(np.abs(product - np.eye(N * N))) <= 200 * 100 * np.finfo(float).eps


def test_robust_multigrid_takes_the_diagonal_couplings_that_the_cheap_cycle_refuses():
    A, solver = OPERATORS["nine points"], kx.solvers.CG(rtol=1e-8)
    with pytest.raises(ValueError, match=r'use Multigrid\(cycle="robust"\)'):
        kx.solvers.Multigrid(cycle="cheap")(A)
    M = kx.solvers.Multigrid()
    sol = kx.solve(A, RHS, solver, preconditioner=M)
    assert 2 * sol.stats.num_steps < kx.solve(A, RHS, solver).stats.num_steps


@pytest.mark.parametrize(
    ("couplings", "is_symmetric", "match"),
    [
        ({(0, 2): 1.0}, False, "an offset is -1, 0 or 1"),
        ({(0, 0): 1.0}, False, "the weight of the cell itself is the centre"),
        ({(1,): 1.0}, False, "along each of the 2 axes"),
        ({(0, -1): 1.0}, True, r"give \(0, 1\) instead"),
        ({(0, 1): np.ones((4, 3))}, False, r"shape \(3, 4\), got shape \(4, 3\)"),
        ({(0, 1): 1j}, False, "a complex coupling at"),
        ({1: 1.0}, False, "an offset is -1, 0 or 1"),
        ({(0.0, 1.0): 1.0}, False, "an offset is -1, 0 or 1"),
        ({(0, 1): np.nan}, False, "coupling at .* must be finite"),
    ],
)
def test_offsets_that_are_none_are_refused(
    couplings: Any, is_symmetric: bool, match: str
):
    with pytest.raises(ValueError, match=match):
        Stencil.of(jnp.ones((3, 4)), couplings, is_symmetric=is_symmetric)


@pytest.mark.parametrize("is_symmetric", [False, True])
def test_a_periodic_axis_of_one_cell_couples_nothing(is_symmetric: bool):
    ones, couplings = jnp.ones((1, 3)), {(1, 0): -1.0}
    with pytest.raises(ValueError, match="axis 0 is periodic and has one cell"):
        Stencil.of(ones, couplings, boundary="periodic", is_symmetric=is_symmetric)
    # Between walls that offset leads out of the grid.
    Stencil.of(ones, couplings, is_symmetric=is_symmetric)
    Stencil.of(ones, {(0, 1): -1.0}, boundary="periodic", is_symmetric=is_symmetric)


def test_centre_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="centre must be finite"):
        Stencil.of(np.array([1.0, np.nan]), {(1,): -1.0})


def test_couplings_may_be_lists_and_offsets_integers_of_numpy():
    couplings: Any = {(np.int64(1),): [-1, np.nan]}
    found = Stencil.of([2.0, 2.0], couplings, is_symmetric=True)
    known = Stencil.of(2 * jnp.ones(2), {(1,): -1.0}, is_symmetric=True)
    assert found.offsets == known.offsets
    assert type(found.offsets[0][0]) is int
    assert np.array_equal(found.couplings, known.couplings)


def test_couplings_that_lead_out_of_the_grid_are_ignored():
    ones = jnp.ones((3, 4))
    plain = Stencil.of(ones, {(1, 1): -1.0, (0, -1): 2.0})
    matrix = as_matrix(plain.as_sparse())
    expected = np.eye(12)
    for i, j in np.ndindex(3, 4):
        for (di, dj), weight in {(1, 1): -1.0, (0, -1): 2.0}.items():
            if 0 <= i + di < 3 and 0 <= j + dj < 4:
                expected[4 * i + j, 4 * (i + di) + j + dj] = weight
    assert np.array_equal(matrix, expected)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3)])
def test_periodic_stencil_agrees_with_its_matrix(shape: tuple[int, int]):
    rng = np.random.default_rng(0)
    weights = {o: rng.standard_normal(shape) for o in [(1, 1), (0, 1), (-1, 0)]}
    A = Stencil.of(rng.standard_normal(shape), weights, boundary="periodic")
    x = jnp.asarray(rng.standard_normal(shape))
    product, transposed = jax.jit(lambda A, x: (A.mv(x), A.T.mv(x)))(A, x)
    matrix, slack = as_matrix(A.as_sparse()), {"rtol": 0, "atol": 1e-13}
    assert np.allclose(matrix @ np.ravel(x), np.ravel(product), **slack)
    assert np.allclose(matrix.T @ np.ravel(x), np.ravel(transposed), **slack)
    assert np.allclose(as_matrix(A.T.as_sparse()), matrix.T, **slack)


def test_kronecker_product_and_a_multiple_of_the_identity_are_diagonalised():
    rng = np.random.default_rng(1)
    kernels = []
    for n in (5, 7):
        X = rng.standard_normal((n, n))
        kernels.append(kx.operators.Dense(X @ X.T, tags=["positive_definite"]))
    K = kx.operators.Kronecker(*kernels)
    A = 2.0 * K + 0.3 * kx.operators.Identity(K.in_structure)
    inverse = np.asarray(kx.solvers.FastDiagonalization()(A).as_matrix())
    matrix = as_matrix(A)
    cond = np.linalg.cond(matrix)
    error = np.max(np.abs(inverse @ matrix - np.eye(35)))
    assert error <= 100 * cond * np.finfo(float).eps


class HalfTagged(CompactLaplacian):
    """It says that it is definite, and not what that implies."""

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(["symmetric", "positive_definite"])


@pytest.mark.parametrize(
    "use",
    [
        lambda A: kx.solve(A, RHS, kx.solvers.CG(rtol=1e-8)),
        lambda A: kx.operators.check_operator(A, jax.random.key(0)),
        kx.solvers.IncompleteCholesky(),
        kx.solvers.Deflation(RHS[None]),
    ],
    ids=["solve", "check_operator", "IncompleteCholesky", "Deflation"],
)
def test_tags_that_lack_what_they_imply_are_refused(use: Any):
    missing = r"which implies \['hermitian', 'positive_semidefinite'\]; let its tags"
    with pytest.raises(ValueError, match=missing):
        use(HalfTagged(jnp.asarray(1.5)))
