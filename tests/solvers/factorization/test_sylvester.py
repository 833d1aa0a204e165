"""The inverse by Schur forms is that of the dense matrix, whatever the lines are."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ...helpers import draw, relative_error, tolerance

ops: Any = kx.operators
Status = kx.Status
Sylvester = kx.solvers.Sylvester
FastDiagonalization = kx.solvers.FastDiagonalization
SIZES = (4, 2, 3)


def matrix(n: int, dtype: Any, seed: int = 0) -> np.ndarray:
    """Neither symmetric nor normal, its eigenvalues around 4."""
    return draw(np.random.default_rng(n + 10 * seed), (n, n), dtype) + 4 * np.eye(n)


def line(n: int, dtype: Any, seed: int = 0) -> Any:
    return ops.Dense(matrix(n, dtype, seed).astype(dtype))


def mass(n: int, dtype: Any) -> Any:
    root = matrix(n, dtype, seed=1) / 4
    definite = (root @ root.conj().T + np.eye(n)).astype(dtype)
    return ops.Dense(definite, tags=["positive_definite"])


def lines(sizes: tuple[int, ...], dtype: Any) -> list[Any]:
    return [line(n, dtype) for n in sizes]


def identity(shape: tuple[int, ...], dtype: Any) -> Any:
    return ops.Identity(jax.ShapeDtypeStruct(shape, dtype))


KINDS: dict[str, Any] = {
    "one_axis": lambda d: ops.KroneckerSum(line(4, d)),
    "two_axes": lambda d: ops.KroneckerSum(*lines(SIZES[:2], d)),
    "three_axes": lambda d: ops.KroneckerSum(*lines(SIZES, d)),
    "multiple_and_shift": lambda d: (
        -2.0 * ops.KroneckerSum(*lines((3, 4), d)) + 0.5 * identity((3, 4), d)
    ),
    "product": lambda d: ops.Kronecker(*lines((3, 4), d)),
    "product_and_shift": lambda d: (
        ops.Kronecker(*lines(SIZES, d)) + 0.5 * identity(SIZES, d)
    ),
    "sum_of_products": lambda d: (
        ops.Kronecker(line(4, d), mass(3, d))
        - 2.0 * ops.Kronecker(mass(4, d), line(3, d))
    ),
    "masses_on_three_axes": lambda d: ops.KroneckerSum(
        *lines(SIZES, d), masses=[mass(n, d) for n in SIZES]
    ),
    "hermitian": lambda d: ops.Laplacian((4, 3), dtype=jnp.dtype(d)),
}
CASES = [
    *((kind, "float64") for kind in KINDS),
    ("three_axes", "complex128"),
    ("sum_of_products", "complex128"),
]


@jax.jit
def with_transposes(A: Any) -> Any:
    """The matrices of an operator, of its inverse, and of the inverse's transposes."""
    M = Sylvester()(A)
    named = {"A": A, "M": M, "T": M.T, "H": M.H}
    return {name: operator.as_matrix() for name, operator in named.items()}


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_inverse_and_its_transposes_are_those_of_the_dense_matrix(
    kind: str, dtype: str
):
    found = with_transposes(KINDS[kind](dtype))
    inverse = np.linalg.inv(found["A"])
    slack = tolerance(float(np.linalg.cond(inverse)), dtype)
    assert relative_error(found["M"], inverse) <= slack
    assert relative_error(found["T"], inverse.T) <= slack
    assert relative_error(found["H"], inverse.conj().T) <= slack


def test_complex_multiple_of_hermitian_lines_is_inverted():
    A = (1 + 2j) * ops.Laplacian((4, 3), dtype=jnp.complex128)
    found = with_transposes(A)
    inverse = np.linalg.inv(found["A"])
    assert relative_error(found["M"], inverse) <= tolerance(10, "complex128")


def apply(A: Any, b: Any) -> Any:
    return Sylvester()(A) @ b


@jax.jit
def scaled(scale: Any, b: Any) -> Any:
    """The inverse of a multiple, in 64 and in 32 bits."""
    values = {}
    for dtype in ("float64", "float32"):
        factors = [matrix(n, dtype).astype(dtype) for n in SIZES]
        factors = [scale[dtype] * factor for factor in factors]
        A = ops.KroneckerSum(*map(ops.Dense, factors))
        values[dtype] = scale[dtype] * apply(A, b.astype(dtype))
    return values


