"""Methods chosen by the clock, or by a made-up one: a price for each method's step."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import krylax as kx

from .tables import T

S: Any = kx.solvers
GRID = kx.operators.Laplacian((12, 12))
B = jnp.sin(jnp.arange(144.0).reshape(12, 12) ** 2)


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes an `AutoSolver` that is told steps times these prices as seconds."""
    module = importlib.import_module(f"{T.__name__}._auto_solver")
    timed = module._timed

    def install(factor: float, **rows: tuple[Any, float]) -> Any:
        def by_price(A: Any, b: Any, method: Any, cap: int, x0: Any) -> Any:
            (price,) = (price for row, price in rows.values() if row is method)
            found, _ = timed(A, b, method, cap, x0)
            return found, price * int(found.stats.num_steps)

        monkeypatch.setattr(module, "_timed", by_price)
        return T.AutoSolver(
            {name: row for name, (row, _) in rows.items()}, factor=factor
        )

    return install


def solved(auto: Any, systems: Any) -> Any:
    state, found = auto.init(jax.random.key(0)), []
    for A, b in systems:
        solution, state, record = auto.solve(A, b, state)
        found.append((solution, record))
    return found, state


GOOD = T.Method(S.CG(1e-8))
# Never converges within any bound that matters.
BAD = T.Method(S.SOR(1e-8, omega=0.001, max_steps=50_000))


def test_every_solve_is_certified_whatever_is_tried():
    auto = T.AutoSolver({"good": GOOD, "bad": BAD})
    found, state = solved(auto, [(GRID, B)] * 6)
    assert all(int(solution.status) == 0 for solution, _ in found)
    (known,) = state.known.values()
    assert known.counts["bad"] >= 1
    assert known.ranking[0] == "good"


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_bad_method_costs_no_more_than_its_bound(priced: Any, factor: float):
    auto = priced(factor, good=(GOOD, 1.0), bad=(BAD, 2.0))
    found, state = solved(auto, [(GRID, B)] * 6)
    (known,) = state.known.values()
    tries = [record for _, record in found if record.method == "bad"]
    assert tries
    for record in tries:
        assert record.is_cut_off
        bound = factor * known.mean_seconds("good")
        # Whole steps: the cap may lie one below.
        spent = record.seconds - known.mean_seconds("good")
        assert bound - 2.0 < spent <= bound


def test_the_cheapest_method_takes_over_from_the_guess(priced: Any):
    fast = T.Method(S.CG(1e-8), preconditioner=S.SSOR())
    auto = priced(
        2.0,
        guess=(GOOD, 10.0),
        middle=(T.Method(S.MINRES(1e-8)), 5.0),
        fast=(fast, 1.0),
    )
    found, state = solved(auto, [(GRID, B)] * 20)
    (known,) = state.known.values()
    assert known.ranking == ["fast", "middle", "guess"]
    assert [record.method for _, record in found[-5:]] == ["fast"] * 5


def test_guess_that_fails_is_followed_by_one_that_does_not():
    auto = T.AutoSolver({"bad": T.Method(S.CG(1e-8, max_steps=2)), "good": GOOD})
    found, _ = solved(auto, [(GRID, B)])
    solution, record = found[0]
    assert int(solution.status) == 0
    assert record.method == "bad"
    assert record.is_cut_off


def test_failure_of_all_methods_is_reported():
    auto = T.AutoSolver({"bad": T.Method(S.CG(1e-8, max_steps=2))})
    state = auto.init(jax.random.key(0))
    with pytest.raises(kx.solvers.SolveError, match="none of bad solved the system"):
        auto.solve(GRID, B, state)
    solution, _, _ = auto.solve(GRID, B, state, throw=False)
    assert solution.status == kx.Status.max_steps_reached


def test_structures_learn_apart():
    auto = T.AutoSolver({"good": GOOD})
    line = kx.operators.Laplacian((30,)), jnp.ones(30)
    _, state = solved(auto, [(GRID, B), line, (2.0 * GRID, B), (GRID, B)])
    assert len(state.known) == 3
    assert "good: 2 solves" in str(state)


def sparse(A: Any) -> Any:
    matrix = scipy.sparse.csr_array(np.asarray(A.as_matrix()))
    return kx.operators.Sparse.from_scipy(matrix, tags=A.tags)


FLOW = kx.operators.ConvectionDiffusion(np.ones((8, 8)), np.array([1.0, -2.0]))


@pytest.mark.parametrize(
    "A",
    [FLOW, sparse(GRID), kx.operators.Helmholtz(jnp.ones((8, 8)), 0.5)],
    ids=["flow", "sparse", "waves"],
)
def test_methods_for_an_operator_solve_it(A: Any):
    methods = T.methods_for(A, rtol=1e-6)
    assert len(methods) >= 3
    b = jnp.ones(A.in_structure.shape)
    name, method = list(methods.items())[-1]
    M = method.preconditioner
    assert kx.solve(A, b, method.solver, preconditioner=M).status == 0, name


def test_factor_below_one_is_refused():
    with pytest.raises(ValueError, match="factor must be at least 1"):
        T.AutoSolver(factor=0.5)


def test_default_tolerance_is_one_that_the_dtype_reaches():
    def rtol(dtype: str) -> float:
        A = kx.operators.Laplacian((8, 8), dtype=jnp.dtype(dtype))
        return next(iter(T.methods_for(A).values())).solver.rtol

    assert (rtol("float64"), rtol("float32")) == (1e-6, 1e-5)
