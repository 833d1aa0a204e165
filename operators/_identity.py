"""The identity operator."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ._field import Field, FrozenStructure, Structure, freeze, thaw
from ._operator import AbstractLinearOperator
from ._tags import as_tags


class Identity(AbstractLinearOperator):
    """The identity I on fields of a given structure.

    Args:
        structure: pytree of `jax.ShapeDtypeStruct`, for example
            `jax.eval_shape(lambda: b)`.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> x = jnp.ones((3, 4))
        >>> bool(jnp.all(kx.operators.Identity(jax.eval_shape(lambda: x)) @ x == x))
        True
    """

    frozen: FrozenStructure = eqx.field(static=True)

    def __init__(self, structure: Structure):
        self.frozen = freeze(structure)

    @property
    def in_structure(self) -> Structure:
        """The structure that it was given."""
        return thaw(self.frozen)

    @property
    def out_structure(self) -> Structure:
        """The structure that it was given."""
        return thaw(self.frozen)

    @property
    def tags(self) -> frozenset[str]:
        """Symmetric, hermitian and positive definite."""
        return as_tags(
            ["symmetric", "positive_definite"], self.in_structure, self.out_structure
        )

    def mv(self, x: Field) -> Field:
        """Return x."""
        return x

    def diagonal(self) -> Field:
        """Ones."""
        return jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), self.in_structure)
