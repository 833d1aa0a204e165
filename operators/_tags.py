"""Tags: declared properties of a linear operator, and what they imply.

`TAGS` is the list of them; `as_tags` checks a caller's and closes them under
implication.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from ._field import Structure, require_square

TAGS = {
    "symmetric": "A = Aᵀ, without conjugation",
    "hermitian": "A = Aᴴ",
    "positive_definite": "hermitian, and xᴴAx > 0 for every x ≠ 0",
    "positive_semidefinite": "hermitian, and xᴴAx ≥ 0",
    "singular": "Ax = 0 for some x ≠ 0; a solve then wants a declared null space",
}


def as_tags(
    tags: Iterable[str], structure: Structure, out_structure: Structure
) -> frozenset[str]:
    """Return the tags with all that they imply for operators between these fields.

    Raises:
        ValueError: an unknown tag, one on an operator that is not square, or two that
            contradict each other.
    """
    found = {tags} if isinstance(tags, str) else set(tags)
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


def is_real(structure: Structure) -> bool:
    """Whether no leaf is complex."""
    return not any(
        jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        for leaf in jax.tree.leaves(structure)
    )
