"""Diagonal operators: entry-wise multiplication of a field."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact
from typing_extensions import override

from ._declared import AbstractDeclaredOperator, Declared, declare
from ._diagonal_blocks import blocks_of_diagonals
from ._field import Field, Structure, as_field, ravel, structure_of
from .grids._stencil import Stencil, stencil_of_diagonal


class Diagonal(AbstractDeclaredOperator):
    """The operator (D x)_i = d_i x_i on fields of any shape, pytrees included.

    Args:
        values: the diagonal d as a field, floating or complex.
        tags: declared properties beyond `symmetric`, such as `positive_definite`.

    Raises:
        ValueError: integer values, 64-bit ones while `jax_enable_x64` is off, or an
            unknown tag.

    Cost: one multiplication per unknown.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> kx.operators.Diagonal(jnp.array([1.0, 2.0])) @ jnp.array([3.0, 4.0])
        Array([3., 8.], dtype=float64)
    """

    values: Field
    declared: Declared

    def __init__(self, values: Any, *, tags: Iterable[str] = ()) -> None:
        self.values = as_field(values, "values")
        self.declared = declare(tags, None, self.in_structure, always=["symmetric"])

    @property
    @override
    def in_structure(self) -> Structure:
        return structure_of(self.values)

    @override
    def mv(self, x: Field) -> Field:
        return jax.tree.map(jnp.multiply, self.values, x)

    @property
    @override
    def stencil(self) -> Stencil | None:
        """Cells without couplings, where the field is one array on a grid."""
        return stencil_of_diagonal(self.values)

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        return blocks_of_diagonals([(0, ravel(self.values))], size)

    @override
    def diagonal(self) -> Field:
        return self.values
