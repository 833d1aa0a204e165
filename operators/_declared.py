"""The declared properties of an operator: its tags and its null space."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
from typing_extensions import override

from ._field import Field, Structure, describe, require_field, require_square
from ._nullspace import as_nullspace, conjugate, constant_nullspace
from ._operator import AbstractLinearOperator
from ._tags import as_tags, is_real, named


class Declared(eqx.Module):
    """Tags and a null space.

    Attributes:
        vectors: orthonormal null vectors, None if they are the constants.
        tags: the declared tags and all that they imply.
        has_constants: whether the constants are the null space; they are not stored.
        annihilates_constants: whether A 1 = 0, declared as null space or not.
    """

    vectors: Field | None
    tags: frozenset[str] = eqx.field(static=True)
    has_constants: bool = eqx.field(static=True)
    annihilates_constants: bool = eqx.field(static=True)

    @property
    def T(self) -> "Declared":
        """The declared properties of the transpose."""
        annihilates = self.has_constants or "symmetric" in self.tags
        annihilates &= self.annihilates_constants
        vectors = conjugate(self.vectors)
        return Declared(vectors, self.tags, self.has_constants, annihilates)


class AbstractDeclaredOperator(AbstractLinearOperator):
    """A linear operator that keeps its tags and its null space in `declared`."""

    declared: eqx.AbstractVar[Declared]

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.declared.tags

    @property
    def annihilates_constants(self) -> bool:
        """Whether A 1 = 0 is known."""
        return self.declared.annihilates_constants

    @property
    def nullspace(self) -> Field | None:
        """The declared null vectors, orthonormal."""
        if self.declared.has_constants:
            return constant_nullspace(self.in_structure)
        return self.declared.vectors


def declare(
    tags: Iterable[str],
    nullspace: Any,
    structure: Structure,
    out_structure: Structure | None = None,
    *,
    always: Iterable[str] = (),
    annihilates_constants: bool = False,
) -> Declared:
    """Validate the fields and the declared properties of an operator.

    Args:
        tags: those that the caller declares.
        nullspace: the caller's null vectors, "constant" or None.
        structure: of the fields that the operator takes.
        out_structure: of those that it returns, if the operator is not square.
        always: tags that the operator has in any case.
        annihilates_constants: whether A 1 = 0 is known.

    Raises:
        ValueError: invalid fields, an unknown tag, tags or a null space of an
            operator that is not square, null vectors that do not fit or that contradict
            the tags.
    """
    out_structure = structure if out_structure is None else out_structure
    require_field(structure)
    require_field(out_structure)
    if is_real(structure) != is_real(out_structure):
        raise ValueError(
            "a linear operator maps real fields to real, complex to complex ones, got "
            f"one from {describe(structure)} to {describe(out_structure)}; make both "
            "complex"
        )
    found = as_tags([*named(tags), *always], structure, out_structure)
    if nullspace is not None:
        require_square(structure, out_structure, "has a declared null space")
        if "positive_definite" in found:
            raise ValueError(
                "a positive definite operator has no null vectors; leave out nullspace "
                "or promise positive_semidefinite"
            )
    is_constant = isinstance(nullspace, str) and nullspace == "constant"
    return Declared(
        None if is_constant else as_nullspace(nullspace, structure),
        found,
        is_constant,
        is_constant or annihilates_constants,
    )