@pytest.mark.parametrize("exponent", [-200, 200])
def test_scale_of_the_operator_does_not_matter(exponent: int):
    b = draw(np.random.default_rng(1), SIZES, "float64")
    expected = np.linalg.solve(KINDS["three_axes"]("float64").as_matrix(), b.ravel())
    scale = {"float64": 10.0**exponent, "float32": np.float32(10.0 ** (exponent / 8))}
    found = scaled(scale, b)
    for dtype, value in found.items():
        error = relative_error(np.ravel(value), expected)
        assert error <= tolerance(10, dtype)


@jax.jit
def solve(first: Any, second: Any, b: Any) -> Any:
    A = ops.KroneckerSum(ops.Dense(first), ops.Dense(second))
    return kx.solve(A, b, Sylvester(1e-10), throw=False)


@pytest.mark.parametrize("sign", [-1, 1])
def test_eigenvalues_that_add_up_to_zero_break_down(sign: int):
    A = matrix(4, "float64")
    # A X - X A = b, and the same with another spectrum.
    found = solve(A, sign * A.T, draw(np.random.default_rng(0), (4, 4), "float64"))
    assert found.status == (Status.breakdown if sign < 0 else Status.converged)
    assert np.all(np.isfinite(found.value))


def test_declared_null_space_has_the_solution_of_mean_zero():
    ring = ops.Laplacian((4,), boundary="periodic", nullspace="constant")
    A = ops.KroneckerSum(ring, ring)
    b = np.cos(np.arange(16.0)).reshape(4, 4)
    b = jnp.asarray(b - b.mean())
    found = kx.solve(A, b, Sylvester(1e-12))
    expected = np.linalg.pinv(A.as_matrix(), rcond=1e-10) @ np.ravel(b)
    assert relative_error(np.ravel(found.value), expected) <= tolerance(10, "float64")


def by_algebra(A: Any, b: Any) -> Any:
    return jnp.linalg.solve(A.as_matrix(), b.reshape(-1)).reshape(b.shape)


def by_solve(A: Any, b: Any) -> Any:
    return kx.solve(A, b, Sylvester(1e-13), throw=False).value


def by_preconditioned_solve(A: Any, b: Any) -> Any:
    solver = kx.solvers.GMRES(1e-13, restart=4)
    return kx.solve(A, b, solver, preconditioner=Sylvester(), throw=False).value


@pytest.mark.parametrize("invert", [by_solve, by_preconditioned_solve, apply])
def test_derivatives_are_those_of_the_dense_solve(invert: Any):
    weights = draw(np.random.default_rng(2), (3, 2), "float64")

    def value(first: Any, mass: Any, b: Any, invert: Any) -> Any:
        masses = [ops.Dense(m, tags=["positive_definite"]) for m in (mass, np.eye(2))]
        factors = ops.Dense(first), line(2, "float64")
        x = invert(ops.KroneckerSum(*factors, masses=masses), b)
        return jnp.sum(weights * jnp.sin(x))

    @jax.jit
    def both(*arguments: Any) -> Any:
        gradient = jax.grad(value, (0, 1, 2))
        return gradient(*arguments, invert), gradient(*arguments, by_algebra)

    M = mass(3, "float64").as_matrix()
    found, expected = both(matrix(3, "float64"), M, jnp.asarray(weights))
    for got, wanted in zip(found, expected, strict=True):
        assert relative_error(got, wanted) <= tolerance(20, "float64")


def test_vmap_over_factors_and_right_hand_sides_agrees_with_dense_solves():
    first = np.stack([matrix(3, "float64", seed) for seed in range(3)])
    second, b = matrix(2, "float64"), draw(np.random.default_rng(4), (3, 3, 2), float)
    found = jax.jit(jax.vmap(solve, in_axes=(0, None, 0)))(first, second, b)
    assert found.stats.num_steps.tolist() == [1, 1, 1]
    for A, x, rhs in zip(first, found.value, b, strict=True):
        assert relative_error(A @ x + x @ second.T, rhs) <= tolerance(10, "float64")


def deficient(n: int, rank: int) -> np.ndarray:
    """A mass without its last directions."""
    V, _ = np.linalg.qr(matrix(n, "float64", seed=2))
    return V[:, :rank] @ np.diag(np.linspace(1, 3, rank)) @ V[:, :rank].T


def pseudo_inverse(factors: list[np.ndarray], masses: list[np.ndarray]) -> np.ndarray:
    """By bases as small as the ranks."""
    bases = []
    for M in masses:
        values, V = np.linalg.eigh(M)
        bases.append(V[:, values > 1e-10] / np.sqrt(values[values > 1e-10]))
    T, S = (W.T @ A @ W for A, W in zip(factors, bases, strict=True))
    basis = np.kron(*bases)
    reduced = np.kron(T, np.eye(len(S))) + np.kron(np.eye(len(T)), S)
    return basis @ np.linalg.inv(reduced) @ basis.T


