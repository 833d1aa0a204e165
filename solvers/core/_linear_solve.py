"""`jax.lax.custom_linear_solve` for fields of several leaves, with all derivatives.

JAX (0.10) differentiates a solve only where the right-hand sides of all leaves have
tangents or none has, and transposes it with zeros, that have none, for leaves that
nothing depends on. The second derivative of one leaf of a solution then raises. Here
each leaf depends on each other one, of a product and its transpose too, by zero times
its sum.

For the same reason what `solve` and `transpose_solve` close over must be constant,
unless `matvec` depends on it too.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from ...operators._field import Field


def linear_solve(
    matvec: Callable[[Field], Field],
    rhs: Field,
    solve: Callable,
    transpose_solve: Callable | None,
    symmetric: bool = False,
) -> Field:
    """Return x of matvec(x) = rhs; arguments as `jax.lax.custom_linear_solve` has."""
    x = lax.custom_linear_solve(
        lambda x: _all_linear(matvec(_all_linear(x))),
        _all_linear(rhs),
        solve,
        transpose_solve,
        symmetric,
    )
    return _all_linear(x)


def _all_linear(field: Field) -> Field:
    """The same, where all leaves have tangents or none has."""
    leaves = jax.tree.leaves(field)
    if len(leaves) == 1:
        return field
    zero = sum(0 * jnp.real(leaf).reshape(-1)[0] for leaf in leaves if leaf.size)
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(zero, leaf.dtype), field)
