"""The top-level solve: its input, its derivatives, and what it reports."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx

from ..helpers import relative_error, solution_tolerance, tolerance, types_unchecked
from .cases import ROWS, operator, problem, solve, solved

ops: Any = kx.operators
Status = kx.Status
SPECTRUM = np.array([1.0, 2.0, 3.0, 4.0])
A: Any = ops.Diagonal(SPECTRUM, tags=["positive_definite"])
B = jnp.ones(4)
CG = kx.solvers.CG(rtol=1e-10)
RECYCLING = kx.solvers.GCRODR(rtol=1e-10, restart=4, num_recycled=2)


def carry_for(n: int, num_recycled: int) -> Any:
    solver = kx.solvers.GCRODR(restart=9, num_recycled=num_recycled)
    return solver.initial_carry(jax.ShapeDtypeStruct((n,), jnp.float64))


BAD_VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    "rectangular": (
        lambda: kx.solve(ops.Dense(np.ones((3, 4))), B, CG),
        r"A must be square, got one from float64\[4\] to float64\[3\]",
    ),
    "b_shape": (
        lambda: kx.solve(A, jnp.ones(5), CG),
        r"b has structure float64\[5\], the operator expects float64\[4\]",
    ),
    "b_dtype": (
        lambda: kx.solve(A, jnp.ones(4, jnp.float32), CG),
        r"b has structure float32\[4\], the operator expects float64\[4\]",
    ),
    "b_integer": (
        lambda: kx.solve(A, np.ones(4, int), CG),
        "b must be .*floating.*got dtype int64",
    ),
    "b_tree": (
        lambda: kx.solve(A, {"u": B}, CG),
        r"b has structure \{u: float64\[4\]\}",
    ),
    "x0_shape": (
        lambda: kx.solve(A, B, CG, x0=jnp.ones(3)),
        r"x0 has structure float64\[3\], the operator expects float64\[4\]",
    ),
    "x0_integer": (
        lambda: kx.solve(A, B, CG, x0=np.zeros(4, int)),
        "x0 must be .*floating.*got dtype int64",
    ),
    "rtol_below_rounding": (
        lambda: kx.solve(A, B, kx.solvers.CG(rtol=1e-16)),
        "rtol=1.0e-16 is below 10 eps = 2.2e-15 of float64",
    ),
    "rtol_below_single_rounding": (
        lambda: kx.solve(
            ops.Diagonal(SPECTRUM.astype(np.float32)), jnp.ones(4, jnp.float32), CG
        ),
        "rtol=1.0e-10 is below 10 eps = 1.2e-06 of float32",
    ),
    "rtol_negative": (lambda: kx.solvers.CG(rtol=-1e-6), "rtol must be .*got -1e-06"),
    "rtol_nan": (lambda: kx.solvers.GMRES(rtol=float("nan")), "rtol must be .*got nan"),
    "rtol_one": (lambda: kx.solvers.CG(rtol=1.0), "rtol must be below 1, got 1.0"),
    "atol_infinite": (
        lambda: kx.solvers.CG(atol=float("inf")),
        "atol must be .*got inf",
    ),
    "no_tolerance": (
        lambda: kx.solvers.GCRODR(rtol=0.0),
        "rtol and atol are both zero; give one",
    ),
    "no_steps": (
        lambda: kx.solvers.CG(max_steps=0),
        "max_steps must be at least 1, got 0",
    ),
    "singular_undeclared": (
        lambda: kx.solve(ops.Laplacian((4,), boundary="neumann"), B, CG),
        'singular .*declare nullspace="constant"',
    ),
    "singular_multiple_undeclared": (
        lambda: kx.solve(2.0 * ops.Diffusion(SPECTRUM, boundary="periodic"), B, CG),
        'singular .*declare nullspace="constant"',
    ),
    "preconditioner_structure": (
        lambda: kx.solve(A, B, CG, preconditioner=ops.Diagonal(np.ones(5))),
        r"preconditioner acts on float64\[5\], the operator on float64\[4\]",
    ),
    "carry_for_a_solver_without": (
        lambda: kx.solve(A, B, CG, carry=carry_for(4, 2)),
        "carry does not fit: this CG carries nothing",
    ),
    "carry_of_another_count": (
        lambda: kx.solve(A, B, RECYCLING, carry=carry_for(4, 3)),
        "carry does not fit: this GCRODR.*num_recycled",
    ),
    "carry_of_another_size": (
        lambda: kx.solve(A, B, RECYCLING, carry=carry_for(5, 2)),
        "carry does not fit: this GCRODR.*fields",
    ),
    "solution_as_carry": (
        lambda: kx.solve(A, B, RECYCLING, carry=kx.solve(A, B, RECYCLING)),
        "carry does not fit.*got a Solution; give the carry of a Solution",
    ),
}
BAD_TYPES: dict[str, tuple[Callable[[], Any], str]] = {
    "matrix": (
        lambda: kx.solve(np.eye(4), B, CG),  # pyright: ignore[reportArgumentType]  # what is tested
        "A must be a linear operator, got ndarray; .* in Dense, .* in from_scipy",
    ),
    "solver_class": (
        lambda: kx.solve(A, B, kx.solvers.CG),  # pyright: ignore[reportArgumentType]  # what is tested
        r"solver must be a solver such as CG\(rtol=1e-6\), got <class",
    ),
    "preconditioner_matrix": (
        lambda: kx.solve(A, B, CG, preconditioner=lambda A: np.eye(4)),  # pyright: ignore[reportArgumentType]  # what is tested
        "preconditioner must be an operator or a function that makes one",
    ),
    "preconditioner_class": (
        lambda: kx.solve(A, B, CG, preconditioner=np.eye(4)),  # pyright: ignore[reportArgumentType]  # what is tested
        "preconditioner must be an operator or a function that makes one",
    ),
}


@pytest.mark.parametrize(("build", "message"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_bad_value_is_refused_with_the_reason(build: Callable[[], Any], message: str):
    with types_unchecked(), pytest.raises(ValueError, match=f"(?s){message}"):
        build()


@pytest.mark.parametrize(("build", "message"), BAD_TYPES.values(), ids=BAD_TYPES)
def test_bad_type_is_refused_with_the_reason(build: Callable[[], Any], message: str):
    with types_unchecked(), pytest.raises(TypeError, match=f"(?s){message}"):
        build()


def test_64_bits_are_refused_while_x64_is_off():
    with jax.enable_x64(False):
        single = ops.Laplacian((4,))
        with pytest.raises(ValueError, match="b asks for float64 while jax_enable_x64"):
            kx.solve(single, np.ones(4), kx.solvers.CG())


def test_zero_on_the_diagonal_makes_jacobi_nonfinite_input():
    singular = ops.Diagonal(np.array([0.0, 1.0, 2.0, 3.0]), tags=["symmetric"])
    options = {"preconditioner": kx.solvers.Jacobi(), "throw": False}
    found = kx.solve(singular, B, kx.solvers.GMRES(), **options)
    assert found.status == Status.nonfinite_input


def test_nan_in_a_traced_coefficient_is_nonfinite_input():
    def solved_for(k: Any) -> Any:
        return kx.solve(ops.Diffusion(k), B, CG, throw=False).status

    assert jax.jit(solved_for)(jnp.array([1.0, jnp.nan, 1.0, 1.0])) == (
        Status.nonfinite_input
    )


def test_overflow_in_the_solve_is_told():
    huge = ops.Diagonal(np.array([1e308, 1e-308, 1.0, 1.0]), tags=["positive_definite"])
    found = kx.solve(huge, B, CG, throw=False)
    assert found.status in (
        Status.nonfinite,
        Status.stagnated,
        Status.max_steps_reached,
    )
    assert np.all(np.isfinite(found.value))


def test_absolute_tolerance_is_met_instead_of_the_relative_one():
    solver = kx.solvers.CG(rtol=1e-10, atol=1e-2)
    matrix, b = problem("diffusion_2d")
    found = kx.solve(operator("cg", matrix), b, solver)
    assert 1e-6 < float(found.stats.residual) <= 1e-2


def test_preconditioner_may_be_a_function_of_the_operator():
    matrix, b = problem("diffusion_2d")

    def make(A: Any) -> Any:
        return ops.Diagonal(1 / A.diagonal(), tags=["positive_definite"])

    found = solve("cg", matrix, b, preconditioner=make)
    by_jacobi = solved("cg", "diffusion_2d", preconditioner="jacobi")
    assert found.stats.num_steps == by_jacobi.stats.num_steps


def test_derivative_by_the_preconditioner_and_the_start_is_zero():
    matrix, b = problem("diffusion_2d")

    def value(scale: Any, x0: Any) -> Any:
        M = ops.Diagonal(scale * jnp.ones(48), tags=["positive_definite"])
        return jnp.sum(solve("cg", matrix, b, preconditioner=M, x0=x0).value)

    by_scale, by_start = jax.grad(value, argnums=(0, 1))(jnp.array(2.0), jnp.zeros(48))
    assert by_scale == 0
    assert not np.any(by_start)


def test_derivative_flows_through_the_coefficient_of_a_stencil():
    k = 1 + jnp.asarray(np.random.default_rng(0).random(12))
    weights = np.cos(np.arange(12))

    @jax.jit
    @jax.grad
    def gradient(k: Any) -> Any:
        return weights @ kx.solve(ops.Diffusion(k), jnp.ones(12), CG).value

    matrix = np.asarray(ops.Diffusion(k).as_matrix())
    x, adjoint = np.linalg.solve(matrix, np.stack([np.ones(12), weights], axis=1)).T
    expected = jax.jit(jax.grad(lambda k: -adjoint @ (ops.Diffusion(k) @ x)))(k)
    slack = 3 * solution_tolerance(float(np.linalg.cond(matrix)), 1e-10, "float64")
    assert relative_error(gradient(k), expected) <= slack


def test_derivative_flows_through_what_a_function_closes_over():
    def value(scale: Any) -> Any:
        closure = ops.Function(
            lambda x: scale * SPECTRUM * x,
            jax.ShapeDtypeStruct((4,), jnp.float64),
            tags=["positive_definite"],
        )
        return jnp.sum(kx.solve(closure, B, CG).value)

    expected = -np.sum(1 / SPECTRUM) / 4
    assert abs(float(jax.grad(value)(jnp.array(2.0))) - expected) <= solution_tolerance(
        4, 1e-10, "float64"
    )


def test_second_derivative_is_that_of_the_dense_solve():
    def value(scale: Any) -> Any:
        scaled = ops.Diagonal(scale * SPECTRUM, tags=["positive_definite"])
        return jnp.sum(kx.solve(scaled, B, CG, throw=False).value)

    got = float(jax.grad(jax.grad(value))(jnp.array(2.0)))
    # The second derivative of 1 / s is 2 / s³.
    expected = 2 * np.sum(1 / SPECTRUM) / 2.0**3
    assert abs(got - expected) <= 10 * solution_tolerance(4, 1e-10, "float64")


def test_failed_solve_for_a_derivative_is_not_silent():
    matrix, b = problem("prescribed_spectrum")
    exact = problem("prescribed_spectrum").solution
    solver = kx.solvers.CG(rtol=1e-10, max_steps=5)
    weights = np.cos(np.arange(48))

    def value(b: Any) -> Any:
        # The exact start makes this solve succeed; that of the gradient needs 60 steps.
        return weights @ kx.solve(operator("cg", matrix), b, solver, x0=exact).value

    with pytest.raises((RuntimeError, ValueError), match="max_steps"):
        jax.block_until_ready(jax.grad(value)(jnp.asarray(b)))


def test_constants_of_a_traced_function_are_solved_with():
    found = jax.jit(lambda: kx.solve(A, B, CG).value)()
    assert relative_error(found, 1 / SPECTRUM) <= solution_tolerance(
        4, 1e-10, "float64"
    )


def test_failed_solve_with_constants_of_a_traced_function_is_not_silent():
    solver = kx.solvers.CG(rtol=1e-10, max_steps=1)
    with pytest.raises((RuntimeError, ValueError), match="max_steps"):
        jax.block_until_ready(jax.jit(lambda: kx.solve(A, B, solver).value)())


# Of the last solve; here, so that the same solver is compiled once.
COUNTED: dict[str, list[Any]] = {"product": [], "preconditioner": []}


class Counted(kx.operators.AbstractOperator):
    """A symmetric operator that counts, on the host, how often it is applied."""

    matrix: Any
    kind: Literal["product", "preconditioner"] = eqx.field(static=True)

    @property
    def in_structure(self) -> Any:
        return jax.ShapeDtypeStruct((48,), jnp.float64)

    @property
    def out_structure(self) -> Any:
        return self.in_structure

    def __call__(self, x: Any) -> Any:
        # What is handed over makes a batch of k fields k calls.
        jax.debug.callback(COUNTED[self.kind].append, x[0])
        return self.matrix @ x


def counted_solve(row: str, **options: Any) -> tuple[Any, list[Any], list[Any]]:
    """A solution, and one entry per product and per call of the preconditioner."""
    matrix, b = problem("diffusion_2d")
    products, calls = COUNTED.values()
    products.clear()
    calls.clear()
    tags = ROWS[row].tags or ["symmetric"]
    structure = jax.ShapeDtypeStruct((48,), jnp.float64)
    product = Counted(jax.device_put(matrix), "product")
    M = Counted(jax.device_put(np.diag(1 / np.diagonal(matrix))), "preconditioner")
    found = kx.solve(
        ops.Function(product, structure, tags=tags),
        jnp.asarray(b),
        ROWS[row].solver(),
        preconditioner=ops.Function(M, structure, tags=tags),
        **options,
    )
    jax.effects_barrier()
    return found, products, calls


@pytest.mark.parametrize(
    ("row", "x0"),
    [("cg", np.ones(48)), ("gmres", np.ones(48)), ("gmres", None), ("gcrodr", None)],
    ids=["cg_start", "gmres_start", "gmres_zero", "gcrodr_zero"],
)
def test_counts_are_those_of_the_calls(row: str, x0: Any):
    found, products, calls = counted_solve(row, x0=x0)
    assert int(found.stats.num_preconditioner_calls) == len(calls)
    assert int(found.stats.num_matvecs) == len(products)


def test_counts_with_a_recycled_space_are_those_of_the_calls():
    carry = solved("gcrodr", "diffusion_2d").carry
    found, products, calls = counted_solve("gcrodr", carry=carry)
    assert int(found.stats.num_preconditioner_calls) == len(calls)
    assert int(found.stats.num_matvecs) == len(products)


def test_solution_prints_as_one_line():
    text = str(kx.solve(A, B, CG))
    assert text.startswith("converged in 4 steps, relative residual ")


def test_solutions_of_many_systems_print_as_one_line():
    found = jax.vmap(lambda b: kx.solve(A, b, CG))(jnp.eye(4))
    assert str(found) == "Solution of 4 systems, 4 solved"


def test_solution_has_the_strong_type_of_the_operator():
    found = kx.solve(A, jnp.full((4,), 2.0), CG)
    assert not found.value.weak_type


def test_residual_of_a_float32_solve_is_float32():
    single = ops.Laplacian((6,), dtype=jnp.float32)
    found = kx.solve(single, jnp.ones(6, jnp.float32), kx.solvers.CG())
    assert {found.stats.residual.dtype, found.stats.history.dtype} == {
        jnp.dtype(jnp.float32)
    }


def test_statuses_of_a_batch_compare_with_the_enum():
    found = jax.vmap(lambda b: kx.solve(A, b, CG, throw=False))(
        jnp.stack([B, jnp.nan * B])
    )
    assert (found.status == Status.converged).tolist() == [True, False]


@pytest.mark.parametrize("status", list(Status), ids=lambda s: s.name)
def test_every_status_is_a_sentence(status: Any):
    assert status.sentence[0].isupper()
    assert status.sentence.endswith(".")
    assert Status(jnp.asarray(int(status))) is status


def test_jacobi_solves_a_diagonal_system_in_one_step():
    found = kx.solve(A, B, CG, preconditioner=kx.solvers.Jacobi())
    assert found.stats.num_steps == 1
    assert relative_error(found.value, 1 / SPECTRUM) <= tolerance(1, "float64")
