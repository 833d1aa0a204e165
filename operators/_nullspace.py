"""Declared null spaces of singular operators."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ._field import (
    Field,
    Structure,
    array_structure,
    as_field,
    describe,
    is_traced,
    ravel,
    require_finite,
    size_of,
    structure_of,
    unravel,
)


def constant_nullspace(structure: Structure) -> Field:
    """The normalised constant field, stacked along a first axis of length one."""
    scale = size_of(structure) ** -0.5
    return jax.tree.map(lambda s: jnp.full((1, *s.shape), scale, s.dtype), structure)


def as_nullspace(vectors: Any, structure: Structure) -> Field | None:
    """Orthonormalise declared null vectors, stacked along a first axis.

    Raises:
        ValueError: their structure is not that of the operator's fields, their number
            exceeds its size, or they are not finite or not independent.
    """
    if vectors is None:
        return None
    if isinstance(vectors, str) and vectors == "constant":
        return constant_nullspace(structure)
    if isinstance(vectors, str):
        raise ValueError(
            f'nullspace must be "constant" or null vectors, got {vectors!r}'
        )
    vectors = as_field(vectors, "nullspace")
    found = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), vectors)
    counts = {v.shape[:1] for v in jax.tree.leaves(vectors)}
    if found != structure or len(counts) != 1 or counts == {()}:
        raise ValueError(
            'nullspace must be "constant" or null vectors stacked along a first axis, '
            f"each {describe(structure)}, got {describe(structure_of(vectors))}"
        )
    ((count,),) = counts
    if not 1 <= count <= size_of(structure):
        raise ValueError(
            f"nullspace must hold 1 to {size_of(structure)} independent vectors, got "
            f"{count}"
        )
    for leaf in jax.tree.leaves(vectors):
        require_finite(leaf, "nullspace")
    return _orthonormal(vectors)


def conjugate(vectors: Field | None) -> Field | None:
    """The null vectors of Aᵀ and of conj(A), given those of A and Aᴴ."""
    return None if vectors is None else jax.tree.map(jnp.conj, vectors)


def _orthonormal(vectors: Field) -> Field:
    Q, R = _factorised(vectors)
    _require_independent(R)
    return Q


@partial(jax.jit, inline=True)
def _factorised(vectors: Field) -> tuple[Field, Inexact[Array, "k k"]]:
    """The orthonormal rows and the triangle of a QR factorisation of stacked fields."""
    Q, R = jnp.linalg.qr(jax.vmap(ravel)(vectors).T)
    structure = jax.tree.map(lambda v: array_structure(v.shape[1:], v.dtype), vectors)
    return jax.vmap(partial(unravel, structure=structure), in_axes=1)(Q), R


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
