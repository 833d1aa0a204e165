"""The inverse of an operator by factors of its dense matrix, as an operator."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._field import Field, FrozenStructure, Structure, freeze, thaw
from ...operators._operator import _ravel, _unravel


class FactoredInverse(AbstractLinearOperator):
    """An inverse by dense factors; made by `Cholesky` and `LU`."""

    factors: Any
    solve_vector: Callable[[Any, Array], Array] = eqx.field(static=True)
    frozen: FrozenStructure = eqx.field(static=True)
    promised: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return thaw(self.frozen)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.promised

    @override
    def mv(self, x: Field) -> Field:
        return _unravel(self.solve_vector(self.factors, _ravel(x)), self.in_structure)


def factored_inverse(
    A: AbstractLinearOperator, factors: Any, solve_vector: Callable[[Any, Array], Array]
) -> FactoredInverse:
    """Return the inverse of A by the factors of its `regular_matrix`."""
    return FactoredInverse(
        factors, solve_vector, freeze(A.in_structure), A.tags - {"singular"}
    )


def regular_matrix(A: AbstractLinearOperator) -> Inexact[Array, "n n"]:
    """Return the matrix of A, plus c N Nᴴ if A has a declared null space N.

    Its inverse agrees with the pseudo-inverse of A on what is orthogonal to N.
    """
    matrix = A.as_matrix()
    if A.nullspace is None:
        return matrix
    size = jnp.max(jnp.abs(jnp.diagonal(matrix))).astype(matrix.dtype)
    rows = _flat_rows(A.nullspace)
    projection = jnp.matmul(rows.T, rows.conj(), precision=Precision.HIGHEST)
    return matrix + jnp.where(size == 0, 1, size) * projection


def _flat_rows(rows: Field) -> Inexact[Array, "k n"]:
    flat = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(rows)]
    return jnp.concatenate(flat, axis=1)
