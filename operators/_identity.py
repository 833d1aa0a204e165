"""The identity operator."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact
from typing_extensions import override

from ._declared import AbstractDeclaredOperator, Declared, declare
from ._diagonal_blocks import blocks_of_diagonals
from ._field import Field, FrozenStructure, Structure, freeze, ravel, thaw
from ._separable import Separable
from .grids._stencil import Stencil, stencil_of_diagonal


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

    def __init__(self, structure: Structure) -> None:
        self.frozen = freeze(structure)
        self.declared = declare(
            ["symmetric", "positive_definite"], None, self.in_structure
        )

    @property
    @override
    def in_structure(self) -> Structure:
        return thaw(self.frozen)

    @override
    def mv(self, x: Field) -> Field:
        return x

    @property
    @override
    def stencil(self) -> Stencil | None:
        """Cells without couplings, where the field is one array on a grid."""
        return stencil_of_diagonal(self.diagonal())

    @property
    @override
    def separable(self) -> Separable:
        dtype = jnp.result_type(*jax.tree.leaves(self.in_structure))
        return Separable((), jnp.ones((), dtype))

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        return blocks_of_diagonals([(0, ravel(self.diagonal()))], size)

    @override
    def diagonal(self) -> Field:
        return jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), self.in_structure)
