"""Derivatives of a solution are solves: to what accuracy, and if one of them fails."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import krylax as kx

from ..helpers import relative_error, solution_tolerance
from .cases import ROWS, operator, problem

TOLERANCE = 1e-8
# A converges in one step from this right-hand side, and from no other of these tests.
SPECTRUM = np.linspace(1.0, 9.0, 24)
EIGENVECTOR = jnp.asarray(np.eye(24)[5])
WEIGHTS = jnp.asarray(np.cos(np.arange(24)))


def functional(A: Any, b: Any, solver: Any, weights: Any, **options: Any) -> Any:
    return jnp.vdot(weights, kx.solve(A, b, solver, **options).value)


# No solver sees but the target that comes of its tolerances: one of each mechanism.
@pytest.mark.parametrize(
    "row", ["cg", "sor", "bicgstab", "gmres", "gcrodr", "refinement"]
)
def test_absolute_tolerance_has_no_part_in_a_gradient(row: str):
    matrix, b = problem(ROWS[row].problems[0])
    size = float(np.linalg.norm(b))
    weights = 1e-9 * np.cos(np.arange(len(b)))

    @jax.jit
    def gradient(rtol: Any) -> Any:
        solver = ROWS[row].make(rtol=rtol, atol=TOLERANCE * size)
        return jax.grad(functional, argnums=1)(
            operator(row, matrix), jnp.asarray(b), solver, weights
        )

    # As the only tolerance, and beside a relative one.
    alone, beside = gradient(0.0), gradient(TOLERANCE)
    expected = np.linalg.solve(matrix.T, weights)
    slack = solution_tolerance(np.linalg.cond(matrix), TOLERANCE, "float64")
    assert relative_error(alone, expected) <= slack
    assert relative_error(beside, expected) <= slack


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_absolute_tolerance_counts_in_units_of_b_of_any_size(size: float):
    A = kx.operators.Dense(np.diag(SPECTRUM), tags=["positive_definite"])
    solver = kx.solvers.CG(rtol=0.0, atol=1e-9 * size)
    found = jax.grad(functional, argnums=1)(A, size * WEIGHTS, solver, WEIGHTS)
    assert relative_error(found, WEIGHTS / SPECTRUM) <= 1e-7


@pytest.mark.parametrize("row", ["cg", "refinement", "batched"])
def test_failed_solve_of_a_derivative_is_nan_or_raises(row: str):
    A = operator(row, np.diag(SPECTRUM))
    inner = kx.solvers.Capped(kx.solvers.CG(rtol=1e-4), 1)
    solver = {
        "refinement": lambda: kx.solvers.Refinement(inner, max_steps=3),
        "batched": lambda: kx.solvers.Batched(kx.solvers.CG(max_steps=1), 2),
    }.get(row, lambda: ROWS[row].make(rtol=1e-10, max_steps=1))()
    gradient = jax.grad(functional, argnums=1)
    found = gradient(A, EIGENVECTOR, solver, WEIGHTS, throw=False)
    assert np.all(np.isnan(found))
    with pytest.raises(Exception, match="The solve for a derivative"):
        jax.block_until_ready(gradient(A, EIGENVECTOR, solver, WEIGHTS))


def nonlinear(matrix: Any) -> Any:
    """A preconditioner that no transpose is known of."""

    class Map(kx.operators.AbstractOperator):
        inverse: Any

        @property
        def in_structure(self) -> Any:
            return jax.eval_shape(lambda: EIGENVECTOR)

        @property
        def out_structure(self) -> Any:
            return self.in_structure

        def __call__(self, x: Any) -> Any:
            return self.inverse @ x

    return Map(jnp.asarray(matrix))


def test_transposed_solves_take_a_preconditioner_of_their_own():
    matrix = np.diag(SPECTRUM**6) + np.random.default_rng(0).random((24, 24))
    A, inverse = kx.operators.Dense(matrix), np.linalg.inv(matrix)
    solver = kx.solvers.FGMRES(rtol=1e-10, restart=4, max_steps=8)
    options: dict[str, Any] = {"preconditioner": nonlinear(inverse), "throw": False}
    gradient = jax.grad(functional, argnums=1)
    assert np.all(np.isnan(gradient(A, WEIGHTS, solver, WEIGHTS, **options)))
    options["transpose_preconditioner"] = nonlinear(inverse.T)
    found = gradient(A, WEIGHTS, solver, WEIGHTS, **options)
    assert relative_error(found, inverse.T @ WEIGHTS) <= 1e-8


def test_transposed_solves_of_a_symmetric_operator_take_a_nonlinear_preconditioner():
    orthogonal, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((24, 24)))
    matrix = orthogonal @ np.diag(SPECTRUM**6) @ orthogonal.T
    A = kx.operators.Dense(matrix, tags=["symmetric"])
    solver = kx.solvers.FGMRES(rtol=1e-8, restart=4, max_steps=8)
    inverse = np.linalg.inv(matrix)
    found = jax.grad(functional, argnums=1)(
        A, WEIGHTS, solver, WEIGHTS, preconditioner=nonlinear(inverse), throw=False
    )
    assert relative_error(found, inverse @ WEIGHTS) <= 1e-6


def test_function_without_a_transpose_solves_forwards_and_in_forward_mode():
    structure = jax.eval_shape(lambda: EIGENVECTOR)

    @jax.custom_jvp
    def twice(x: Any) -> Any:
        return jax.pure_callback(
            lambda x: 2 * np.asarray(x), structure, x, vmap_method="sequential"
        )

    twice.defjvp(lambda x, dx: (twice(*x), twice(*dx)))
    A = kx.operators.Function(twice, structure)
    found, change = jax.jvp(
        lambda b: kx.solve(A, b, kx.solvers.GMRES(rtol=1e-10)).value,
        (WEIGHTS,),
        (EIGENVECTOR,),
    )
    assert np.allclose(found, WEIGHTS / 2)
    assert np.allclose(change, EIGENVECTOR / 2)


class Broken(kx.operators.AbstractLinearOperator):
    """An operator with a mistake in what it says of its transpose."""

    error: Any = eqx.field(static=True)

    @property
    def in_structure(self) -> Any:
        return jax.eval_shape(lambda: EIGENVECTOR)

    def mv(self, x: Any) -> Any:
        return 2 * x

    @property
    def T(self) -> Any:
        raise self.error("not like this")


def forward_derivative(error: Any) -> Any:
    solver = kx.solvers.GMRES(rtol=1e-10)
    value = lambda b: kx.solve(Broken(error), b, solver).value  # noqa: E731
    return jax.jvp(value, (WEIGHTS,), (EIGENVECTOR,))[1]


@pytest.mark.parametrize("error", [AttributeError, TypeError, ValueError])
def test_mistake_in_a_transpose_is_not_taken_for_none(error: Any):
    with pytest.raises(error, match="not like this"):
        forward_derivative(error)


def test_transpose_that_is_not_implemented_is_none():
    assert np.allclose(forward_derivative(NotImplementedError), EIGENVECTOR / 2)


def test_function_with_a_loop_that_has_no_transpose_solves_in_forward_mode():
    def twice(x: Any) -> Any:
        return lax.while_loop(
            lambda s: s[0] < 1, lambda s: (s[0] + 1, 2 * s[1]), (0, x)
        )[1]

    A = kx.operators.Function(twice, jax.eval_shape(lambda: EIGENVECTOR))
    solver = kx.solvers.GMRES(rtol=1e-10)
    value = lambda b: kx.solve(A, b, solver).value  # noqa: E731
    assert np.allclose(jax.jvp(value, (WEIGHTS,), (EIGENVECTOR,))[1], EIGENVECTOR / 2)


@pytest.mark.parametrize("name", ["diagonal", "function"])
def test_derivative_with_respect_to_a_preconditioner_is_zero(name: str):
    def value(c: Any) -> Any:
        M = {
            "diagonal": lambda: kx.operators.Diagonal(c * jnp.ones(24)),
            "function": lambda: kx.operators.Function(
                lambda r: c * r, jax.eval_shape(lambda: EIGENVECTOR)
            ),
        }[name]()
        A = kx.operators.Dense(np.diag(SPECTRUM))
        solver = kx.solvers.GMRES(rtol=1e-10)
        return functional(A, WEIGHTS, solver, WEIGHTS, preconditioner=M)

    assert jax.jit(jax.grad(value))(2.0) == 0
    assert jax.jit(jax.jacfwd(value))(2.0) == 0


def test_gradient_of_sor_is_that_of_complex_symmetric_systems():
    matrix = np.diag(SPECTRUM + 2j) - 0.3j * (np.eye(24, k=1) + np.eye(24, k=-1))
    A = kx.operators.Dense(matrix, tags=["symmetric"])
    b = WEIGHTS.astype(complex)
    for solver in (kx.solvers.SOR(rtol=1e-10), kx.solvers.AdaptiveSOR(rtol=1e-10)):
        found, pull_back = jax.vjp(lambda b, s=solver: kx.solve(A, b, s).value, b)
        assert relative_error(found, np.linalg.solve(matrix, b)) <= 1e-8
        expected = np.linalg.solve(matrix.T, np.arange(24.0))
        assert (
            relative_error(pull_back(jnp.arange(24.0).astype(complex))[0], expected)
            <= 1e-8
        )


@pytest.mark.parametrize("kind", [kx.solvers.CG, kx.solvers.QR])
def test_second_derivative_of_a_linear_functional(kind: Any):
    """Of which the transposed solve has a constant right-hand side."""
    half = 0.1 * np.random.default_rng(0).standard_normal((6, 6))
    matrix = np.eye(6) + half + half.T
    A = kx.operators.Dense(matrix, tags=["positive_definite"])
    solver = kind(rtol=1e-11)
    b = np.arange(1.0, 7.0)
    weights = np.cos(b)
    found = jax.jit(
        jax.hessian(lambda t: functional(A, jnp.sin(t * b), solver, weights))
    )(0.7)
    expected = weights @ np.linalg.solve(matrix, -(b**2) * np.sin(0.7 * b))
    assert relative_error(found, expected) <= 1e-8


@pytest.mark.parametrize("kind", [kx.solvers.GMRES, kx.solvers.QR])
def test_second_derivative_of_one_leaf_of_a_solution(kind: Any):
    """JAX raises where a right-hand side has a tangent in some of its leaves."""
    matrix = np.eye(6) + 0.1 * np.random.default_rng(0).standard_normal((6, 6))
    dense = jnp.asarray(matrix)
    part = jax.ShapeDtypeStruct((3,), jnp.float64)

    def matvec(fields: Any) -> Any:
        return tuple(jnp.split(dense @ jnp.concatenate(fields), 2))

    A = kx.operators.Function(matvec, (part, part))
    b = np.arange(1.0, 7.0)

    def value(t: Any, solve: Any) -> Any:
        return jnp.sum(solve(jnp.concatenate([jnp.sin(t * b[:3]), b[3:]]))[:3] ** 2)

    def by_solver(b: Any) -> Any:
        return jnp.concatenate(
            kx.solve(A, tuple(jnp.split(b, 2)), kind(rtol=1e-11)).value
        )

    def dense_solve(b: Any) -> Any:
        return jnp.linalg.solve(dense, b)

    found, expected = jax.jit(
        lambda t: [jax.hessian(value)(t, solve) for solve in (by_solver, dense_solve)]
    )(0.7)
    assert relative_error(found, expected) <= 1e-8


@pytest.mark.parametrize("order", [1, 2])
def test_leaves_whose_products_depend_on_nothing_have_a_derivative_of_zero(order: int):
    b = {"x": jnp.ones(2), "y": jnp.ones(2)}

    def value(a: Any) -> Any:
        # x = 1 + a y and y = 1 + x / 2, so that x = (1 + a) / (1 - a / 2).
        A = kx.operators.Function(
            lambda v: {"x": v["x"] - a * v["y"], "y": v["y"] - v["x"] / 2},
            jax.eval_shape(lambda: b),
        )
        return kx.solve(A, b, kx.solvers.GMRES(rtol=1e-12), throw=False).value["x"][0]

    exact = {1: 1.5 / (1 - 0.2) ** 2, 2: 1.5 / (1 - 0.2) ** 3}
    differentiated = jax.grad(value) if order == 1 else jax.grad(jax.grad(value))
    assert np.isclose(jax.jit(differentiated)(0.4), exact[order], rtol=1e-9)


class Held(kx.operators.AbstractLinearOperator):
    """An operator of one's own, that holds a function."""

    function: Any

    @property
    def in_structure(self) -> Any:
        return jax.ShapeDtypeStruct((24,), jnp.float64)

    def mv(self, x: Any) -> Any:
        return self.function(x)


@pytest.mark.parametrize("solver", [kx.solvers.GMRES(), kx.solvers.LSMR()])
def test_derivative_by_what_an_operator_hides_is_refused(solver: Any):
    def value(k: Any, b: Any) -> Any:
        A = Held(lambda x: k * x)
        return functional(A, b, solver, WEIGHTS, throw=False)

    found = jax.jit(value)(2.0, EIGENVECTOR)
    assert np.isclose(found, np.cos(5) / 2)
    with pytest.raises(ValueError, match="A holds a function that closes over an arr"):
        jax.eval_shape(jax.grad(value), 2.0, EIGENVECTOR)
    with pytest.raises(ValueError, match="A holds a function that closes over an arr"):
        jax.eval_shape(jax.grad(jax.jit(value)), 2.0, EIGENVECTOR)
