"""Dense matrices."""

from collections.abc import Iterable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Inexact
from typing_extensions import override

from ._declared import AbstractDeclaredOperator, Declared, declare
from ._diagonal_blocks import blocks_of_matrix
from ._field import (
    Structure,
    array_structure,
    as_finite,
    require_square,
)


class Dense(AbstractDeclaredOperator):
    """A matrix A as an operator on vectors, y_i = Σ_j a_ij x_j.

    Args:
        matrix: the matrix A, floating or complex, shape (rows, columns).
        tags: declared properties such as `symmetric` or `positive_definite`.
        nullspace: null vectors of A and Aᴴ, stacked along a first axis, or "constant".

    Raises:
        ValueError: a matrix that is not two-dimensional, is empty, has integer or
            non-finite entries, 64-bit while `jax_enable_x64` is off, or an unknown tag.

    Cost: 2 rows·columns operations; the matrix is read once per product, and once for
    many right-hand sides in `mm`.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[2.0, 1.0], [1.0, 3.0]]))
        >>> A @ jnp.array([1.0, 1.0])
        Array([3., 4.], dtype=float64)
    """

    matrix: Inexact[Array, "rows columns"]
    declared: Declared

    def __init__(
        self,
        matrix: Any,
        *,
        tags: Iterable[str] = (),
        nullspace: Any | Literal["constant"] | None = None,
    ) -> None:
        self.matrix = as_finite(matrix, "matrix")
        if self.matrix.ndim != 2:
            raise ValueError(
                f"matrix must have two axes, got shape {self.matrix.shape}; for a "
                "batch of matrices use jax.vmap over Dense"
            )
        self.declared = declare(tags, nullspace, self.in_structure, self.out_structure)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.matrix.shape[1:], self.matrix.dtype)

    @property
    @override
    def out_structure(self) -> Structure:
        return array_structure(self.matrix.shape[:1], self.matrix.dtype)

    @property
    @override
    def T(self) -> "Dense":
        if "symmetric" in self.tags:
            return self
        return eqx.tree_at(
            lambda A: (A.matrix, A.declared), self, (self.matrix.T, self.declared.T)
        )

    @override
    def mv(self, x: Inexact[Array, " columns"]) -> Inexact[Array, " rows"]:
        return jnp.matmul(self.matrix, x, precision=Precision.HIGHEST)

    def mm(self, xs: Inexact[Array, "k columns"]) -> Inexact[Array, "k rows"]:
        """Return A applied to each row of xs, by one matrix product."""
        return jnp.matmul(xs, self.matrix.T, precision=Precision.HIGHEST)

    @override
    def diagonal(self) -> Inexact[Array, " rows"]:
        require_square(self.in_structure, self.out_structure, "has a diagonal")
        return jnp.diagonal(self.matrix)

    @property
    @override
    def dense_matrix(self) -> Inexact[Array, "rows columns"]:
        return self.matrix

    @property
    @override
    def triangles(self) -> "tuple[Dense, Dense]":
        return Dense(jnp.tril(self.matrix, -1)), Dense(jnp.triu(self.matrix, 1))

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        return blocks_of_matrix(self.matrix, size)

    @override
    def as_matrix(self) -> Inexact[Array, "rows columns"]:
        return self.matrix
