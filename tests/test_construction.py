"""Every constructor and factory in every transformation, against the same outside."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import krylax as kx

from .construction_cases import CLOSED, CONSTRUCTIONS, OPERATORS, Construction
from .helpers import relative_error, tolerance

each = pytest.mark.parametrize("name", CONSTRUCTIONS)
STEP = 1e-6  # of differences, whose error is of order STEP²
ROUNDING = tolerance(100, "float64", factor=100)


@jax.jit
def product(A: Any) -> Any:
    """A applied to a field without symmetry, as a vector."""
    sizes = [s.shape for s in jax.tree.leaves(A.in_structure)]
    tree = jax.tree.structure(A.in_structure)
    fields = [jnp.cos(1 + jnp.arange(np.prod(s, dtype=int) * 1.0)) for s in sizes]
    x = tree.unflatten(f.reshape(s) for f, s in zip(fields, sizes, strict=True))
    return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(A.mv(x))])


def outside(row: Construction, scale: float = 1.0) -> np.ndarray:
    """The product of what is built from arrays of NumPy, times a number."""
    return np.asarray(product(row.build(*scaled(row, scale))))


def scaled(row: Construction, scale: float) -> list[Any]:
    return [a if a.dtype == int else np.asarray(scale * a) for a in row.arrays]


def everywhere(row: Construction) -> Callable[..., Any]:
    """Built of traced arrays and of constants, in a branch, in a loop, in a batch."""

    def step(_: None, given: Any) -> Any:
        is_traced, arrays = given
        return None, lax.cond(
            is_traced,
            lambda: product(row.build(*arrays)),
            lambda: 2 * product(row.build(*row.arrays)),
        )

    def loop(is_traced: Any, arrays: Any) -> Any:
        return lax.scan(step, None, (is_traced, arrays))[1]

    return jax.vmap(loop, in_axes=(None, 0))


def summed(row: Construction) -> Callable[..., Any]:
    """The sum of all products, and they themselves."""

    def value(arrays: Any, is_traced: Any) -> Any:
        found = everywhere(row)(is_traced, arrays)
        return jnp.sum(found), found

    return value


def along_themselves(slopes: Any, arrays: Any) -> float:
    """The derivative along the arrays of the first construction."""
    pairs = zip(slopes, arrays, strict=True)
    return sum(np.sum(g[0, 0] * a[0, 0]) for g, a in pairs if g.dtype == float)


@each
def test_construction_is_the_same_in_every_transformation(name: str):
    row = CONSTRUCTIONS[name]
    # Along the first axis the batch, along the second the loop.
    scales = [[1.0, 0.9], [1.1, 1.0]]
    given = [scaled(row, scale) for pair in scales for scale in pair]
    arrays = [np.stack(a).reshape(2, 2, *a[0].shape) for a in zip(*given, strict=True)]
    compiled = jax.value_and_grad(summed(row), has_aux=True, allow_int=True)
    (_, found), slopes = jax.jit(compiled)(arrays, np.array([True, False]))
    expected = [[outside(row, pair[0]), 2 * outside(row)] for pair in scales]
    assert relative_error(found, np.array(expected)) <= ROUNDING
    inexact = [slope for slope in slopes if slope.dtype == float]
    assert all(np.all(np.isfinite(slope)) for slope in inexact)
    # Constants do not depend on what is traced.
    assert not any(np.any(slope[:, 1]) for slope in inexact)
    if row.has_derivative:
        change = outside(row, 1 + STEP) - outside(row, 1 - STEP)
        expected = pytest.approx(np.sum(change) / (2 * STEP), rel=1e-6, abs=1e-6)
        assert along_themselves(slopes, arrays) == expected


# Of a mask that is not known, no tags follow.
@pytest.mark.parametrize("name", [n for n in CONSTRUCTIONS if n != "masked_poisson"])
def test_structure_is_the_same_without_numbers(name: str):
    row = CONSTRUCTIONS[name]
    built = row.build(*row.arrays)
    abstract = jax.eval_shape(row.build, *row.arrays)
    assert jax.tree.structure(abstract) == jax.tree.structure(built)
    assert jax.tree.map(jnp.shape, abstract) == jax.tree.map(jnp.shape, built)


def test_algebraic_multigrid_of_constants_is_made_inside_of_a_program():
    pytest.importorskip("pyamg")
    factory = kx.solvers.AlgebraicMultigrid()
    inside = jax.jit(lambda: product(factory(2.0 * CLOSED)))
    assert relative_error(inside(), product(factory(2.0 * CLOSED))) <= 1e-13


def test_algebraic_multigrid_of_a_traced_matrix_is_refused():
    factory = kx.solvers.AlgebraicMultigrid()
    with pytest.raises(ValueError, match="needs a matrix whose numbers are known, got"):
        jax.eval_shape(lambda c: factory(c * CLOSED), 2.0)


def test_every_constructor_has_a_row():
    """A new operator is a new row, but for those that others return."""
    made_by_others = {
        "Composition",
        "Conjugate",
        "Product",
        "Scaled",
        "Sum",
        "Transpose",
    }
    rows = {name.replace("_", "") for name in OPERATORS}
    constructors = [
        name
        for name, cls in vars(kx.operators).items()
        if isinstance(cls, type)
        and issubclass(cls, kx.operators.AbstractLinearOperator)
        and not name.startswith("Abstract")
        and name not in made_by_others
    ]
    assert {name.lower() for name in constructors} <= rows
