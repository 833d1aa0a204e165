"""Our solvers inside of lineax, Optimistix and Diffrax."""

from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest

import krylax as kx

from ..helpers import relative_error, solution_tolerance, tolerance, types_unchecked
from .cases import problem

Status = kx.Status
RTOL = 1e-12
MATRIX, B = map(jax.device_put, problem("convection_diffusion"))
COND = problem("convection_diffusion").cond
ALLOWED = 100 * solution_tolerance(COND, RTOL, "float64")
gmres = partial(kx.solvers.GMRES, rtol=RTOL, restart=48)
as_lineax_solver = kx.solvers.as_lineax_solver


def solve(matrix: Any, b: Any, solver: Any = None, tags: Any = (), **options: Any):
    A = lx.MatrixLinearOperator(matrix, tags)
    return lx.linear_solve(A, b, solver or as_lineax_solver(gmres()), **options)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_solution_is_that_of_a_dense_solve_in_every_precision(dtype: str):
    name = {"complex128": "complex_shifted"}.get(dtype, "diffusion_2d")
    matrix, b = problem(name, dtype)
    rtol = max(RTOL, 100 * float(np.finfo(dtype).eps))
    solver = as_lineax_solver(gmres(rtol=rtol))
    got = solve(jnp.asarray(matrix), jnp.asarray(b), solver).value
    expected, cond = problem(name, dtype).solution, problem(name, dtype).cond
    assert got.dtype == dtype
    assert relative_error(got, expected) <= solution_tolerance(cond, rtol, dtype)


@pytest.mark.parametrize("transform", [jax.jacfwd, jax.jacrev])
def test_derivatives_are_those_of_a_dense_solve(transform: Any):
    matrix, b = np.asarray(MATRIX)[:6, :6], np.asarray(B)[:6]

    def derivatives(*args: Any) -> Any:
        functions = lambda *args: solve(*args).value, jnp.linalg.solve
        return [transform(f, (0, 1))(*args) for f in functions]

    for got, expected in zip(*jax.jit(derivatives)(matrix, b), strict=True):
        assert relative_error(got, expected) <= ALLOWED


def test_complex_gradient_is_that_of_a_dense_solve():
    matrix, b = map(jnp.asarray, problem("complex_shifted", "complex128"))

    def loss(run: Any, matrix: Any, b: Any) -> Any:
        return jnp.sum(jnp.abs(run(matrix, b)) ** 4)

    ours = partial(loss, lambda matrix, b: solve(matrix, b).value)
    theirs = partial(loss, jnp.linalg.solve)
    got, expected = (jax.jit(jax.grad(f, (0, 1)))(matrix, b) for f in (ours, theirs))
    assert relative_error(got[0], expected[0]) <= ALLOWED
    assert relative_error(got[1], expected[1]) <= ALLOWED


@pytest.mark.slow
def test_second_derivatives_are_those_of_a_dense_solve():
    matrix, b = np.asarray(MATRIX)[:4, :4], np.asarray(B)[:4]

    def loss(run: Any, scale: Any) -> Any:
        return jnp.sum(run(matrix + scale * jnp.eye(4), b) ** 2)

    got, expected = (
        jax.jit(jax.hessian(partial(loss, run)))(0.3)
        for run in (lambda *args: solve(*args).value, jnp.linalg.solve)
    )
    assert relative_error(got, expected) <= ALLOWED


def test_batches_agree_with_dense_solves():
    matrices, bs = np.stack([MATRIX, MATRIX.T]), np.stack([B, 2 * B])
    got = jax.jit(jax.vmap(lambda *args: solve(*args).value))(matrices, bs)
    expected = np.linalg.solve(matrices, bs[..., None])[..., 0]
    assert relative_error(got, expected) <= ALLOWED


def test_factory_meets_our_operator_and_gradient_flows_through():
    solver = as_lineax_solver(kx.solvers.CG(rtol=RTOL), kx.solvers.Jacobi())
    f = jnp.ones((8, 8))

    def loss(k: Any, run: Any) -> Any:
        return jnp.sum(run(kx.operators.Diffusion(k, spacing=1 / 8)) ** 2)

    def through_lineax(A: Any) -> Any:
        return lx.linear_solve(kx.operators.to_lineax(A), f, solver).value

    k = 1 + np.arange(64.0).reshape(8, 8) / 64
    got, expected = (
        jax.jit(jax.grad(partial(loss, run=run)))(k)
        for run in (through_lineax, lambda A: kx.solve(A, f, kx.solvers.CG(RTOL)).value)
    )
    assert relative_error(got, expected) <= ALLOWED


