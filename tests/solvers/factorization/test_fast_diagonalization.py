"""Fast diagonalisation is the inverse of separable operators, and near that of others.

The oracle is the pseudo-inverse of the dense matrix.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...gallery import from_spectrum
from ...helpers import relative_error, tolerance

ops: Any = kx.operators
Status = kx.Status
FastDiagonalization = kx.solvers.FastDiagonalization
FACES = ("dirichlet", "neumann", "periodic", ("dirichlet", "neumann"))
SPACINGS = (0.5, 0.25, 2.0)
MIRRORED = ("neumann", "dirichlet")
# All combinations on one and two axes, of which the last has the fewest cells, and on
# three axes those in which every condition meets every other one.
GRIDS: list[tuple[tuple[int, ...], tuple[Any, ...]]] = [
    *[((5,), (face,)) for face in (*FACES, MIRRORED)],
    *[((4, 2), faces) for faces in product(FACES, repeat=2)],
    ((3, 4), (MIRRORED, "periodic")),
    ((2, 3, 4), ("dirichlet", "neumann", "periodic")),
    ((3, 2, 2), (MIRRORED, "dirichlet", ("dirichlet", "neumann"))),
    ((2, 2, 2), ("neumann", "neumann", "neumann")),
    ((2, 3, 3), ("periodic", "periodic", MIRRORED)),
]
Make = Callable[[tuple[int, ...], Any], Any]


def laplacian(shape: tuple[int, ...], faces: Any) -> Any:
    return ops.Laplacian(shape, SPACINGS[: len(shape)], boundary=list(faces))


def diffusion(shape: tuple[int, ...], faces: Any) -> Any:
    k = np.full(shape, 3.0)
    return ops.Diffusion(k, SPACINGS[: len(shape)], boundary=list(faces))


def helmholtz(shape: tuple[int, ...], faces: Any) -> Any:
    c, spacing = np.full(shape, 3.0), SPACINGS[: len(shape)]
    return ops.Helmholtz(c, -2.5, spacing=spacing, boundary=list(faces))


def implicit_step(shape: tuple[int, ...], faces: Any) -> Any:
    A = laplacian(shape, faces)
    return ops.Identity(A.in_structure) + 0.3 * A


# The others have the matrices of the Laplacian, scaled or with a shift.
CASES = [
    *product((laplacian,), GRIDS),
    *product((diffusion, helmholtz, implicit_step), GRIDS[-5:]),
]


@jax.jit
def matrices_of(A: Any) -> Any:
    return A.as_matrix(), FastDiagonalization()(A).as_matrix()


def matrices(A: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """The pseudo-inverse, what is made instead, and how well they should agree."""
    matrix, inverse = map(np.asarray, matrices_of(A))
    expected = np.linalg.pinv(matrix, hermitian=True, rcond=1e-10)
    cond = np.linalg.norm(matrix, 2) * np.linalg.norm(expected, 2)
    return expected, inverse, tolerance(float(cond), matrix.dtype)


@pytest.mark.parametrize(
    ("make", "grid"), CASES, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_inverse_is_that_of_the_dense_matrix(make: Make, grid: Any):
    expected, found, slack = matrices(make(*grid))
    assert relative_error(found, expected) <= slack


def definite(n: int, dtype: Any) -> Any:
    """A hermitian factor."""
    tags = ["hermitian", *["symmetric"] * (dtype is np.float64)]
    return ops.Dense(from_spectrum(np.linspace(1, 5, n), dtype, seed=n), tags=tags)


def mass(n: int, dtype: Any) -> Any:
    """A definite matrix that does not commute with the factor."""
    matrix = from_spectrum(np.linspace(1, 2, n), dtype, seed=n + 1)
    return ops.Dense(matrix, tags=["positive_definite"])


PLANE = laplacian((4, 3), ("dirichlet", "neumann"))
UNIT = ops.Identity(PLANE.in_structure)
COMPLEX = ops.Laplacian((4, 3), dtype=jnp.complex128)
ALGEBRA = {
    "kronecker_sum": ops.KroneckerSum(*[definite(n, np.float64) for n in (2, 3, 4)]),
    "complex_kronecker_sum": ops.KroneckerSum(
        *[definite(n, np.complex128) for n in (3, 4)]
    ),
    "complex_fields": COMPLEX,
    "multiple": -2.5 * PLANE,
    "quotient": (PLANE + UNIT) / 4.0,
    "multiple_of_identity_last": PLANE + 0.5 * UNIT,
    "shift_below_zero": PLANE - 0.3 * UNIT,
    "two_separable": PLANE + ops.KroneckerSum(*[definite(n, float) for n in (4, 3)]),
    "masses": ops.KroneckerSum(
        *[definite(n, float) for n in (2, 3, 4)],
        masses=[mass(n, float) for n in (2, 3, 4)],
    ),
    "sum_of_products": ops.Kronecker(definite(4, float), mass(3, float))
    - 0.5 * ops.Kronecker(mass(4, float), definite(3, float)),
    "sum_of_three": UNIT + PLANE + 2.0 * diffusion((4, 3), ("periodic", "dirichlet")),
}


@pytest.mark.parametrize("name", ALGEBRA)
def test_inverse_of_the_algebra_is_that_of_the_dense_matrix(name: str):
    expected, found, slack = matrices(ALGEBRA[name])
    assert relative_error(found, expected) <= slack


@jax.jit
def with_transposes(A: Any) -> Any:
    """The matrices of an operator, of its inverse, and of the inverse's transposes."""
    M = FastDiagonalization()(A)
    named = {"A": A, "M": M, "T": M.T, "H": M.H}
    return {name: operator.as_matrix() for name, operator in named.items()}


