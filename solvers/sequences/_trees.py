"""Trees of systems: each starts from its parent instead of its predecessor.

Systems of a level are independent of one another. The minimum spanning tree has the
shortest edges (R. C. Prim, Bell Syst. Tech. J. 36, 1957); the tree of medians has
longer ones, and at most 1 + log₂ N levels.

Prim's algorithm is written out, as `scipy.sparse.csgraph.minimum_spanning_tree` needs
the N² distances in memory and takes a distance of zero for a missing edge.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from ._feature_matrix import as_features
from ._kd_order import halves


@dataclass(frozen=True)
class SystemTree:
    """A rooted tree over systems.

    Attributes:
        parents: the parent of each system, -1 for the root.
        levels: the systems of each level, beginning with the root.
    """

    parents: Int[np.ndarray, " systems"]
    levels: tuple[Int[np.ndarray, " _"], ...]

    @property
    def order(self) -> Int[np.ndarray, " systems"]:
        """All systems, parents before children."""
        return np.concatenate(self.levels)


def spanning_tree(features: Float[np.ndarray, "systems features"]) -> SystemTree:
    """Return the minimum spanning tree, rooted at its centre.

    Args:
        features: one row per system, finite, at least one.

    Raises:
        ValueError: features that are not a finite matrix, or none.

    Cost: N² q operations for N systems with q features.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import spanning_tree
        >>> spanning_tree(np.array([[0.0], [2.0], [1.0]])).parents.tolist()
        [2, 2, -1]
    """
    features = _require_some(as_features(features))
    n = len(features)
    nearest, distance = np.zeros(n, int), np.full(n, np.inf)
    is_left, newest = np.ones(n, bool), 0
    is_left[0] = False
    for _ in range(n - 1):
        reached = np.sum((features - features[newest]) ** 2, axis=1)
        is_nearer = is_left & (reached < distance)
        nearest[is_nearer], distance[is_nearer] = newest, reached[is_nearer]
        newest = int(np.argmin(np.where(is_left, distance, np.inf)))
        is_left[newest] = False
    ends = np.arange(1, n)
    edges = csr_array((np.ones(n - 1), (ends, nearest[1:])), shape=(n, n))
    return _rooted(edges, _centre(edges))


def median_tree(features: Float[np.ndarray, "systems features"]) -> SystemTree:
    """Return a tree of at most 1 + log₂ N levels.

    The root is the system nearest to the mean of all. The others are divided at the
    median of the feature that varies most, and each half is treated in the same way.

    Args:
        features: one row per system, finite, at least one.

    Raises:
        ValueError: features that are not a finite matrix, or none.

    Cost: N q log N operations for N systems with q features.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import median_tree
        >>> median_tree(np.array([[0.0], [2.0], [1.0]])).parents.tolist()
        [2, 2, -1]
    """
    features = _require_some(as_features(features))
    parents = np.full(len(features), -1)
    levels: list[np.ndarray] = []
    groups = [(np.arange(len(features)), -1)]
    while groups:
        heads, below = [], []
        for members, parent in groups:
            offsets = features[members] - np.mean(features[members], axis=0)
            squares = np.sum(offsets**2, axis=1)
            # Two members are equally near; rounding must not decide between them.
            ranks = np.round(squares / max(np.max(squares), 1e-300), 9)
            head = members[np.argmin(ranks)]
            parents[head] = parent
            heads.append(head)
            rest = members[members != head]
            below += [(half, head) for half in halves(features, rest) if len(half)]
        levels.append(np.array(heads))
        groups = below
    return SystemTree(parents, tuple(levels))


def _require_some(features: np.ndarray) -> np.ndarray:
    if len(features) == 0:
        raise ValueError("features must have at least one row, got none")
    return features


def _centre(edges: csr_array) -> int:
    """Return the middle of the longest path, from which the tree is least deep."""
    end = int(_rooted(edges, 0).levels[-1][0])
    tree = _rooted(edges, end)
    place = int(tree.levels[-1][0])
    for _ in range((len(tree.levels) - 1) // 2):
        place = int(tree.parents[place])
    return place


def _rooted(edges: csr_array, root: int) -> SystemTree:
    """Return the tree of the edges with this root."""
    depths, parents = dijkstra(
        edges, directed=False, indices=root, unweighted=True, return_predecessors=True
    )
    # SciPy marks the root, which has no parent, by -9999.
    parents = np.maximum(parents, -1).astype(np.int64)
    by_depth = np.argsort(depths, kind="stable")
    counts = np.bincount(depths.astype(int))
    return SystemTree(parents, tuple(np.split(by_depth, np.cumsum(counts)[:-1])))
