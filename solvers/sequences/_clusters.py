"""Clusters of systems by k-means in feature space, each represented by a medoid."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.vq import kmeans2

from ...operators._arguments import require_count, require_integer
from ._feature_matrix import as_features


@dataclass(frozen=True)
class Clusters:
    """Clusters of systems.

    Attributes:
        centres: the medoid of each cluster, the system nearest to its mean.
        sources: the cluster of each system, as `solve_batch` takes it.
    """

    centres: Int[np.ndarray, " clusters"]
    sources: Int[np.ndarray, " systems"]


def cluster(
    features: Float[np.ndarray, "systems features"], num_clusters: int, seed: int = 0
) -> Clusters:
    """Return clusters of systems with similar features.

    Args:
        features: one row per system, finite.
        num_clusters: maximum number of clusters; empty ones are left out.
        seed: of the initial centres.

    Raises:
        ValueError: features that are not a finite matrix, or num_clusters out of range.

    Cost: N q num_clusters operations per iteration of k-means, 10 of them.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import cluster
        >>> found = cluster(np.array([[0.0], [9.0], [0.1], [9.3], [9.1]]), 2)
        >>> sorted(found.centres.tolist()), found.sources[0] == found.sources[2]
        ([0, 4], np.True_)
    """
    features = as_features(features)
    require_integer(num_clusters, "num_clusters")
    require_count(seed, "seed", 0)
    if not 1 <= num_clusters <= len(features):
        raise ValueError(
            f"num_clusters must be from 1 to the number of systems, {len(features)}, "
            f"got {num_clusters}"
        )
    centres, labels = kmeans2(
        features, num_clusters, minit="++", rng=np.random.default_rng(seed)
    )
    used, sources = np.unique(labels, return_inverse=True)
    medoids = [_nearest(features, centres[i], labels == i) for i in used]
    return Clusters(np.array(medoids), sources)


def _nearest(features: np.ndarray, centre: np.ndarray, is_member: np.ndarray) -> int:
    squares = np.sum((features - centre) ** 2, axis=1)
    return int(np.argmin(np.where(is_member, squares, np.inf)))
