"""The V-cycle as a matrix M⁻¹: symmetry, definiteness, and the spectrum of M⁻¹A."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import relative_error, tolerance, types_unchecked

Diffusion: Any = kx.operators.Diffusion
Multigrid = kx.solvers.Multigrid
MIXED = [("dirichlet", "neumann"), "periodic", "neumann"]
# Above 64 cells, so that there are two levels or more; odd and even sizes.
GRIDS: list[tuple[tuple[int, ...], Any]] = [
    ((100,), "dirichlet"),
    ((12, 11), MIXED[:2]),
    ((5, 5, 4), MIXED),
]
each_grid = pytest.mark.parametrize(("shape", "faces"), GRIDS, ids=["1d", "2d", "3d"])


@partial(jax.jit, static_argnums=1)
def matrices_of(A: Any, num_sweeps: int) -> Any:
    return A.as_matrix(), Multigrid(num_sweeps)(A).as_matrix()


def matrices(A: Any, num_sweeps: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Those of the operator and of its V-cycle."""
    matrix, cycle = matrices_of(A, num_sweeps)
    return np.asarray(matrix), np.asarray(cycle)


def coefficient(shape: tuple[int, ...], contrast: float) -> np.ndarray:
    return np.exp(contrast * np.random.default_rng(0).standard_normal(shape))


def condition(MA: np.ndarray, skipped: int = 0) -> float:
    eigenvalues = np.sort(np.linalg.eigvals(MA).real)
    return float(eigenvalues[-1] / eigenvalues[skipped])


@each_grid
def test_cycle_is_symmetric_and_definite(shape: tuple[int, ...], faces: Any):
    _, M = matrices(Diffusion(coefficient(shape, 2.0), boundary=faces))
    assert relative_error(M.T, M) <= tolerance(1, "float64")
    assert np.linalg.eigvalsh(M)[0] > 0


@each_grid
def test_condition_number_is_below_two_and_a_half_for_a_constant_coefficient(
    shape: tuple[int, ...], faces: Any
):
    A, M = matrices(Diffusion(np.ones(shape), boundary=faces))
    assert condition(M @ A) < 2.5


@each_grid
def test_condition_number_falls_a_lot_where_the_coefficient_varies(
    shape: tuple[int, ...], faces: Any
):
    A, M = matrices(Diffusion(coefficient(shape, 1.0), boundary=faces))
    assert condition(M @ A) < min(5, np.linalg.cond(A) / 8)


def test_singular_operator_is_preconditioned_beside_its_null_space():
    A, M = matrices(Diffusion(coefficient((12, 11), 1.0), boundary="neumann"))
    assert np.all(np.isfinite(M))
    assert condition(M @ A, skipped=1) < 5


def test_cycle_of_a_small_grid_is_the_inverse():
    A, M = matrices(Diffusion(coefficient((7, 8), 1.0)))
    slack = tolerance(float(np.linalg.cond(A)), "float64")
    assert relative_error(M @ A, np.eye(len(A))) <= slack


def test_cycle_of_a_small_complex_grid_is_the_inverse():
    phases = np.exp(1j * np.random.default_rng(1).standard_normal((7, 8)))
    A, M = matrices(Diffusion(coefficient((7, 8), 0.5) * phases))
    slack = tolerance(float(np.linalg.cond(A)), "complex128")
    assert relative_error(M @ A, np.eye(len(A))) <= slack


def test_fewer_sweeps_precondition_worse():
    shape, faces = GRIDS[1]
    operator = Diffusion(coefficient(shape, 1.0), boundary=faces)
    A, M = matrices(operator)
    _, weaker = matrices(operator, num_sweeps=1)
    assert condition(weaker @ A) > condition(M @ A)


def test_two_phase_diffusion_takes_a_dozen_steps():
    k = np.where(np.random.default_rng(0).random((40, 48)) < 0.5, 12.0, 3.0)
    solver, M = kx.solvers.CG(rtol=1e-8), Multigrid()
    found = kx.solve(Diffusion(k), jnp.ones((40, 48)), solver, preconditioner=M)
    assert int(found.stats.num_steps) <= 13


