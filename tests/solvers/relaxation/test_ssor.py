"""SSOR against dense triangular solves, in every order."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

import krylax as kx
from krylax.solvers.sweeps._colour_sweeps import colours_of

from ...helpers import as_matrix, relative_error, tolerance

SSOR, Natural = kx.solvers.SSOR, kx.solvers.Natural
Multicolour, Neumann = kx.solvers.Multicolour, kx.solvers.Neumann
MIXED: Any = [("dirichlet", "neumann"), "periodic", "neumann"]
WRAPPED: Any = ["periodic", "neumann", "periodic"]
# Odd and even sizes, every axis the longest once, and the shortest that there are.
GRIDS: list[tuple[tuple[int, ...], Any]] = [
    ((7,), "dirichlet"),
    ((6,), "periodic"),
    ((5, 4), "dirichlet"),
    ((4, 7), MIXED[:2]),
    ((5, 3), WRAPPED[:2]),
    ((2, 3), "periodic"),
    ((3, 4, 5), MIXED),
    ((5, 2, 3), WRAPPED),
    ((2, 4, 2), "periodic"),
]
each_grid = pytest.mark.parametrize(("shape", "faces"), GRIDS)


def wavy(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.exp(0.5 * np.random.default_rng(seed).standard_normal(shape))


def flow(shape: tuple[int, ...], faces: Any) -> Any:
    """Nonsymmetric, and without zeros on the diagonal's side."""
    k, v = 1 + wavy(shape), wavy((len(shape), *shape), 1)
    A = kx.operators.ConvectionDiffusion(k, v, boundary=faces)
    return A + kx.operators.Identity(A.in_structure)


def apply_densely(matrix: np.ndarray, omega: float, b: np.ndarray) -> np.ndarray:
    """M⁻¹ b by two triangular solves."""
    D = np.diag(np.diag(matrix)) / omega
    solve = scipy.linalg.solve_triangular
    y = solve(np.tril(matrix, -1) + D, b, lower=True)
    return (2 - omega) * solve(np.triu(matrix, 1) + D, D @ y)


@partial(jax.jit, static_argnums=(0, 3))
def on_grid(order: Any, omega: float, A: Any, transposed: bool = False) -> Any:
    M = SSOR(omega, order)(A)
    return (M.T if transposed else M).as_matrix()


@each_grid
def test_wavefronts_are_dense_triangular_solves(shape: Any, faces: Any):
    A = flow(shape, faces)
    matrix = as_matrix(A)
    expected = apply_densely(matrix, 1.6, np.eye(len(matrix)))
    error = relative_error(on_grid(Natural(), 1.6, A), expected)
    assert error <= tolerance(10, "float64")


@pytest.mark.parametrize("order", [Natural(), Multicolour(), Neumann(3)], ids=str)
@pytest.mark.parametrize(("shape", "faces"), [GRIDS[3], GRIDS[7]])
def test_transpose_is_that_of_the_matrix(shape: Any, faces: Any, order: Any):
    A = flow(shape, faces)
    expected = np.asarray(on_grid(order, 1.3, A)).T
    error = relative_error(on_grid(order, 1.3, A, True), expected)
    assert error <= tolerance(10, "float64")


@pytest.mark.parametrize(
    "make",
    [
        lambda: kx.operators.Laplacian((5, 4), 0.5, boundary=WRAPPED[:2]),
        lambda: kx.operators.Diffusion(wavy((4, 5))),
        lambda: kx.operators.Helmholtz(wavy((4, 5)), 0.3 + 0.4j),
        lambda: kx.operators.MaskedPoisson(np.array([[1, 2, 2, 3], [2, 2, 1, 2]])),
        lambda: kx.operators.ConvectionDiffusion(wavy((4, 5)), np.array([1.0, -2.0])),
        lambda: kx.operators.ConvectionDiffusion(wavy((4, 5)), np.array([1.0, -2.0])).T,
        lambda: kx.operators.Dense(wavy((9, 9)) + 9 * np.eye(9)),
        lambda: kx.operators.Sparse.from_scipy(
            scipy.sparse.random_array((40, 40), density=0.1, rng=5)
            + 9 * scipy.sparse.eye_array(40)
        ),
    ],
    ids=[
        "laplacian",
        "diffusion",
        "helmholtz",
        "masked_poisson",
        "convection_diffusion",
        "its_transpose",
        "dense",
        "sparse",
    ],
)
def test_natural_order_is_known_of_every_such_operator(make: Any):
    A = make()
    matrix = as_matrix(A)
    expected = apply_densely(matrix, 1.3, np.eye(len(matrix)))
    error = relative_error(as_matrix(SSOR(1.3)(A)), expected)
    assert error <= tolerance(10, "float64")


@each_grid
def test_neighbours_differ_in_colour(shape: Any, faces: Any):
    A = flow(shape, faces)
    colours = colours_of(shape, A.left.stencil.faces).ravel()
    rows, columns = np.nonzero(as_matrix(A) - np.diag(A.diagonal().ravel()))
    assert rows.size > 0
    assert np.all(colours[rows] != colours[columns])


