"""Validation of boundary conditions and spacings of grid operators."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from .._arguments import as_items, as_reals, shown
from .._field import is_traced, on_device

Condition: TypeAlias = Literal["dirichlet", "neumann", "periodic"]
Faces: TypeAlias = tuple[tuple[Condition, Condition], ...]
BoundaryLike: TypeAlias = Condition | Sequence[Condition | tuple[Condition, Condition]]


def as_faces(boundary: Any, num_axes: int) -> Faces:
    """Return (low, high) conditions for every axis.

    Args:
        boundary: one condition for all faces, or a sequence with, per axis, one
            condition or a (low, high) pair.
        num_axes: number of axes of the grid.

    Raises:
        ValueError: a wrong count, an unknown condition, or an axis of which only one
            face is periodic.
    """
    wanted = f"one of {get_args(Condition)}, or one entry for each axis of the grid"
    axes = (
        (boundary,) * num_axes
        if isinstance(boundary, str)
        else as_items(boundary, "boundary", wanted)
    )
    if len(axes) != num_axes:
        raise ValueError(
            f"boundary must be one condition or one entry for each of the {num_axes} "
            f"axes, got {len(axes)} entries"
        )
    return tuple(_as_pair(condition) for condition in axes)


def inverse_squares(
    spacing: Any, num_axes: int, dtype: DTypeLike
) -> Float[Array, " axes"]:
    """Return 1/h² per axis from one spacing or one per axis.

    Raises:
        ValueError: a wrong count, or a spacing that is not positive and finite.
    """
    is_known = not is_traced(spacing)
    h = as_reals(spacing, "spacing") if is_known else _as_traced(spacing, dtype)
    if isinstance(h, np.ndarray) and not (np.all(np.isfinite(h)) and np.all(h > 0)):
        raise ValueError(f"spacing must be positive and finite, got {spacing}")
    if h.shape not in ((), (num_axes,)):
        raise ValueError(
            f"spacing must be one number or one for each of the {num_axes} axes, got "
            f"shape {h.shape}"
        )
    if isinstance(h, np.ndarray):
        return on_device(np.broadcast_to(1 / h**2, num_axes).astype(dtype))
    return jnp.broadcast_to(1 / h**2, (num_axes,))


def has_dirichlet(faces: Faces) -> bool:
    """Whether any face has a Dirichlet condition, which makes the operator regular."""
    return any("dirichlet" in pair for pair in faces)


def require_choice(name: str, choice: Any, known: Any) -> None:
    """Raise a `ValueError` unless the value is among those of a `Literal`."""
    if not isinstance(choice, str) or choice not in get_args(known):
        raise ValueError(f"{name} must be one of {get_args(known)}, got {choice!r}")


def _as_traced(spacing: Any, dtype: DTypeLike) -> Array:
    h = jnp.asarray(spacing)
    if jnp.iscomplexobj(h):
        raise ValueError(f"spacing must be real, got {h.dtype}")
    return h.astype(dtype)


def _is_condition(face: Any) -> bool:
    return isinstance(face, str) and face in get_args(Condition)


def _as_pair(condition: Any) -> tuple[Condition, Condition]:
    """The conditions of the two faces of an axis."""
    conditions = get_args(Condition)
    pair: Any = (condition, condition) if isinstance(condition, str) else condition
    is_pair = isinstance(pair, tuple | list) and len(pair) == 2
    if not is_pair or not all(map(_is_condition, pair)):
        raise ValueError(
            f"each axis takes one of {conditions} or a (low, high) pair of them, got "
            f"{shown(pair)}"
        )
    if (pair[0] == "periodic") != (pair[1] == "periodic"):
        raise ValueError(f"an axis is periodic on both faces or on none, got {pair}")
    return pair[0], pair[1]