def kinds() -> dict[str, Any]:
    """Operators of every kind, with odd sizes and walls inside."""
    ops, k = kx.operators, coefficient((12, 11), 1.0)
    cells = np.full((12, 11), 2)
    cells[0], cells[:, -2:], cells[4:7, 3:6] = 1, 3, 1
    closed = np.where(cells == 3, 1, cells)
    return {
        "laplacian": ops.Laplacian((12, 11), 0.5),
        "laplacian_mixed": ops.Laplacian((9, 11), boundary=MIXED[:2]),
        "laplacian_closed": ops.Laplacian((9, 11), boundary="periodic"),
        "helmholtz": ops.Helmholtz(k, -k),
        "masked": ops.MaskedPoisson(cells),
        "masked_closed": ops.MaskedPoisson(closed),
    }


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("shape", ["V", "W"])
def test_cycle_of_every_kind_is_symmetric_and_near_the_inverse(kind: str, shape: Any):
    operator = kinds()[kind]
    A = np.asarray(operator.as_matrix())
    M = np.asarray(jax.jit(Multigrid(shape=shape))(operator).as_matrix())
    assert relative_error(M.T, M) <= tolerance(1, "float64")
    assert np.linalg.eigvalsh(M)[0] > 0
    assert condition(M @ A, skipped=int("singular" in operator.tags)) < 5


def test_f_cycle_preconditions_a_flexible_solver():
    A, solver = kinds()["helmholtz"], kx.solvers.FlexibleCG(rtol=1e-8)
    M = Multigrid(shape="F")
    assert not M(A).tags
    found = kx.solve(A, jnp.ones((12, 11)), solver, preconditioner=M)
    assert int(found.stats.num_steps) <= 10


def test_single_precision_cycle_serves_a_double_precision_solve():
    A, b = kx.operators.Laplacian((20, 21)), jnp.ones((20, 21))
    M = Multigrid(single_precision=True)
    assert M(A).levels[0].in_structure.dtype == jnp.float32
    found = kx.solve(A, b, kx.solvers.CG(rtol=1e-12), preconditioner=M)
    assert int(found.stats.num_steps) <= 14


@pytest.mark.parametrize("num_points", [16, 25, 40])
def test_steps_in_three_dimensions_do_not_grow_with_the_grid(num_points: int):
    A = kx.operators.Laplacian((num_points,) * 3)
    b = np.random.default_rng(0).standard_normal(A.shape)
    found = kx.solve(A, b, kx.solvers.CG(rtol=1e-6), preconditioner=Multigrid())
    assert int(found.stats.num_steps) <= 9


def test_a_contrast_of_ten_thousand_takes_two_dozen_steps():
    y, x = np.mgrid[:64, :64] / 64
    k = np.where(np.sin(9 * x + 4 * y) * np.cos(7 * y - 3 * x) > 0, 1e4, 1.0)
    solver = kx.solvers.CG(rtol=1e-8)
    found = kx.solve(
        Diffusion(k), jnp.ones((64, 64)), solver, preconditioner=Multigrid()
    )
    assert int(found.stats.num_steps) <= 24


def test_unknown_shape_is_refused():
    with types_unchecked(), pytest.raises(ValueError, match="shape must be one of"):
        Multigrid(shape="X")  # pyright: ignore[reportArgumentType]


def test_promises_are_those_of_the_operator():
    A = kx.operators.Laplacian((3, 4), boundary="neumann", nullspace="constant")
    assert Multigrid()(A).tags == A.tags - {"singular"}


def test_other_operators_are_refused_with_the_remedy():
    with pytest.raises(
        ValueError, match=r"knows Laplacian, Diffusion, .*got Dense.*Jac"
    ):
        Multigrid()(kx.operators.Dense(np.eye(4)))


@pytest.mark.parametrize("factory", [Multigrid, kx.solvers.AlgebraicMultigrid])
@pytest.mark.parametrize("num_sweeps", [0, 1.5])
def test_what_is_no_number_of_sweeps_is_refused(factory: Any, num_sweeps: Any):
    match = f"num_sweeps must be (an integer|at least 1), got {num_sweeps}"
    with types_unchecked(), pytest.raises(ValueError, match=match):
        factory(num_sweeps=num_sweeps)
