"""Tags: declared properties of a linear operator, and what they imply.

`TAGS` is the list of them; `as_tags` checks a caller's and closes them under
implication, and `require_complete` checks those that an operator answers.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from ._arguments import as_items, shown
from ._field import Structure, require_square

TAGS = {
    "symmetric": "A = Aᵀ, without conjugation",
    "hermitian": "A = Aᴴ",
    "positive_definite": "hermitian, and xᴴAx > 0 for every x ≠ 0",
    "positive_semidefinite": "hermitian, and xᴴAx ≥ 0",
    "singular": "Ax = 0 for some x ≠ 0; a solve then wants a declared null space",
}
_WANTED = f"names among {sorted(TAGS)}"


def as_tags(
    tags: Iterable[str], structure: Structure, out_structure: Structure
) -> frozenset[str]:
    """Return the tags with all that they imply for operators between these fields.

    Raises:
        ValueError: an unknown tag, one on an operator that is not square, or two that
            contradict each other.
    """
    found = set(named(tags))
    if unknown := sorted(found - set(TAGS)):
        raise ValueError(f"unknown tags {unknown}; the tags are {sorted(TAGS)}")
    if found:
        promised = ", ".join(sorted(found))
        require_square(structure, out_structure, f"can be {promised}")
    if {"positive_definite", "singular"} <= found:
        raise ValueError(
            "an operator is not both positive definite and singular; promise "
            "positive_semidefinite instead"
        )
    if "positive_definite" in found:
        found.add("positive_semidefinite")
    if "positive_semidefinite" in found:
        found.add("hermitian")
    if is_real(structure) and found & {"symmetric", "hermitian"}:
        found |= {"symmetric", "hermitian"}
    return frozenset(found)


def named(tags: Any) -> tuple[str, ...]:
    """Return the names of tags, of which one may stand by itself.

    Raises:
        ValueError: they are no strings.
    """
    names = (tags,) if isinstance(tags, str) else as_items(tags, "tags", _WANTED)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"tags must be {_WANTED}, got {shown(tags)}")
    return names


def require_complete(A: Any) -> None:
    """Check that the tags of an operator hold all that they imply.

    Those of the package do; a subclass of a user's own may have left some out.

    Raises:
        ValueError: a tag is missing, unknown, or contradicts another.
    """
    complete = as_tags(A.tags, A.in_structure, A.out_structure)
    if missing := sorted(complete - A.tags):
        raise ValueError(
            f"{type(A).__name__} is tagged {sorted(A.tags)}, which implies {missing}; "
            "let its tags return these too"
        )


def is_real(structure: Structure) -> bool:
    """Whether no leaf is complex."""
    return not any(
        jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        for leaf in jax.tree.leaves(structure)
    )
