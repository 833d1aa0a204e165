"""Validation of features, and their squared distances."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from ...operators._arguments import as_reals, shown


def as_features(features: ArrayLike) -> Float[np.ndarray, "systems features"]:
    """Return the features as float64, minus their mean.

    Squared distances are differences of inner products, in which a common offset would
    cancel digits.

    Raises:
        ValueError: they are not a finite matrix, or complex.
    """
    rows = _as_numbers(features)
    if rows.ndim != 2 or not np.all(np.isfinite(rows)):
        raise ValueError(
            "features must be a finite matrix, one row per system, got shape "
            f"{rows.shape}"
        )
    return rows - np.mean(rows, axis=0) if len(rows) else rows


def require_real(features: ArrayLike) -> None:
    """Raise a `ValueError` for complex features."""
    if np.iscomplexobj(features):
        raise ValueError(
            "features must be real, got complex ones; give their real and imaginary "
            "parts as columns"
        )


def _as_numbers(features: ArrayLike) -> Float[np.ndarray, "..."]:
    require_real(features)
    return as_reals(features, "features")


def as_unit_features(features: ArrayLike) -> Float[np.ndarray, "systems features"]:
    """Convert features as `as_features` does, and scale them to entries of at most 1.

    The order of distances stays the same, and their squares neither overflow nor
    vanish.
    """
    rows = _as_numbers(features)
    if rows.size and np.all(np.isfinite(rows)):
        rows = rows / (np.max(np.abs(rows)) or 1.0)
    rows = as_features(rows)
    return rows / (np.max(np.abs(rows), initial=0.0) or 1.0)


def as_permutation(order: ArrayLike, num_systems: int) -> Int[np.ndarray, " systems"]:
    """Return an order of systems as an array of its own.

    Raises:
        ValueError: it is no permutation.
    """
    try:
        numbers = np.array(order)
    except (TypeError, ValueError):
        numbers = np.zeros(())
    is_whole = np.issubdtype(numbers.dtype, np.integer) or numbers.size == 0
    known = np.arange(num_systems)
    if not (is_whole and numbers.ndim == 1 and np.array_equal(np.sort(numbers), known)):
        raise ValueError(
            f"order must be a permutation of the {num_systems} systems, got "
            f"{shown(order)}"
        )
    return numbers.astype(np.int64)


def squared_distances(
    rows: Float[np.ndarray, "rows features"],
    others: Float[np.ndarray, "others features"],
) -> Float[np.ndarray, "rows others"]:
    """Return |f_i - f_j|² from one matrix product; rounding may make it negative."""
    distances = rows @ others.T
    distances *= -2
    distances += np.sum(rows**2, axis=1)[:, None]
    distances += np.sum(others**2, axis=1)[None, :]
    return distances
