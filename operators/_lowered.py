"""An operator with its 64-bit arrays, real or complex, cast to 32 bits."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from ._field import Field, Structure
from ._line import UniformLine
from ._operator import AbstractLinearOperator, AbstractOperator, Transpose
from ._separable import Separable

_LOWER = {"float64": jnp.float32, "complex128": jnp.complex64}


def lower(tree: Any) -> Any:
    """Cast 64-bit arrays to 32 bits and leave the rest."""

    def lower_leaf(leaf: Any) -> Any:
        # JAX transposes at a structure, which has to be the lowered one.
        if isinstance(leaf, Transpose):
            return Transpose(Lowered(lower(leaf.operator)))
        if not eqx.is_inexact_array(leaf):
            return leaf
        return leaf.astype(_LOWER.get(leaf.dtype.name, leaf.dtype))

    return jax.tree.map(lower_leaf, tree, is_leaf=lambda x: isinstance(x, Transpose))


def lower_operator(A: Any) -> Any:
    """An operator on 32-bit fields; `None` stays `None`."""
    if A is None:
        return None
    if isinstance(A, AbstractLinearOperator):
        return Lowered(lower(A))
    return _LoweredMap(lower(A))


def restore(x: Field, like: Field) -> Field:
    """Cast back to the dtypes of another field."""
    return jax.tree.map(lambda a, b: a.astype(b.dtype), x, like)


class Lowered(AbstractLinearOperator):
    """A linear operator with its arrays cast to 32 bits; its structures stay 64-bit."""

    operator: AbstractLinearOperator

    @property
    def in_structure(self) -> Structure:
        return _lower_structure(self.operator.in_structure)

    @property
    def out_structure(self) -> Structure:
        return _lower_structure(self.operator.out_structure)

    @property
    def tags(self) -> frozenset[str]:
        return self.operator.tags

    @property
    def nullspace(self) -> Field | None:
        return lower(self.operator.nullspace)

    @property
    def T(self) -> AbstractLinearOperator:
        return self if "symmetric" in self.tags else lower_operator(self.operator.T)

    @property
    def stencil(self) -> Any:
        return lower(self.operator.stencil)

    @property
    def is_fluid(self) -> Bool[Array, "..."] | None:
        return self.operator.is_fluid

    @property
    def separable(self) -> Separable | None:
        return lower(self.operator.separable)

    @property
    def uniform_lines(self) -> tuple[UniformLine, ...] | None:
        return lower(self.operator.uniform_lines)

    @property
    def sparse(self) -> Any:
        return lower(self.operator.sparse)

    @property
    def dense_matrix(self) -> Inexact[Array, "rows columns"] | None:
        return lower(self.operator.dense_matrix)

    @property
    def triangles(self) -> tuple[AbstractLinearOperator, AbstractLinearOperator] | None:
        found = self.operator.triangles
        return (
            None
            if found is None
            else (Lowered(lower(found[0])), Lowered(lower(found[1])))
        )

    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        return lower(self.operator.diagonal_blocks(size))

    def mv(self, x: Field) -> Field:
        # A constant inside, as of a user's function, may have raised the precision.
        return lower(self.operator.mv(x))

    def diagonal(self) -> Field:
        return lower(self.operator.diagonal())


class _LoweredMap(AbstractOperator):
    """The same for a map that is not linear."""

    operator: AbstractOperator

    @property
    def in_structure(self) -> Structure | None:
        return _lower_structure(self.operator.in_structure)

    @property
    def out_structure(self) -> Structure | None:
        return _lower_structure(self.operator.out_structure)

    def __call__(self, x: Field) -> Field:
        return lower(self.operator(x))

    @property
    def is_safeguarded(self) -> bool:
        return self.operator.is_safeguarded


def _lower_structure(structure: Structure | None) -> Any:
    return jax.tree.map(
        lambda s: jax.ShapeDtypeStruct(s.shape, _LOWER.get(s.dtype.name, s.dtype)),
        structure,
    )
