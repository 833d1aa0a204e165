"""The identity operator."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ._declared import AbstractDeclaredOperator, Declared, declare
from ._field import Field, FrozenStructure, Structure, freeze, thaw


class Identity(AbstractDeclaredOperator):
    """The identity I on fields of a given structure.

    Args:
        structure: pytree of `jax.ShapeDtypeStruct`, for example
            `jax.eval_shape(lambda: b)`.

    Raises:
        ValueError: arrays without entries, of integers, of several dtypes, or of 64
            bits while `jax_enable_x64` is off.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> x = jnp.ones((3, 4))
        >>> bool(jnp.all(kx.operators.Identity(jax.eval_shape(lambda: x)) @ x == x))
        True
    """

    declared: Declared
    frozen: FrozenStructure = eqx.field(static=True)

    def __init__(self, structure: Structure):
        self.frozen = freeze(structure)
        self.declared = declare(
            ["symmetric", "positive_definite"], None, self.in_structure
        )

    @property
    def in_structure(self) -> Structure:
        """The structure that it was given."""
        return thaw(self.frozen)

    def mv(self, x: Field) -> Field:
        """Return x."""
        return x

    def diagonal(self) -> Field:
        """Ones."""
        return jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), self.in_structure)
