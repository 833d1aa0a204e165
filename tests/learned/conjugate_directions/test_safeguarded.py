"""What holds of flexible CG with any map, beside CG and without it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import krylax as kx
from krylax.datasets.families._porous import connected_to_border
from krylax.learned import conjugate_directions as cd

N = 16
KEY = jax.random.key(1)
SOLVER = kx.solvers.FlexibleCG(rtol=1e-10, truncation=2, max_steps=2000)


def masks() -> list[np.ndarray]:
    """The box, a disc, and a quarter of the cells at random."""
    i, j = np.mgrid[:N, :N]
    disc = (i - 6) ** 2 + (j - 9) ** 2 > 12
    random = connected_to_border(np.random.default_rng(0).random((N, N)) > 0.25)
    return [np.ones((N, N), bool), disc, random]


MASKS = masks()
NOISE = np.random.default_rng(1).standard_normal((N, N))


def operator(is_open: Any) -> kx.operators.MaskedPoisson:
    return kx.operators.MaskedPoisson(np.where(is_open, 2, 1), boundary="dirichlet")


def solved(is_open: Any, M: Any, solver: Any = SOLVER, b: Any = None) -> Any:
    b = NOISE * is_open if b is None else b
    return kx.solve(operator(is_open), b, solver, preconditioner=M, throw=False)


def steps_of_cg(is_open: Any) -> int:
    return int(solved(is_open, None, kx.solvers.CG(rtol=1e-10)).stats.num_steps)


class Small(eqx.Module):
    """A random network, small enough for many of them."""

    first: Any
    second: Any

    def __call__(self, r: Any) -> Any:
        spec = ("NXYC", "XYIO", "NXYC")
        x = r[None, ..., None] / (jnp.linalg.norm(r) + 1e-300)
        for weight in (self.first, self.second):
            x = lax.conv_general_dilated(
                jnp.tanh(x) + 0.1, weight, (1, 1), "SAME", dimension_numbers=spec
            )
        return x[0, ..., 0]


def random_nets(count: int) -> Small:
    first, second = jax.random.split(KEY)
    return Small(
        jax.random.normal(first, (count, 3, 3, 1, 4)),
        jax.random.normal(second, (count, 3, 3, 4, 1)),
    )


@pytest.mark.parametrize("index", range(len(MASKS)))
def test_random_networks_take_no_more_steps_than_cg(index: int):
    is_open = MASKS[index]
    A, b = operator(is_open), NOISE * is_open

    @jax.jit
    @jax.vmap
    def run(net: Any) -> Any:
        M = cd.Safeguarded(cd.from_callable(net))
        sol = kx.solve(A, b, SOLVER, preconditioner=M, throw=False)
        return sol.status, sol.stats.num_steps, sol.stats.num_matvecs

    status, steps, products = map(np.asarray, run(random_nets(50)))
    assert np.all(status == kx.Status.converged.value)
    assert np.max(steps) <= steps_of_cg(is_open)
    # Two products a step; each confirmation of the residual is another one.
    assert np.all(products >= 2 * steps)
    assert np.all(products <= 2 * steps + 5)


USELESS: dict[str, Callable[[Any], Any]] = {
    "zero": lambda r: 0 * r,
    "minus r": lambda r: -r,
    "A r": operator(MASKS[1]).mv,
    "nearly r": lambda r: r + 1e-14 * jnp.roll(r, 1),
    "huge": lambda r: 1e200 * r,
    "tiny": lambda r: 1e-200 * r,
    "nan": lambda r: jnp.nan * r,
    "inf": lambda r: r.at[0, 0].set(jnp.inf),
}


@pytest.mark.parametrize("name", USELESS)
def test_useless_maps_leave_cg(name: str):
    is_open = MASKS[1]
    sol = solved(is_open, cd.Safeguarded(cd.from_callable(USELESS[name])))
    assert sol.status == kx.Status.converged
    assert abs(int(sol.stats.num_steps) - steps_of_cg(is_open)) <= 1


@pytest.mark.parametrize("name", ["zero", "nan"])
def test_useless_maps_leave_cg_beside_a_null_space(name: str):
    A = kx.operators.MaskedPoisson(np.full((N, N), 2), nullspace="constant")
    b = NOISE - NOISE.mean()
    M = cd.Safeguarded(cd.from_callable(USELESS[name]))
    sol = kx.solve(A, b, SOLVER, preconditioner=M)
    expected = kx.solve(A, b, kx.solvers.CG(rtol=1e-10))
    assert np.allclose(sol.value, expected.value, atol=1e-7)
    assert abs(int(sol.stats.num_steps) - int(expected.stats.num_steps)) <= 1


class Counted(kx.operators.AbstractLinearOperator):
    """An operator that counts its products, where nothing is compiled between them."""

    operator: Any
    products: list[int] = eqx.field(static=True)

    @property
    def in_structure(self) -> Any:
        return self.operator.in_structure

    @property
    def tags(self) -> frozenset[str]:
        return self.operator.tags

    def mv(self, x: Any) -> Any:
        self.products[0] += 1
        return self.operator.mv(x)


def test_a_step_multiplies_twice():
    products = [0]
    A = Counted(operator(MASKS[0]), products)
    b = jnp.asarray(NOISE)
    one = jnp.ones(())
    M: Any = cd.Safeguarded(cd.from_callable(lambda r: r))(A)
    system = kx.solvers.LinearSystem(A, M, b, 0 * b, b, 0 * one, one)
    vectors = SOLVER.begin(system, b)
    jax.eval_shape(lambda: SOLVER.step(system, 0 * b, vectors).x)
    assert products[0] == SOLVER.matvecs_in_step(system) == 2


def test_products_are_counted_beside_a_null_space_and_in_single_precision():
    """The preconditioner is wrapped in both, and still knows A z."""
    A = kx.operators.MaskedPoisson(np.full((N, N), 2), nullspace="constant")
    net = jax.tree.map(lambda a: a[0], random_nets(1))
    M = cd.Safeguarded(cd.from_callable(net))
    single = kx.solvers.FlexibleCG(rtol=1e-4, truncation=2)
    solver = kx.solvers.Refinement(single, rtol=1e-10)
    sol = kx.solve(A, NOISE - NOISE.mean(), solver, preconditioner=M)
    # Two in each call, and those of the outer residuals.
    calls = int(sol.stats.num_preconditioner_calls)
    assert 2 * calls <= int(sol.stats.num_matvecs) <= 2 * calls + 20


@pytest.mark.parametrize("scale", [1e-200, 1.0, -1e200])
def test_inverse_of_any_scale_stops_after_one_step(scale: float):
    A = operator(MASKS[2])
    inverse = jnp.linalg.inv(A.as_matrix())
    M = cd.Safeguarded(
        cd.from_callable(lambda r: scale * (inverse @ r.ravel()).reshape(N, N))
    )
    assert int(solved(MASKS[2], M).stats.num_steps) == 1


def test_identity_gives_the_iterates_of_cg():
    M = cd.Safeguarded(cd.from_callable(lambda r: r))
    found, expected = solved(MASKS[0], M), solved(MASKS[0], None, kx.solvers.CG(1e-10))
    seen, history = np.asarray(found.stats.history), np.asarray(expected.stats.history)
    assert np.allclose(seen[:15], history[:15], rtol=1e-10)


def energies(M: Any, factors: Any = 1.0) -> np.ndarray:
    """The energy of the error after 1, 2, ... steps, around the disc."""
    A, b = operator(MASKS[1]), NOISE * MASKS[1]
    exact = kx.solve(A, b, kx.solvers.CG(rtol=1e-13)).value

    @jax.jit
    def run(b: Any) -> Any:
        found = []
        for k in range(1, 7):
            x = kx.solve(A, b, SOLVER, preconditioner=M, unroll=k).value
            e = x - factors * exact
            found.append(jnp.vdot(e, A.mv(e)))
        return jnp.stack(found)

    return np.asarray(run(factors * b)) / factors**2


def test_energy_never_grows_and_is_at_most_that_of_cg():
    net = jax.tree.map(lambda a: a[0], random_nets(1))
    found = energies(cd.Safeguarded(cd.from_callable(net)))
    assert np.all(np.diff(found) < 0)
    assert np.all(found <= energies(None) * (1 + 1e-12))


def test_a_good_map_is_not_held_back():
    """CG beside it leaves what flexible CG makes of a preconditioner alone."""
    A = operator(MASKS[1])
    M = kx.solvers.IncompleteCholesky()(A)
    bare = int(solved(MASKS[1], M).stats.num_steps)
    found = int(solved(MASKS[1], cd.Safeguarded(M)).stats.num_steps)
    assert bare < steps_of_cg(MASKS[1]) / 2
    assert found <= bare


def test_scale_does_not_matter():
    net = cd.DeepConjugateDirection("from64", 2, key=KEY, dtype=jnp.float64)
    M, b = cd.Safeguarded(net), NOISE * MASKS[1]
    counts = {
        int(solved(MASKS[1], M, b=scale * b).stats.num_steps)
        for scale in (2.0**-27, 1.0, 2.0**27)
    }
    assert len(counts) == 1


def test_masked_map_is_the_identity_where_there_is_no_fluid():
    is_open = MASKS[1]
    # Neither does it see those cells, whose values neighbours would get.
    M: Any = cd.Masked(cd.from_callable(lambda r: jnp.roll(r, 1) + 1))(
        operator(is_open)
    )
    found = np.asarray(jax.jit(lambda r: M(r))(NOISE))
    expected = np.roll(np.where(is_open, NOISE, 0), 1) + 1
    assert np.array_equal(found, np.where(is_open, expected, NOISE))


def test_sums_and_multiples_have_the_cells_of_their_parts():
    @jax.jit
    def masks(A: Any) -> Any:
        mass = kx.operators.Identity(A.in_structure)
        combined = (A, 2 * A, A.T, mass + 0.1 * A, A + mass, A + 0.5 * A)
        return [B.is_fluid for B in combined], (A + other).is_fluid

    other = kx.operators.Laplacian((N, N))
    found, without = masks(operator(MASKS[1]))
    assert all(np.array_equal(mask, MASKS[1]) for mask in found)
    assert without is None
    assert other.is_fluid is None


def test_without_a_mask_it_is_the_map_itself():
    net = cd.DeepConjugateDirection("from64", 1, key=KEY)
    assert cd.Masked(net)(kx.operators.Laplacian((4,))) is net


def unrolled(net: Any) -> Any:
    A, b = operator(MASKS[1]), NOISE * MASKS[1]
    M = cd.Safeguarded(cd.from_callable(net))
    x = kx.solve(A, b, SOLVER, preconditioner=M, unroll=3).value
    return jnp.vdot(b - A.mv(x), b - A.mv(x))


def test_gradient_through_unrolled_steps_is_that_of_differences():
    # Near to the inverse of a smoother, so that the gate takes it.
    weight = np.array([[0, 0.2, 0], [0.3, 1, 0], [0, 0, 0]])

    class Averages(eqx.Module):
        weight: Any

        def __call__(self, r: Any) -> Any:
            window = self.weight[..., None, None]
            spec = ("NXYC", "XYIO", "NXYC")
            x = r[None, ..., None]
            return lax.conv_general_dilated(
                x, window, (1, 1), "SAME", dimension_numbers=spec
            )[0, ..., 0]

    def value(weight: Any) -> Any:
        return unrolled(Averages(weight))

    @jax.jit
    def slopes(weight: Any) -> Any:
        difference = value(weight + 1e-6) - value(weight - 1e-6)
        return jnp.sum(jax.grad(value)(weight)), difference / 2e-6

    found, expected = map(float, slopes(weight))
    assert abs(expected) > 1e-3
    assert found == pytest.approx(expected, rel=1e-6)


def test_gradient_of_a_solve_does_not_depend_on_the_weights():
    net = jax.tree.map(lambda a: a[0], random_nets(1))
    A, b = operator(MASKS[1]), NOISE * MASKS[1]

    @jax.jit
    def slopes(net: Any) -> Any:
        def value(c: Any, net: Any) -> Any:
            M = cd.Safeguarded(cd.from_callable(net))
            x = kx.solve(A, c * b, SOLVER, preconditioner=M).value
            return jnp.vdot(x, x)

        return jax.grad(value, (0, 1))(1.0, net)

    by_scale, by_weights = slopes(net)
    x = kx.solve(A, b, kx.solvers.CG(rtol=1e-12)).value
    assert float(by_scale) == pytest.approx(2 * float(jnp.vdot(x, x)), rel=1e-8)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(by_weights))


def test_another_structure_is_named():
    M = cd.Safeguarded(cd.from_callable(lambda r: r[0]))
    with pytest.raises(ValueError, match=r"structure of the residual, \(16, 16\), got"):
        solved(MASKS[0], M)


@pytest.mark.parametrize("wrapped", ["weights", "masked"])
def test_guarantee_holds_for_weights_of_nan_and_within_a_mask(wrapped: str):
    class Times(eqx.Module):
        weight: Any

        def __call__(self, r: Any) -> Any:
            return self.weight * jnp.roll(r, 1) ** 3

    M = {
        "weights": cd.Safeguarded(cd.from_callable(Times(jnp.asarray(jnp.nan)))),
        "masked": cd.Masked(cd.Safeguarded(cd.from_callable(Times(jnp.ones(()))))),
    }[wrapped]
    sol = solved(MASKS[1], M)
    assert sol.status == kx.Status.converged
    assert int(sol.stats.num_steps) <= steps_of_cg(MASKS[1])
    assert int(sol.stats.num_matvecs) >= 2 * int(sol.stats.num_steps)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32])
def test_function_may_compute_in_another_precision(dtype: Any):
    A = kx.operators.Laplacian((9,), dtype=np.float32)
    M = cd.from_callable(lambda r: (100 * r).astype(dtype))
    solver = kx.solvers.FlexibleCG(rtol=1e-4)
    sol = kx.solve(A, jnp.ones(9, np.float32), solver, preconditioner=M)
    assert sol.value.dtype == np.float32
    assert M(jnp.ones(3, np.float32)).dtype == np.float32


def test_complex_directions_of_real_residuals_are_named():
    with pytest.raises(ValueError, match="real numbers for a residual of float64"):
        cd.from_callable(lambda r: r.astype(complex))(NOISE)


def test_none_is_no_map():
    for factory in (cd.Masked, cd.Safeguarded):
        with pytest.raises(TypeError, match="operator must be a map of residuals"):
            factory(None)


def test_function_of_residuals_is_named_where_a_factory_is_meant():
    with pytest.raises(TypeError, match="a map of residuals is one as Function"):
        cd.Masked(lambda A: 3)(operator(MASKS[0]))


def test_indefinite_operators_are_refused():
    A = kx.operators.Dense(jnp.array([[0.0, 1.0], [1.0, 0.0]]), tags=["symmetric"])
    with pytest.raises(ValueError, match="tagged positive definite or semidefinite"):
        cd.Safeguarded(cd.from_callable(lambda r: r))(A)


def test_solvers_of_linear_preconditioners_refuse_it():
    M = cd.Safeguarded(cd.from_callable(lambda r: r))
    with pytest.raises(ValueError, match="needs a linear preconditioner"):
        kx.solve(operator(MASKS[0]), NOISE, kx.solvers.CG(), preconditioner=M)