@pytest.mark.parametrize("factory", [Sylvester, FastDiagonalization])
def test_directions_without_mass_are_left_out(factory: Any):
    factors, masses = (
        [matrix(n, "float64") for n in (5, 4)],
        [*map(deficient, (5, 4), (3, 3))],
    )
    factors = [A + A.T for A in factors]
    kind = {"symmetric"}, {"positive_semidefinite"}
    A = ops.KroneckerSum(
        *[ops.Dense(T, tags=kind[0]) for T in factors],
        masses=[ops.Dense(M, tags=kind[1]) for M in masses],
    )
    found = jax.jit(lambda A: factory()(A).as_matrix())(A)
    expected = pseudo_inverse(factors, masses)
    assert relative_error(found, expected) <= tolerance(100, "float64")


@pytest.mark.parametrize("factory", [Sylvester, FastDiagonalization])
def test_kernel_of_low_rank_solves_what_it_can_and_says_what_it_cannot(factory: Any):
    # -Δ of a smooth Gaussian process: K'' ⊗ K + K ⊗ K'', whose K has 10 of 24 digits.
    t = np.linspace(0, 1, 24)
    gaps = (t[:, None] - t[None, :]) / 0.5
    K = np.exp(-(gaps**2) / 2)
    stiff, kernel = ((1 - gaps**2) * K, ["symmetric"]), (K, ["positive_semidefinite"])
    S, M = (ops.Dense(values, tags=tags) for values, tags in (stiff, kernel))
    A = ops.Kronecker(S, M) + ops.Kronecker(M, S)
    smooth = A @ np.outer(np.sin(t), np.cos(t))
    rough = jnp.asarray((-1.0) ** np.arange(24 * 24).reshape(24, 24))
    found = kx.solve(A, smooth, factory(1e-8))
    assert found.status == Status.converged
    failed = kx.solve(A, rough, factory(1e-8), throw=False)
    assert failed.status in (Status.stagnated, Status.max_steps_reached)
    assert np.all(np.isfinite(failed.value))


def test_inverse_without_convection_of_other_speed_preconditions():
    def lines(speed: float) -> Any:
        return [
            ops.ConvectionDiffusion(np.ones(n), np.full((1, n), speed)).as_matrix()
            for n in (12, 10)
        ]

    def flow(speeds: np.ndarray) -> Any:
        velocity = np.stack([speeds, speeds])
        return ops.ConvectionDiffusion(np.ones((12, 10)), velocity)

    B = ops.KroneckerSum(*map(ops.Dense, lines(2.0)))
    assert relative_error(B.as_matrix(), flow(np.full((12, 10), 2.0)).as_matrix()) <= (
        tolerance(1, "float64")
    )
    A = flow(2 + 0.3 * np.cos(np.arange(120.0)).reshape(12, 10))
    b, solver = jnp.ones((12, 10)), kx.solvers.GMRES(1e-8)
    plain = kx.solve(A, b, solver)
    found = kx.solve(A, b, solver, preconditioner=Sylvester()(B))
    assert 3 * int(found.stats.num_steps) < int(plain.stats.num_steps)


REFUSED: dict[str, tuple[Any, str]] = {
    "dense": (lambda: ops.Dense(np.eye(3)), "one square matrix per axis.*got Dense"),
    "rectangular": (
        lambda: ops.Kronecker(ops.Dense(np.ones((2, 3))), ops.Dense(np.ones((3, 2)))),
        "square Kronecker.*got Kronecker; give it a nearby operator",
    ),
    "masses_without_a_promise": (
        lambda: ops.KroneckerSum(line(2, float), masses=[line(2, float)]),
        "masses are tagged positive_semidefinite.*got KroneckerSum",
    ),
    "products_without_a_promise": (
        lambda: ops.Kronecker(line(2, float)) + ops.Kronecker(line(2, float)),
        "with M1 and M2 so tagged.*got Sum",
    ),
    "shift_beside_masses": (
        lambda: (
            ops.KroneckerSum(line(2, float), masses=[mass(2, float)])
            + identity((2,), jnp.float64)
        ),
        "got Sum",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operator_without_a_separable_form_is_refused(name: str):
    make, sentence = REFUSED[name]
    with pytest.raises(ValueError, match=sentence):
        Sylvester()(make())


def test_backend_without_schur_forms_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ValueError, match="not on gpu; use FastDiagonalization for her"):
        Sylvester()(ops.KroneckerSum(line(5, float)))