@pytest.mark.parametrize("where", ["inside", "option"])
def test_preconditioner_and_its_transpose_are_used(where: str):
    inverse = jnp.linalg.inv(MATRIX)
    inside = {"inside": kx.operators.Dense(inverse), "option": None}[where]
    option = {"inside": {}, "option": {"preconditioner": lx.MatrixLinearOperator}}
    options = {name: make(inverse) for name, make in option[where].items()}
    solver = as_lineax_solver(gmres(max_steps=2), inside)
    got = jax.jit(
        jax.jacrev(lambda b: solve(MATRIX, b, solver, options=options).value)
    )(B)
    assert relative_error(got, inverse) <= ALLOWED


def test_start_is_used():
    exact = jnp.linalg.solve(MATRIX, B)
    assert solve(MATRIX, B, options={"y0": exact}).stats["num_steps"] <= 1


def test_prepared_state_is_reused():
    solver, A = as_lineax_solver(gmres()), lx.MatrixLinearOperator(MATRIX)
    state = solver.init(A, {})
    got = lx.linear_solve(A, B, solver, state=state).value
    assert relative_error(got, jnp.linalg.solve(MATRIX, B)) <= ALLOWED


def test_prepared_state_of_a_direct_solver_holds_its_factors():
    solver = as_lineax_solver(kx.solvers.LU())
    state = solver.init(lx.MatrixLinearOperator(MATRIX), {})

    def traced(**options: Any) -> str:
        run = partial(solve, b=B, solver=solver, **options)
        return str(jax.make_jaxpr(lambda matrix: run(matrix).value)(MATRIX))

    assert "lu_factor" in traced()
    assert "lu_factor" not in traced(state=state)


def test_negative_definite_systems_are_solved_with_changed_signs():
    matrix, b = problem("diffusion_2d")
    solver = as_lineax_solver(kx.solvers.CG(rtol=RTOL), kx.solvers.Jacobi())
    tags = lx.negative_semidefinite_tag
    got = jax.grad(
        lambda b: jnp.sum(solve(-jnp.asarray(matrix), b, solver, tags).value)
    )(jnp.asarray(b))
    expected = -np.linalg.inv(matrix).sum(axis=0)
    assert relative_error(got, expected) <= ALLOWED


def test_statistics_come_out():
    stats = solve(MATRIX, B).stats
    assert stats["relative_residual"] <= RTOL
    assert 0 < stats["num_steps"] < stats["max_steps"]
    assert stats["num_matvecs"] > stats["num_steps"]


