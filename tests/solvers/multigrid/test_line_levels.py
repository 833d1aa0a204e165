"""The robust cycle: grids halved axis by axis, with coarse operators of Galerkin."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.operators._declared import AbstractDeclaredOperator
from krylax.operators.grids._stencil import Stencil
from krylax.solvers.multigrid._coarse_inverse import CoarseInverse
from krylax.solvers.multigrid._couplings import Couplings
from krylax.solvers.multigrid._halving import halve
from krylax.solvers.multigrid._line_hierarchy import line_levels
from krylax.solvers.multigrid._line_level import PlaneSweeps
from krylax.solvers.multigrid._lines import factorise
from krylax.solvers.multigrid._small_grids import small_grids

from ...helpers import relative_error, tolerance

Diffusion: Any = kx.operators.Diffusion
Multigrid: Any = kx.solvers.Multigrid
STEPS = (0.6, 1.6)
MIXED = [("dirichlet", "neumann"), "periodic", "neumann"]
# Odd and even sizes, and axes that close with either.
GRIDS: list[tuple[tuple[int, ...], Any]] = [
    ((29,), "periodic"),
    ((12, 11), "dirichlet"),
    ((9, 13), "periodic"),
    ((10, 7), MIXED[:2]),
    ((7, 2), "neumann"),
    ((5, 3, 4), "periodic"),
    ((3, 6, 5), MIXED),
]
each_grid = pytest.mark.parametrize(("shape", "faces"), GRIDS, ids=str)


def coefficient(shape: tuple[int, ...], contrast: float) -> np.ndarray:
    return np.exp(contrast * np.random.default_rng(0).standard_normal(shape))


def matrix_of(function: Any, structure: Any) -> Any:
    """The matrix of a linear map of fields."""
    size = int(np.prod(structure.shape))
    units = jnp.eye(size).reshape(size, *structure.shape)
    return jax.vmap(function)(units).reshape(size, -1).T


@jax.jit
def levels_and_matrices(A: Any) -> Any:
    _, levels, last = line_levels(A, 6, STEPS, small={2: 0, 3: 0})
    found = [
        (
            matrix_of(level.mv, level.in_structure),
            matrix_of(level.prolong, level.coarse_structure),
            matrix_of(level.restrict, level.in_structure),
        )
        for level in levels
    ]
    return A.as_matrix(), found, last.as_matrix()


@each_grid
def test_coarse_operators_are_the_products_of_galerkin(
    shape: tuple[int, ...], faces: Any
):
    nullspace = None if "dirichlet" in str(faces) else "constant"
    A = Diffusion(coefficient(shape, 3.0), boundary=faces, nullspace=nullspace)
    expected, found, last = levels_and_matrices(A)
    for matrix, prolongation, restriction in found:
        assert relative_error(matrix, expected) <= tolerance(1, "float64")
        assert relative_error(restriction.T, prolongation) <= tolerance(1, "float64")
        if nullspace is not None:
            sums = np.sum(prolongation, axis=1)
            assert relative_error(sums, np.ones(len(sums))) <= tolerance(1, "float64")
        expected = np.asarray(prolongation.T @ matrix @ prolongation)
    found = expected @ np.asarray(last) @ expected
    assert relative_error(found, expected) <= tolerance(10, "float64")


# Odd and even sizes, and one that is no multiple of the coarsest.
@pytest.mark.parametrize("shape", [(9, 13), (8, 16), (5, 7, 6)], ids=str)
def test_loop_over_small_grids_is_the_cycle_over_their_levels(shape: tuple[int, ...]):
    faces = [("dirichlet", "neumann"), *["neumann"] * (len(shape) - 1)]
    looped, levels = loop_and_levels(Diffusion(coefficient(shape, 3.0), boundary=faces))
    assert relative_error(looped, levels) <= tolerance(1, "float64")


@jax.jit
def loop_and_levels(A: Any) -> Any:
    looped = small_grids(Couplings.of(A.stencil), 6, STEPS, A.tags)
    assert looped is not None
    couplings, order, levels = Couplings.of(A.stencil), looped.order, []
    for _ in range(len(looped.levels.grid.low)):
        shape = couplings.slack.shape
        level, coarse = halve(couplings.transposed(order), STEPS)
        levels.append(replace(level, order=order, shape=shape))
        couplings, order = coarse, (*range(1, len(shape)), 0)
    inverse = CoarseInverse(inverse_of(couplings), couplings.slack.shape, A.tags)
    return looped.as_matrix(), kx.solvers.MultigridCycle(levels, inverse).as_matrix()


def inverse_of(couplings: Couplings) -> Any:
    structure = jax.ShapeDtypeStruct(couplings.slack.shape, float)
    return jnp.linalg.inv(matrix_of(couplings.stencil().mv, structure))


class Apart(kx.solvers.AbstractSmoother):
    """The same sweeps, of which the level does not know what they leave."""

    own: Any

    def before(self, level: Any, b: Any) -> Any:
        return self.own.before(level, b)

    def after(self, level: Any, x: Any, b: Any) -> Any:
        return self.own.after(level, x, b)


@jax.jit
def cycles(A: Any) -> Any:
    M = Multigrid(cycle="robust")(A)

    def is_smoother(part: Any) -> bool:
        return isinstance(part, PlaneSweeps)

    apart = jax.tree.map(
        lambda part: Apart(part) if is_smoother(part) else part, M, is_leaf=is_smoother
    )
    return A.as_matrix(), M.as_matrix(), apart.as_matrix()


class WithDiagonals(AbstractDeclaredOperator):
    """An operator of a user, which answers with a stencil."""

    couplings: Stencil
    declared: Any

    @property
    def in_structure(self) -> Any:
        return jax.ShapeDtypeStruct(self.couplings.shape, float)

    @property
    def stencil(self) -> Stencil:
        return self.couplings

    def mv(self, x: Any) -> Any:
        return self.couplings.mv(x)


def kinds() -> dict[str, Any]:
    """Operators of every kind, above 64 cells, with walls inside."""
    ops, k = kx.operators, coefficient((12, 11), 2.0)
    cells = np.full((12, 11), 2)
    cells[0], cells[:, -2:], cells[4:7, 3:6] = 1, 3, 1
    closed = np.where(cells == 3, 1, cells)
    line = np.where(np.arange(12)[:, None] % 3 == 1, 1e4, 1.0) * np.ones((12, 11))
    # Bilinear elements: with couplings along the diagonals.
    diagonal = Stencil.of(
        8 / 3 * jnp.ones((12, 11)),
        {(0, 1): -1 / 3, (1, 0): -1 / 3, (1, 1): -1 / 3, (1, -1): -1 / 3},
        is_symmetric=True,
    )
    declared = ops.Laplacian((12, 11)).declared
    return {
        "laplacian_stretched": ops.Laplacian((12, 11), (1.0, 0.1)),
        "laplacian_closed": ops.Laplacian((9, 11), boundary="periodic"),
        "helmholtz": ops.Helmholtz(k, -k),
        "implicit_heat": ops.Identity(k) + 0.1 * ops.Diffusion(k),
        "layers": ops.Diffusion(line),
        "masked": ops.MaskedPoisson(cells),
        "masked_closed": ops.MaskedPoisson(closed),
        "diagonals": WithDiagonals(diagonal, declared),
        "line": ops.Diffusion(coefficient((100,), 3.0)),
        "box": ops.Diffusion(coefficient((5, 5, 4), 2.0), boundary=MIXED),
    }


@pytest.mark.parametrize("kind", kinds())
def test_cycle_is_symmetric_definite_and_near_the_inverse(kind: str):
    operator = kinds()[kind]
    A, M, apart = cycles(operator)
    assert relative_error(M.T, M) <= tolerance(1, "float64")
    assert np.linalg.eigvalsh(M)[0] > 0
    # A step that leaves no residual where it need not be formed.
    assert relative_error(apart, M) <= tolerance(10, "float64")
    spectrum = np.sort(np.linalg.eigvals(M @ A).real)
    assert spectrum[-1] <= 1 + 1e-10
    assert spectrum[int("singular" in operator.tags)] >= 0.5


def test_lines_bound_planes_that_are_strongly_linked_both_ways():
    """The axis that is halved is the weak one, for which the cycle is slow."""
    A, M, _ = cycles(Diffusion(np.ones((6, 6, 6)), (0.1, 1.0, 0.1)))
    assert np.linalg.eigvalsh(M)[0] > 0
    assert np.max(np.linalg.eigvals(M @ A).real) <= 1 + 1e-10


def hard_coefficients(n: int) -> list[np.ndarray]:
    """Layers, channels, walls, islands, and cells that have nothing in common."""
    draws = np.random.default_rng(0)
    layers = np.where(np.arange(n) % 2, 1e4, 1.0)[:, None] * np.ones((n, n))
    thick = np.where(np.arange(n) // 5 % 2, 1e4, 1.0) * np.ones((n, n))
    channels, barriers, islands = np.ones((3, n, n))
    for index in range(n // 4):
        lines = draws.integers(n, size=2)
        field, value = ((channels, 1e6), (barriers, 1e-4))[index % 2]
        field[lines[0]], field[:, lines[1]] = value, value
        i, j = draws.integers(n - 3, size=2)
        islands[i : i + 3, j : j + 2] = 1e6
    rows, columns = np.indices((n, n)) // 3
    chess = np.where((rows + columns) % 2, 1e4, 1.0)
    cells = 1e4 ** draws.uniform(size=(n, n))
    return [layers, thick, channels, barriers, islands, chess, cells]


def test_steps_are_few_on_hard_coefficients():
    """The cheap cycle takes 37 to 400."""
    n = 48
    solver = kx.solvers.CG(rtol=1e-8, max_steps=100)
    b = np.random.default_rng(1).standard_normal((n, n))

    @jax.jit
    def steps(k: Any) -> Any:
        M = Multigrid(cycle="robust")
        found = kx.solve(Diffusion(k), b, solver, preconditioner=M, throw=False)
        return found.stats.num_steps

    found = jax.lax.map(steps, jnp.stack(hard_coefficients(n)))
    assert np.all(np.asarray(found) <= [8, 8, 13, 10, 13, 13, 18])


@pytest.mark.parametrize("spacing", [1.0, 1 / 48, 100.0])
def test_rows_of_solid_cells_do_not_matter(spacing: float):
    """A third of the cells, whose rows are of any size beside the links.

    With these rows in the hierarchy it takes 34 steps for the first.
    """
    draws = np.random.default_rng(3)
    family = kx.datasets.Porous((48, 48), mask="random", width=1 / 48)
    cells = np.where(family.sample(0)["pores"] > 0, 2, 1)
    A = kx.operators.MaskedPoisson(cells, spacing, boundary="dirichlet")
    b = A.mv(jnp.asarray(draws.standard_normal((48, 48))))
    solver = kx.solvers.CG(rtol=1e-8)
    M = Multigrid(cycle="robust")
    assert int(kx.solve(A, b, solver, preconditioner=M).stats.num_steps) <= 14


def test_steps_are_few_on_three_axes():
    """The cheap cycle takes 13, more than 100, 29 and 27."""
    shape = (12, 10, 11)
    solver = kx.solvers.CG(rtol=1e-8, max_steps=100)
    draws = np.random.default_rng(1)
    b = draws.standard_normal(shape)
    layers = np.where(np.arange(10)[:, None] % 2, 1e4, 1.0) * np.ones(shape)
    islands = np.where(draws.uniform(size=shape) < 0.2, 1e6, 1.0)
    smooth = coefficient(shape, 1.0)
    operators = [
        Diffusion(layers),
        Diffusion(islands),
        Diffusion(smooth, (1.0, 0.1, 1.0)),
        Diffusion(smooth, (20.0, 10.0, 2.0)),
    ]

    @jax.jit
    def steps(A: Any) -> Any:
        M = Multigrid(cycle="robust")
        return kx.solve(A, b, solver, preconditioner=M, throw=False).stats.num_steps

    found = jax.lax.map(steps, jax.tree.map(lambda *x: jnp.stack(x), *operators))
    assert np.all(np.asarray(found) <= [6, 11, 5, 6])


@pytest.mark.parametrize("ratio", [3.0, 100.0])
def test_stretched_cells_cost_no_more_steps(ratio: float):
    A = Diffusion(np.ones((40, 48)), (1.0, 1 / ratio))
    M, solver = Multigrid(cycle="robust"), kx.solvers.CG(rtol=1e-8)
    found = kx.solve(A, jnp.ones((40, 48)), solver, preconditioner=M)
    assert int(found.stats.num_steps) <= 9


def test_single_precision_serves_at_a_contrast_of_ten_thousand():
    k = np.where(np.random.default_rng(2).uniform(size=(32, 24)) < 0.5, 1e4, 1.0)
    M = Multigrid(cycle="robust", single_precision=True)
    solver = kx.solvers.CG(rtol=1e-8)
    found = kx.solve(Diffusion(k), jnp.ones((32, 24)), solver, preconditioner=M)
    assert int(found.stats.num_steps) <= 35


def test_operators_are_set_up_and_solved_under_vmap():
    ks = jnp.asarray(coefficient((3, 16, 12), 2.0))
    M, solver = Multigrid(cycle="robust"), kx.solvers.CG(rtol=1e-10)

    @jax.jit
    def solve(ks: Any) -> Any:
        found = jax.vmap(
            lambda k: kx.solve(
                Diffusion(k), jnp.ones((16, 12)), solver, preconditioner=M, throw=False
            )
        )(ks)
        return found.value, jax.vmap(lambda k, x: Diffusion(k).mv(x))(ks, found.value)

    _, products = solve(ks)
    assert relative_error(products, np.ones((3, 16, 12))) <= 1e-9


@pytest.mark.parametrize("is_closed", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_lines_of_any_contrast_are_solved_to_all_digits(size: int, is_closed: bool):
    draws = np.random.default_rng(size)
    link = 10 ** draws.uniform(-8, 8, size=size)
    excess = 10 ** draws.uniform(-8, 0, size=size)
    b = draws.uniform(1, 2, size=size)
    one_line = [jnp.asarray(values)[:, None] for values in (link, excess, b)]
    lines = factorise(one_line[0], one_line[1], is_closed)
    found = np.asarray(lines.solve(one_line[2]))[:, 0]
    exact = [[Fraction(value) for value in values] for values in (link, excess)]
    expected = _solved_exactly(_dense(exact[0], exact[1], is_closed), b)
    assert np.all(np.abs(found - expected) <= 1e-14 * expected)


def _solved_exactly(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By elimination in rational numbers."""
    rows = [[*row, Fraction(value)] for row, value in zip(A.tolist(), b, strict=True)]
    for i, pivot in enumerate(rows):
        rows[i] = pivot = [entry / pivot[i] for entry in pivot]
        for j, row in enumerate(rows):
            if j != i:
                rows[j] = [x - row[i] * y for x, y in zip(row, pivot, strict=True)]
    return np.array([float(row[-1]) for row in rows])


