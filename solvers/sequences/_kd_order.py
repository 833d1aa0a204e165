"""The order of a k-d tree: halves at the median of the widest feature, again and again.

J. L. Bentley, Multidimensional binary search trees used for associative searching,
Comm. ACM 18 (1975), doi:10.1145/361002.361007.

`kd_order` is the order of the leaves of `scipy.spatial.KDTree`. `kd_leaves` and
`halves` are written out, since the greedy order and the tree of medians need the ids of
each half ascending and ties cut by the smaller id, which SciPy does not promise.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from ._feature_matrix import as_unit_features


def kd_order(
    features: Float[np.ndarray, "systems features"],
) -> Int[np.ndarray, " systems"]:
    """Return a permutation that visits the leaves of a k-d tree from left to right.

    Coarser than `greedy_order`, and far cheaper for many systems.

    Args:
        features: one row per system, finite.

    Raises:
        ValueError: features that are not a finite matrix.

    Cost: N q log N operations for N systems with q features.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import kd_order
        >>> kd_order(np.array([[0.0], [5.0], [1.0], [4.0]])).tolist()
        [0, 2, 3, 1]
    """
    features = as_unit_features(features)
    if features.shape[1] == 0:  # nothing to divide by, which SciPy does not know
        return np.arange(len(features))
    return np.asarray(KDTree(features, leafsize=1).indices, np.int64)


def kd_leaves(
    features: Float[np.ndarray, "systems features"],
    members: Int[np.ndarray, " members"],
    leaf_size: int,
) -> list[Int[np.ndarray, " leaf"]]:
    """Return leaves of at most `leaf_size` members, in the order of the tree."""
    if len(members) <= leaf_size:
        return [members]
    low, high = halves(features, members)
    return [
        *kd_leaves(features, low, leaf_size),
        *kd_leaves(features, high, leaf_size),
    ]


def halves(
    features: Float[np.ndarray, "systems features"],
    members: Int[np.ndarray, " members"],
) -> tuple[Int[np.ndarray, " low"], Int[np.ndarray, " high"]]:
    """Return the members below and above the median of the feature that varies most.

    The ids ascend in both.
    """
    ranked = members
    if features[members].size > 0:
        widths = np.ptp(features[members], axis=0)
        values = features[members, np.argmax(widths)]
        ranked = members[np.argsort(values, kind="stable")]
    half = len(ranked) // 2
    return np.sort(ranked[:half]), np.sort(ranked[half:])
