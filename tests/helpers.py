"""What the tests share: tolerances with a reason, and fields as plain vectors."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import jaxtyping
import numpy as np

MAX_FACTOR = 100


def tolerance(cond: float, dtype: Any, factor: float = 10) -> float:
    """Return factor · cond · eps(dtype), the error that rounding may cause.

    `cond` is the condition number of what is computed: κ(A) for a solution, 1 for a
    product or for a residual. `factor` covers the number of operations, at most 100.
    """
    if not 0 < factor <= MAX_FACTOR:
        raise ValueError(f"factor must lie in (0, {MAX_FACTOR}], got {factor}")
    return float(factor * cond * np.finfo(np.dtype(dtype)).eps)


def solution_tolerance(cond: float, rtol: float, dtype: Any) -> float:
    """Return the relative error of a solution whose relative residual is rtol.

    ‖x - x*‖ / ‖x*‖ ≤ κ rtol, and rounding on top.
    """
    return cond * rtol + tolerance(cond, dtype)


def relative_error(got: Any, expected: Any) -> float:
    """Return ‖got - expected‖ / ‖expected‖ over all entries; ‖got‖ for expected 0."""
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        raise ValueError(f"shapes {got.shape} and {expected.shape} differ")
    scale = np.linalg.norm(expected)
    return float(np.linalg.norm(got - expected) / (scale if scale > 0 else 1))


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return standard normal entries, in both parts where dtype is complex."""
    values = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


@jax.jit
def _as_matrix(A: Any) -> Any:
    return A.as_matrix()


def as_matrix(A: Any) -> np.ndarray:
    """Return the matrix of an operator, by one program."""
    return np.asarray(_as_matrix(A))


def to_vector(field: Any) -> np.ndarray:
    """Return the entries of a field, leaf after leaf, row-major."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(field)])


def to_field(vector: np.ndarray, structure: Any) -> Any:
    """Return the field of a structure whose entries are `vector`."""
    leaves, tree = jax.tree.flatten(structure)
    ends = np.cumsum([int(np.prod(leaf.shape)) for leaf in leaves])
    pieces = np.split(vector, ends[:-1])
    return tree.unflatten(
        jax.device_put(piece.reshape(leaf.shape).astype(leaf.dtype))
        for piece, leaf in zip(pieces, leaves, strict=True)
    )


def observed_orders(errors: list[float]) -> np.ndarray:
    """Return log2 of the ratios of neighbouring errors, the spacing halving."""
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


@contextmanager
def types_checked(is_on: bool = True) -> Iterator[None]:
    """Switch the check of shapes and types of every call on or off."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", not is_on)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def types_unchecked() -> AbstractContextManager[None]:
    """Switch the checks off, as users run the library.

    Otherwise wrong literals and counts meet them before the library's own.
    """
    return types_checked(False)