COMPLEX_ALGEBRA = {
    "kronecker_sum": ALGEBRA["complex_kronecker_sum"],
    "shift": COMPLEX + 1j * ops.Identity(COMPLEX.in_structure),
    "masses": ops.KroneckerSum(
        *[definite(n, complex) for n in (3, 4)],
        masses=[mass(n, complex) for n in (3, 4)],
    ),
}


@pytest.mark.parametrize("name", COMPLEX_ALGEBRA)
def test_complex_inverse_and_its_transposes_are_those_of_the_matrix(name: str):
    found = with_transposes(COMPLEX_ALGEBRA[name])
    inverse, slack = np.linalg.inv(found["A"]), tolerance(10, "float64")
    assert relative_error(found["M"], inverse) <= slack
    assert relative_error(found["T"], inverse.T) <= slack
    assert relative_error(found["H"], inverse.conj().T) <= slack


@pytest.mark.parametrize("grid", GRIDS[-5:], ids=str)
def test_inverse_of_a_damped_wave_is_that_of_the_dense_matrix(grid: Any):
    shape, faces = grid
    A = ops.Helmholtz(
        np.full(shape, 3.0), 2.5 + 0.5j, SPACINGS[: len(shape)], boundary=list(faces)
    )
    assert jax.eval_shape(FastDiagonalization(), A).in_structure == A.in_structure
    found = with_transposes(A)
    inverse = np.linalg.inv(found["A"])
    slack = tolerance(float(np.linalg.cond(inverse)), "float64")
    assert relative_error(found["M"], inverse) <= slack
    assert relative_error(found["T"], inverse.T) <= slack
    assert relative_error(found["H"], inverse.conj().T) <= slack


def test_nearby_damped_wave_preconditions_a_scattered_one():
    family = kx.datasets.HelmholtzScattering((20, 20), 9.0, "absorbing")
    A, b = family.system(family.sample(0))
    solver = kx.solvers.BiCGStab(rtol=1e-8)
    plain = kx.solve(A, b, solver)
    found = kx.solve(A, b, solver, preconditioner=FastDiagonalization())
    assert 3 * int(found.stats.num_steps) < int(plain.stats.num_steps)
    assert relative_error(found.value, plain.value) <= 1e-5


