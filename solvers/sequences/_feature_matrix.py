"""What every ordering asks of features: a finite matrix, one row per system."""

from typing import Any

import numpy as np
from jaxtyping import Float


def as_features(features: Any) -> Float[np.ndarray, "systems features"]:
    """Return the features as float64, less their mean.

    Distances are differences of products, which a common offset would spoil.

    Raises:
        ValueError: they are not a finite matrix.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or not np.all(np.isfinite(features)):
        raise ValueError(
            "features must be a finite matrix, one row per system, got shape "
            f"{features.shape}"
        )
    return features - np.mean(features, axis=0) if len(features) else features


def squared_distances(
    rows: Float[np.ndarray, "g q"], others: Float[np.ndarray, "h q"]
) -> Float[np.ndarray, "g h"]:
    """Return |f_i - f_j|², from one matrix product; rounding may make it negative."""
    distances = rows @ others.T
    distances *= -2
    distances += np.sum(rows**2, axis=1)[:, None]
    distances += np.sum(others**2, axis=1)[None, :]
    return distances
