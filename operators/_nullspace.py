"""Declared null spaces of singular operators."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ._field import Field, Structure, as_field, describe, size_of


def constant_nullspace(structure: Structure) -> Field:
    """The normalised constant field, stacked along a first axis of length one."""
    scale = size_of(structure) ** -0.5
    return jax.tree.map(lambda s: jnp.full((1, *s.shape), scale, s.dtype), structure)


def as_nullspace(vectors: Any, structure: Structure) -> Field | None:
    """Orthonormalise declared null vectors, stacked along a first axis.

    Raises:
        ValueError: their structure is not that of the operator's fields.
    """
    if vectors is None:
        return None
    if isinstance(vectors, str) and vectors == "constant":
        return constant_nullspace(structure)
    vectors = as_field(vectors, "nullspace")
    found = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), vectors)
    if found != structure:
        raise ValueError(
            'nullspace must be "constant" or null vectors stacked along a first axis, '
            f"each {describe(structure)}, got {describe(found)} after that axis"
        )
    return _orthonormal(vectors)


def _orthonormal(vectors: Field) -> Field:
    leaves, tree = jax.tree.flatten(vectors)
    flat = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)
    rows: Inexact[Array, "k n"] = jnp.linalg.qr(flat.T)[0].T
    pieces, start = [], 0
    for leaf in leaves:
        stop = start + leaf[0].size
        pieces.append(rows[:, start:stop].reshape(leaf.shape))
        start = stop
    return tree.unflatten(pieces)