FAILURES = {
    "max_steps_reached": (gmres(max_steps=3), MATRIX, B),
    "breakdown": (
        kx.solvers.CG(rtol=RTOL),
        jnp.diag(jnp.array([1.0, -2.0, 3.0])),
        jnp.ones(3),
    ),
    "stagnation": (gmres(restart=2), *map(jnp.asarray, problem("cyclic_shift"))),
    "nonfinite_input": (gmres(), MATRIX, B.at[0].set(jnp.nan)),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_arrive_in_the_words_of_lineax(name: str):
    solver, matrix, b = FAILURES[name]
    got = solve(matrix, b, as_lineax_solver(solver), throw=False)
    assert got.result == getattr(lx.RESULTS, name)


def test_incompatible_right_hand_side_is_singular():
    A = kx.operators.Laplacian((8,), boundary="periodic", nullspace="constant")
    solver = as_lineax_solver(kx.solvers.CG(rtol=RTOL))
    got = lx.linear_solve(kx.operators.to_lineax(A), jnp.ones(8), solver, throw=False)
    assert got.result == lx.RESULTS.singular
    assert got.stats["status"] == Status.incompatible_rhs.value


def test_cotangents_of_a_singular_system_lose_their_null_part():
    A = kx.operators.Laplacian((8,), boundary="periodic", nullspace="constant")
    solver = as_lineax_solver(kx.solvers.CG(rtol=RTOL))
    wave = jnp.cos(jnp.pi * jnp.arange(8.0) / 4)

    def last(b: Any) -> Any:
        return lx.linear_solve(kx.operators.to_lineax(A), b, solver).value[-1]

    expected = np.linalg.pinv(A.as_matrix())[-1]
    assert relative_error(jax.grad(last)(wave), expected) <= ALLOWED


def test_fields_of_several_precisions_are_solved_in_the_widest():
    matrix = np.asarray(MATRIX)

    def mv(x: Any) -> Any:
        y = matrix @ jnp.concatenate([x["fine"], x["coarse"].astype("float64")])
        return {"fine": y[:30], "coarse": y[30:].astype("float32")}

    def split(x: Any) -> Any:
        return {"fine": x[:30], "coarse": x[30:].astype("float32")}

    b = split(B)
    A = lx.FunctionLinearOperator(mv, jax.eval_shape(lambda: b))
    solver = as_lineax_solver(gmres(rtol=1e-6))

    @jax.jit
    def solution_and_gradient(b: Any) -> Any:
        def first(b: Any) -> Any:
            value = lx.linear_solve(A, b, solver).value
            return value["fine"][0], value

        return jax.value_and_grad(first, has_aux=True)(b)

    (_, x), gradient = solution_and_gradient(b)
    expected = split(jnp.linalg.solve(MATRIX, B))
    row = split(jnp.linalg.inv(MATRIX)[0])
    assert jax.tree.map(jnp.result_type, x) == jax.tree.map(jnp.result_type, b)
    for name in ("fine", "coarse"):
        allowed = 100 * solution_tolerance(COND, 1e-6, "float64")
        assert relative_error(x[name], expected[name]) <= allowed
        assert relative_error(gradient[name], row[name]) <= allowed


def test_fields_of_real_and_complex_arrays_are_refused():
    b = {"a": B[:2], "b": B[:2].astype(complex)}
    A = lx.FunctionLinearOperator(lambda x: x, jax.eval_shape(lambda: b))
    with pytest.raises(ValueError, match="all real or all complex"):
        lx.linear_solve(A, b, as_lineax_solver(gmres()))


def test_wrong_solver_is_refused():
    wrong: Any = lx.CG(RTOL, RTOL)
    expected = pytest.raises(TypeError, match="solver must be a solver such as CG")
    with types_unchecked(), expected:
        as_lineax_solver(wrong)


def bratu(u: Any, strength: Any) -> Any:
    """-Δu - strength e^u on the unit square, zero at the walls."""
    n = u.shape[0]
    A = kx.operators.Laplacian(u.shape, spacing=1 / (n + 1))
    return A.mv(u) - strength * jnp.exp(u)


def solve_bratu(strength: Any) -> Any:
    grid = (7, 7)
    M = kx.solvers.Multigrid()(kx.operators.Laplacian(grid, spacing=1 / 8))
    linear = as_lineax_solver(kx.solvers.GMRES(rtol=1e-10), preconditioner=M)
    newton = optx.Newton(rtol=1e-10, atol=1e-10, linear_solver=linear)
    adjoint = optx.ImplicitAdjoint(linear_solver=linear)
    return optx.root_find(bratu, newton, jnp.zeros(grid), strength, adjoint=adjoint)


@pytest.mark.slow
def test_newton_of_optimistix_solves_the_bratu_equation():
    found = solve_bratu(4.0)
    # Quadratic convergence: the exact Jacobian needs no more than 6 steps.
    assert found.stats["num_steps"] <= 6
    residual = jax.jit(lambda u: jnp.max(jnp.abs(bratu(u, 4.0))))
    allowed = tolerance(8 * 8**2, "float64") * float(residual(np.zeros((7, 7))))
    assert float(residual(found.value)) <= allowed


@pytest.mark.slow
def test_gradient_through_newton_of_optimistix_is_that_of_a_dense_solve():
    u = solve_bratu(4.0).value
    jacobian = jax.jit(
        lambda u: kx.operators.Jacobian(lambda u: bratu(u, 4.0), u).as_matrix()
    )
    # du/ds = J⁻¹ e^u, J the Jacobian of the residual.
    expected = np.sum(np.linalg.solve(jacobian(u), np.exp(u).ravel()))
    got = jax.jit(jax.grad(lambda s: jnp.sum(solve_bratu(s).value)))(4.0)
    assert relative_error(got, expected) <= 1000 * 1e-10


N = 31
SOLVE_HEAT = as_lineax_solver(kx.solvers.GMRES(rtol=1e-10))
RATE = 4 * (N + 1) ** 2 * np.sin(np.pi / 2 / (N + 1)) ** 2
"""The smallest eigenvalue of the discrete Laplacian; the largest is 4084."""


def heat_after(solver: Any, dt: float) -> tuple[Any, Any]:
    """The first sine after time 0.1, over itself at the start."""
    A = kx.operators.Laplacian((N,), spacing=1 / (N + 1))
    start = jnp.sin(jnp.pi * jnp.arange(1.0, N + 1) / (N + 1))
    term = diffrax.ODETerm(lambda t, u, args: -A.mv(u))
    found: Any = diffrax.diffeqsolve(term, solver, 0.0, 0.1, dt, start)
    return found.ys[-1], start


@pytest.mark.slow
@pytest.mark.parametrize("root_finder", [diffrax.VeryChord, optx.Newton])
def test_implicit_euler_of_diffrax_takes_its_exact_steps(root_finder: Any):
    root_finder = root_finder(rtol=1e-10, atol=1e-10, linear_solver=SOLVE_HEAT)
    got, start = heat_after(diffrax.ImplicitEuler(root_finder=root_finder), 0.01)
    assert relative_error(got, start * (1 + 0.01 * RATE) ** -10) <= 1e-9


def decay_of(wave: Any, diffusivity: Any) -> Any:
    """What is left of an eigenvector after time 0.1, by adaptive steps."""
    A = kx.operators.Laplacian((N,), spacing=1 / (N + 1))
    one = kx.operators.Identity(A.in_structure)

    def inverse(jacobian: Any) -> Any:
        # The Jacobian is I + s A, with a step s that its product tells.
        s = jnp.vdot(wave, jacobian @ wave - wave) / jnp.vdot(wave, A @ wave)
        return kx.solvers.FastDiagonalization()(one + s * A)

    linear = as_lineax_solver(kx.solvers.GMRES(rtol=1e-10), inverse)
    root_finder = diffrax.VeryChord(rtol=1e-10, atol=1e-10, linear_solver=linear)
    found: Any = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, u, args: -args * A.mv(u)),
        diffrax.Kvaerno5(root_finder=root_finder),
        t0=0.0,
        t1=0.1,
        dt0=1e-3,
        y0=wave,
        args=diffusivity,
        stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-9),
        adjoint=diffrax.ForwardMode(),
    )
    return jnp.vdot(found.ys[-1], wave) / jnp.vdot(wave, wave)


