"""Validation of features, and their squared distances."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


def as_features(features: ArrayLike) -> Float[np.ndarray, "systems features"]:
    """Return the features as float64, minus their mean.

    Squared distances are differences of inner products, in which a common offset would
    cancel digits.

    Raises:
        ValueError: they are not a finite matrix, or complex.
    """
    require_real(features)
    rows = np.asarray(features, np.float64)
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


def as_unit_features(features: ArrayLike) -> Float[np.ndarray, "systems features"]:
    """Convert features as `as_features` does, and scale them to entries of at most 1.

    The order of distances stays the same, and their squares neither overflow nor
    vanish.
    """
    require_real(features)
    rows = np.asarray(features, np.float64)
    if rows.size and np.all(np.isfinite(rows)):
        rows = rows / (np.max(np.abs(rows)) or 1.0)
    rows = as_features(rows)
    return rows / (np.max(np.abs(rows), initial=0.0) or 1.0)


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
