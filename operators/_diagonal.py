"""Diagonal operators: entry-wise multiplication of a field."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ._field import Field, Structure, as_field, structure_of
from ._operator import AbstractLinearOperator
from ._tags import as_tags


class Diagonal(AbstractLinearOperator):
    """The operator (D x)_i = d_i x_i on fields of any shape, pytrees included.

    Args:
        values: the diagonal d as a field, floating or complex.
        tags: promises beyond `symmetric`, such as `positive_definite`.

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
    promised: frozenset[str] = eqx.field(static=True)

    def __init__(self, values: Any, *, tags: Iterable[str] = ()):
        self.values = as_field(values, "values")
        structure = structure_of(self.values)
        self.promised = as_tags([*tags, "symmetric"], structure, structure)

    @property
    def in_structure(self) -> Structure:
        """The structure of the diagonal."""
        return structure_of(self.values)

    @property
    def out_structure(self) -> Structure:
        """The structure of the diagonal."""
        return structure_of(self.values)

    @property
    def tags(self) -> frozenset[str]:
        """Symmetric, hermitian where real, and what was promised."""
        return self.promised

    def mv(self, x: Field) -> Field:
        """Return d x, entry by entry."""
        return jax.tree.map(jnp.multiply, self.values, x)

    def diagonal(self) -> Field:
        """The diagonal d."""
        return self.values