def _dense(link: Any, excess: Any, is_closed: bool) -> np.ndarray:
    size = len(link)
    A = np.diag(np.array(excess))
    for i in range(size if is_closed else size - 1):
        j = (i + 1) % size
        if i != j:
            A[[i, j], [i, j]] += link[i]
            A[[i, j], [j, i]] -= link[i]
    return A


def test_line_that_is_tied_to_nothing_is_solved_for_what_it_can():
    lines = factorise(jnp.ones((4, 1)), jnp.zeros((4, 1)), is_closed=False)
    b = jnp.array([[1.0], [-2.0], [3.0], [-2.0]])
    x = np.asarray(lines.solve(b))[:, 0]
    assert relative_error(_dense(np.ones(4), np.zeros(4), False) @ x, b[:, 0]) <= 1e-14


@pytest.mark.parametrize("size", [2, 64])
def test_line_that_is_small_enough_is_inverted(size: int):
    A = Diffusion(coefficient((size,), 3.0))
    A, M = jax.jit(lambda A: (A.as_matrix(), Multigrid()(A).as_matrix()))(A)
    bound = tolerance(np.linalg.cond(A), "float64")
    assert relative_error(M @ A, np.eye(size)) <= bound


def test_batch_of_operators_outside_of_vmap_is_refused_for_its_shape():
    A = jax.vmap(Diffusion)(jnp.asarray(coefficient((3, 6, 5), 2.0)))
    with pytest.raises(ValueError, match="the operator expects float64"):
        kx.solve(A, jnp.ones((6, 5)), kx.solvers.CG(1e-8), preconditioner=Multigrid())


def test_kinds_that_are_not_symmetric_or_real_are_refused():
    velocity = (jnp.ones((12, 12)), jnp.ones((12, 12)))
    flow = kx.operators.ConvectionDiffusion(jnp.ones((12, 12)), velocity)
    with pytest.raises(ValueError, match=r'nonsymmetric one; use cycle="cheap"'):
        Multigrid(cycle="robust")(flow)
    with pytest.raises(ValueError, match=r'complex one; use cycle="cheap"'):
        Multigrid(cycle="robust")(Diffusion(np.full((12, 12), 1 + 1j)))
    with pytest.raises(ValueError, match="operators with a stencil"):
        Multigrid(cycle="robust")(kx.operators.Dense(jnp.eye(4)))
    with pytest.raises(
        ValueError, match=r"cycle must be one of \('auto', 'cheap', 'robust'\)"
    ):
        Multigrid(cycle="best")
