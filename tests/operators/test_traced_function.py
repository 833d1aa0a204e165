"""A function is what it is when an operator is made of it, and compiled once."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.operators._traced_function import trace

X = jnp.arange(1.0, 5.0)
STRUCTURE = jax.eval_shape(lambda: X)
CG = kx.solvers.CG(rtol=1e-10)


class Medium:
    """A plain object, which its owner may change."""

    k = 1.0

    def mv(self, x: Any) -> Any:
        return self.k * x


def traced(f: Any) -> Any:
    return trace(f, STRUCTURE)[0]


def function(f: Any) -> Any:
    return kx.operators.Function(f, STRUCTURE, tags=["positive_definite"])


def test_closure_over_other_arrays_compiles_nothing():
    arrays = [2 * X, 3 * X, 4 * X]
    operators = [function(lambda x, d=d: d * x + 0.5 * x) for d in arrays]
    kx.solve(operators[0], X, CG)
    with jax.no_tracing(True):
        found = [kx.solve(A, X, CG).value for A in operators]
    for d, value in zip(arrays, found, strict=True):
        assert np.allclose(value, X / (d + 0.5))


def test_object_that_has_changed_is_solved_as_it_is():
    medium = Medium()
    first = kx.solve(function(medium.mv), X, CG).value
    medium.k = 2.0
    assert np.allclose(first, X)
    assert np.allclose(kx.solve(function(medium.mv), X, CG).value, X / 2)


def test_programs_differ_where_constants_or_operations_do():
    programs = [
        traced(f).program
        for f in (lambda x: 2 * x, lambda x: 2.5 * x, lambda x: x / 2, lambda x: 2 * x)
    ]
    assert programs[0] == programs[3]
    assert hash(programs[0]) == hash(programs[3])
    assert len({*programs}) == 3


def test_rules_that_a_text_does_not_show_keep_programs_apart():
    def with_rule(factor: float) -> Any:
        @jax.custom_jvp
        def f(x: Any) -> Any:
            return 2 * x

        f.defjvp(lambda x, dx: (f(*x), factor * dx[0]))
        return f

    one, other = (traced(with_rule(c)) for c in (2.0, 3.0))
    assert one.program != other.program


@pytest.mark.parametrize("mode", [jax.jacrev, jax.jacfwd])
def test_derivative_of_what_a_closure_holds_is_that_of_the_dense_solve(mode: Any):
    def value(k: Any) -> Any:
        return kx.solve(function(lambda x: k * x), X, CG).value

    assert np.allclose(jax.jit(mode(value))(2 * X), np.diag(-X / (2 * X) ** 2))


class Through(eqx.Module):
    """A module that holds a function."""

    factor: Any
    inner: Any

    def __call__(self, x: Any) -> Any:
        return self.inner(self.factor * x)


@pytest.mark.parametrize("mode", [jax.jacrev, jax.jacfwd])
def test_derivative_of_what_a_function_in_a_module_closes_over_is_not_lost(mode: Any):
    def value(k: Any) -> Any:
        return kx.solve(function(Through(2 * X, lambda x: k * x)), X, CG).value

    assert np.allclose(jax.jit(mode(value))(2 * X), np.diag(-0.5 / (2 * X) ** 2))


def test_modules_without_such_a_function_stay_what_they_are():
    modules = [Through(X, jnp.sin), Through(X, lambda x: x + X)]
    assert [traced(module) for module in modules] == modules
    kinds: list[type] = []
    jax.eval_shape(lambda a: kinds.append(type(traced(Through(a, jnp.sin)))), X)
    assert kinds == [Through]


def test_function_of_another_precision_is_computed_in_its_own():
    f = traced(lambda x: jnp.asarray(0.1) * x)
    found = f(X.astype(jnp.float32))
    assert found.dtype == jnp.float32
    assert np.allclose(found, 0.1 * X)