@pytest.mark.slow
def test_adaptive_kvaerno5_with_a_factory_goes_through_vmap_and_jvp():
    modes = np.array([[1], [2], [5]])
    waves = np.sin(np.pi * modes * np.arange(1, N + 1) / (N + 1))
    run = jax.vmap(lambda wave: jax.jvp(partial(decay_of, wave), (1.0,), (1.0,)))
    decays, slopes = jax.jit(run)(waves)
    rates = 4 * (N + 1) ** 2 * np.sin(np.pi * modes[:, 0] / 2 / (N + 1)) ** 2
    expected = np.exp(-0.1 * rates)
    # A hundred steps with an error of 1e-7 each.
    assert np.max(np.abs(decays - expected)) <= 1e-5
    assert np.max(np.abs(slopes + 0.1 * rates * expected)) <= 1e-5


@pytest.mark.slow
def test_kvaerno3_of_diffrax_converges_in_third_order_on_the_stiff_heat_equation():
    root_finder = optx.Newton(rtol=1e-10, atol=1e-10, linear_solver=SOLVE_HEAT)
    solver = diffrax.Kvaerno3(root_finder=root_finder)
    coarse, start = heat_after(solver, 0.01)
    fine, _ = heat_after(solver, 0.005)
    errors = [relative_error(u, start * np.exp(-0.1 * RATE)) for u in (coarse, fine)]
    assert abs(np.log2(errors[0] / errors[1]) - 3) <= 0.3