@each_grid
def test_colours_are_dense_triangular_solves_in_their_order(shape: Any, faces: Any):
    A = flow(shape, faces)
    colours = colours_of(shape, A.left.stencil.faces).ravel()
    order = np.argsort(colours, kind="stable")
    M = np.asarray(on_grid(Multicolour(), 1.2, A))[np.ix_(order, order)]
    matrix = as_matrix(A)[np.ix_(order, order)]
    expected = apply_densely(matrix, 1.2, np.eye(len(matrix)))
    assert relative_error(M, expected) <= tolerance(10, "float64")


@pytest.mark.parametrize(
    "A",
    [
        flow((3, 4), "periodic"),
        kx.operators.Dense(wavy((12, 12)) + 20 * np.eye(12)),
        kx.operators.Sparse.from_scipy(scipy.sparse.csr_array(wavy((12, 12)) + 20)),
        kx.operators.Banded(wavy((4, 12)) + 2, (-3, -1, 0, 2)),
        kx.operators.Banded(wavy((2, 12)) + 2, (-1, 0)),
    ],
    ids=["grid", "dense", "sparse", "banded", "banded_lower"],
)
def test_full_neumann_series_is_natural_order(A: Any):
    # A strict triangle of n rows has no power beyond n - 1.
    matrix, M = as_matrix(A), SSOR(1.3, Neumann(12))(A)
    expected = apply_densely(matrix, 1.3, np.eye(12))
    slack = tolerance(float(np.linalg.cond(expected)), "float64", 100)
    assert relative_error(as_matrix(M), expected) <= slack


def steps(A: Any, M: Any) -> int:
    b = jnp.asarray(np.random.default_rng(2).standard_normal(A.in_structure.shape))
    found = kx.solve(A, b, kx.solvers.CG(rtol=1e-8), preconditioner=M)
    return int(found.stats.num_steps)


def test_red_black_at_one_takes_half_the_steps_of_cg():
    A = kx.operators.Laplacian((31, 31))
    assert abs(2 * steps(A, SSOR(1.0, Multicolour())) - steps(A, None)) <= 2


def test_red_black_is_best_at_one():
    A = kx.operators.Laplacian((31, 31))
    best = steps(A, SSOR(1.0, Multicolour()))
    assert best <= min(steps(A, SSOR(w, Multicolour())) for w in (0.8, 1.2, 1.5))


def test_good_omega_saves_a_third_of_the_steps_in_natural_order():
    A = kx.operators.Laplacian((31, 31))
    assert 3 * steps(A, SSOR(1.75)) <= 2 * steps(A, SSOR(1.0))


def test_another_omega_compiles_nothing():
    A, b = kx.operators.Laplacian((8, 6)), jnp.ones((8, 6))
    solver = kx.solvers.CG(rtol=1e-8)
    kx.solve(A, b, solver, preconditioner=SSOR(1.2))
    M = SSOR(1.7)
    with jax.no_tracing(True):
        found = kx.solve(A, b, solver, preconditioner=M)
    assert found.status == kx.Status.converged


def test_vmap_over_omega_agrees_with_plain():
    A, b = kx.operators.Laplacian((8, 6)), jnp.ones((8, 6))
    apply = partial(lambda b, omega: SSOR(omega)(A) @ b, b)
    omegas = np.array([0.7, 1.0, 1.9])
    each = np.stack([jax.jit(apply)(omega) for omega in omegas])
    found = jax.jit(jax.vmap(apply))(omegas)
    assert relative_error(found, each) <= tolerance(1, "float64")


@pytest.mark.parametrize("omega", [0.0, 2.0, -1.0, float("nan"), np.ones(2)])
def test_omega_outside_of_its_range_is_refused(omega: Any):
    with pytest.raises(ValueError, match="omega must be one number between 0 and 2"):
        SSOR(omega)


@pytest.mark.parametrize(
    ("order", "A", "message"),
    [
        (Natural(), kx.operators.Banded(np.ones((1, 4)), (0,)), "use order=Neumann"),
        (
            Multicolour(),
            kx.operators.Dense(np.eye(4)),
            "on grids and Sparse, got Dense",
        ),
        (
            Neumann(),
            kx.operators.Kronecker(kx.operators.Dense(np.eye(2))),
            "Banded, Sparse and Dense, got",
        ),
    ],
)
def test_operators_that_an_order_does_not_know_are_refused(
    order: Any, A: Any, message: str
):
    with pytest.raises(ValueError, match=message):
        SSOR(order=order)(A)


def test_traced_pattern_is_refused_with_the_remedy():
    A = kx.operators.Sparse.from_scipy(scipy.sparse.eye_array(4) * 2.0)
    with pytest.raises(ValueError, match="make the preconditioner before the solve"):
        kx.solve(A, jnp.ones(4), kx.solvers.CG(rtol=1e-8), preconditioner=SSOR())


def test_series_without_terms_is_refused():
    with pytest.raises(ValueError, match="num_terms must be at least 1, got 0"):
        Neumann(0)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("solver", [SSOR, kx.solvers.SOR, kx.solvers.AdaptiveSOR])
@pytest.mark.parametrize("order", ["natural", kx.solvers.Natural])
def test_order_that_is_none_is_refused(solver: Any, order: Any):
    with pytest.raises(TypeError, match=r"order must be an order such as Natural\(\)"):
        solver(order=order)
