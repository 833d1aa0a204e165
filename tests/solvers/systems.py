"""Systems as solvers get them, for tests of what a solver does without `solve`."""

from typing import Any

import jax.numpy as jnp

import krylax as kx

from .cases import problem


def system_of(name: str, dtype: str = "float64", preconditioner: Any = None) -> Any:
    """A named problem, from the start zero and without a target."""
    matrix, b = problem(name, dtype)
    return make_system(jnp.asarray(matrix), jnp.asarray(b), preconditioner)


def make_system(matrix: Any, b: Any, preconditioner: Any = None) -> Any:
    """The system of a matrix, which may be traced."""
    one = jnp.ones((), jnp.real(b).dtype)
    return kx.solvers.LinearSystem(
        operator=kx.operators.Dense(matrix),
        preconditioner=preconditioner,
        b=b,
        x0=jnp.zeros_like(b),
        r0=b,
        target=0 * one,
        scale=one,
    )