@pytest.mark.parametrize("make", [laplacian, diffusion, helmholtz])
def test_tags_are_those_of_the_operator_but_singular(make: Make):
    A = make((4, 3), ("neumann", "periodic"))
    assert FastDiagonalization()(A).tags == A.tags - {"singular"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_separable_system_takes_one_step(dtype: str):
    A = ops.Laplacian((24, 30), dtype=jnp.dtype(dtype))
    rtol = {"float32": 1e-4, "float64": 1e-12}[dtype]
    found = kx.solve(A, jnp.ones((24, 30), dtype), FastDiagonalization(rtol))
    assert found.value.dtype == dtype
    assert (int(found.stats.num_steps), int(found.stats.num_matvecs)) == (1, 1)


@pytest.mark.parametrize("faces", ["neumann", "periodic"])
def test_singular_system_has_the_solution_of_mean_zero(faces: Any):
    A = ops.Laplacian((8, 6), boundary=faces, nullspace="constant")
    b = np.cos(np.arange(48.0)).reshape(8, 6)
    found = kx.solve(A, jnp.asarray(b - b.mean()), FastDiagonalization(1e-12))
    expected, _, slack = matrices(A)
    assert abs(float(jnp.mean(found.value))) <= tolerance(1, "float64")
    error = relative_error(found.value.reshape(-1), expected @ (b - b.mean()).ravel())
    assert error <= slack


def varying(contrast: float) -> Any:
    noise = np.random.default_rng(0).standard_normal((24, 30))
    return ops.Diffusion(np.exp(contrast * noise))


def test_mildly_varying_coefficient_converges_by_refinement():
    solver = FastDiagonalization(1e-10)
    found = kx.solve(varying(0.05), jnp.ones((24, 30)), solver)
    assert 1 < found.stats.num_steps <= 20


def test_strongly_varying_coefficient_is_told():
    b = jnp.ones((24, 30))
    found = kx.solve(varying(2.0), b, FastDiagonalization(), throw=False)
    assert found.status == Status.stagnated
    assert found.stats.relative_residual <= 1


@pytest.mark.parametrize(("contrast", "bound"), [(0.1, 10), (0.3, 18), (1.0, 90)])
def test_preconditioner_of_a_varying_diffusion_saves_steps(contrast: float, bound: int):
    A, b, solver = varying(contrast), jnp.ones((24, 30)), kx.solvers.CG(rtol=1e-8)
    found = kx.solve(A, b, solver, preconditioner=FastDiagonalization())
    plain = kx.solve(A, b, solver)
    assert found.stats.num_steps <= min(bound, int(plain.stats.num_steps) // 2)


def test_inverse_of_a_nearby_operator_preconditions_any_other():
    A = ops.Dense(np.asarray(PLANE.as_matrix()) + np.diag(np.linspace(0, 0.1, 12)))
    M = FastDiagonalization()(ops.KroneckerSum(definite(4, float), definite(3, float)))
    flat = ops.Function(
        lambda x: M.mv(x.reshape(4, 3)).reshape(-1), A.in_structure, tags=["symmetric"]
    )
    found = kx.solve(A, jnp.ones(12), kx.solvers.GMRES(1e-10), preconditioner=flat)
    assert found.status == Status.converged


def test_gradient_by_the_coefficient_is_that_of_the_dense_solve():
    weights = jnp.cos(jnp.arange(12.0)).reshape(4, 3)

    def by_solver(k: Any) -> Any:
        solver = FastDiagonalization(1e-12)
        found = kx.solve(ops.Helmholtz(k, -1.0), weights, solver, throw=False)
        return jnp.vdot(weights, found.value)

    def by_algebra(k: Any) -> Any:
        matrix = ops.Helmholtz(k, -1.0).as_matrix()
        return jnp.vdot(weights, jnp.linalg.solve(matrix, weights.reshape(-1)))

    # A constant coefficient is where eigenvalues of the square cross.
    found, expected = (
        jax.jit(jax.grad(value))(np.ones((4, 3))) for value in (by_solver, by_algebra)
    )
    assert relative_error(found, expected) <= tolerance(10, "float64")


def test_vmap_over_the_shift_solves_every_system():
    b = jnp.cos(jnp.arange(12.0)).reshape(4, 3)

    def solve(shift: Any) -> Any:
        A = ops.Helmholtz(jnp.ones((4, 3)), -shift)
        return kx.solve(A, b, FastDiagonalization(1e-12), throw=False)

    found = jax.vmap(solve)(jnp.array([0.0, 1.0, 100.0]))
    assert found.stats.num_steps.tolist() == [1, 1, 1]


UNKNOWN: dict[str, tuple[Callable[[], Any], str]] = {
    "dense": (lambda: ops.Dense(np.eye(3)), "knows Laplacian, .*got Dense; give it"),
    "identity": (lambda: 2.0 * UNIT, "got Scaled; give it a nearby operator"),
    "sum_with_unknown": (
        lambda: PLANE + ops.Diagonal(np.ones((4, 3))),
        "got Sum; give it a nearby operator",
    ),
    "nonsymmetric_factors": (
        lambda: ops.KroneckerSum(ops.Dense(np.eye(3)), ops.Dense(np.eye(2))),
        "hermitian .*KroneckerSum.*got KroneckerSum",
    ),
    "complex_diffusion": (
        lambda: ops.Diffusion(np.full((4, 3), 1 + 1j)),
        "real coefficients.*got Diffusion",
    ),
    "complex_multiple": (lambda: (1 + 1j) * COMPLEX, "real coefficients.*got Scaled"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_operator_without_a_separable_form_is_refused(name: str):
    make, sentence = UNKNOWN[name]
    with pytest.raises(ValueError, match=sentence):
        FastDiagonalization()(make())


def test_smallest_eigenvalue_of_a_fine_grid_is_kept_in_single_precision():
    n = 512
    A = kx.operators.Laplacian((n,), dtype=jnp.float32)
    v = np.sin(np.pi * np.arange(1, n + 1) / (n + 1)).astype(np.float32)
    smallest = 4 * np.sin(np.pi / 2 / (n + 1)) ** 2
    found = np.asarray(kx.solvers.FastDiagonalization()(A) @ v)
    error = relative_error(smallest * found, v)
    # That of an eigenvalue: eps ‖A‖ over its size.
    assert error <= tolerance(4 / smallest, "float32")
