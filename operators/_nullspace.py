"""Declared null spaces of singular operators."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ._field import Field, Structure, as_field, describe, is_traced, size_of


def constant_nullspace(structure: Structure) -> Field:
    """The normalised constant field, stacked along a first axis of length one."""
    scale = size_of(structure) ** -0.5
    return jax.tree.map(lambda s: jnp.full((1, *s.shape), scale, s.dtype), structure)


def as_nullspace(vectors: Any, structure: Structure) -> Field | None:
    """Orthonormalise declared null vectors, stacked along a first axis.

    Raises:
        ValueError: their structure is not that of the operator's fields, or they are
            not independent.
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


def conjugate(vectors: Field | None) -> Field | None:
    """The null vectors of Aᵀ and of conj(A), given those of A and Aᴴ."""
    return None if vectors is None else jax.tree.map(jnp.conj, vectors)


def _orthonormal(vectors: Field) -> Field:
    leaves, tree = jax.tree.flatten(vectors)
    flat = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)
    Q, R = jnp.linalg.qr(flat.T)
    _require_independent(R)
    rows: Inexact[Array, "k n"] = Q.T
    pieces, start = [], 0
    for leaf in leaves:
        stop = start + leaf[0].size
        pieces.append(rows[:, start:stop].reshape(leaf.shape))
        start = stop
    return tree.unflatten(pieces)


def _require_independent(R: Inexact[Array, "k k"]) -> None:
    if is_traced(R):
        return
    lengths = np.abs(np.diagonal(np.asarray(R)))
    eps = np.finfo(lengths.dtype).eps
    if np.any(lengths <= 100 * eps * np.linalg.norm(R, axis=0)):
        raise ValueError(
            "nullspace must hold linearly independent vectors, got "
            f"{len(lengths)} that are not; leave out what follows from the others"
        )
