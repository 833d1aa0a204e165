"""2-opt: an order is shortened by reversing pieces of it.

G. A. Croes, A method for solving traveling-salesman problems, Oper. Res. 6 (1958),
doi:10.1287/opre.6.6.791.

Differs from the paper:
1. The path is open: a piece at an end may be reversed too.
2. Paths longer than `window` are treated window by window, with the neighbours of each
   window fixed, so that time grows linearly with the length and memory is bounded.
"""

import numpy as np
from jaxtyping import Float, Int

from ...operators._arguments import require_count
from ._feature_matrix import as_features, as_permutation, squared_distances


def two_opt(
    features: Float[np.ndarray, "systems features"],
    order: Int[np.ndarray, " systems"],
    *,
    window: int = 1000,
    max_sweeps: int = 20,
) -> Int[np.ndarray, " systems"]:
    """Return an order whose path is at most as long as that of the given one.

    Args:
        features: one row per system, finite.
        order: a permutation, such as `greedy_order` returns.
        window: number of systems that are rearranged together.
        max_sweeps: maximum number of passes over a window; it stops early when no
            reversal helps.

    Raises:
        ValueError: features that are not a finite matrix, an order that is not a
            permutation, a window below 3 or max_sweeps below 1.

    Cost: per pass N window operations for N systems, and window² numbers of memory.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import two_opt
        >>> features = np.array([[0.0], [2.0], [1.0], [3.0]])
        >>> two_opt(features, np.arange(4)).tolist()
        [0, 2, 1, 3]
    """
    features = as_features(features)
    order = as_permutation(order, len(features))
    require_count(window, "window", 3)
    require_count(max_sweeps, "max_sweeps")
    for start in range(0, len(order), window):
        # The neighbours on both sides are included and stay in place.
        piece = slice(max(start - 1, 0), start + window + 1)
        members = order[piece]
        distances = np.sqrt(
            np.maximum(squared_distances(features[members], features[members]), 0)
        )
        is_first, is_last = start == 0, start + window >= len(order)
        places = _shorten(distances, not is_first, not is_last, max_sweeps)
        order[piece] = members[places]
    return order


def _shorten(
    distances: Float[np.ndarray, "n n"],
    keeps_first: bool,
    keeps_last: bool,
    max_sweeps: int,
) -> Int[np.ndarray, " n"]:
    """For each first place, reverse the piece from there that saves most."""
    n = len(distances)
    path = np.arange(n)
    last = n - 1 - int(keeps_last)
    # Savings below this are rounding.
    least = 1e-12 * np.max(distances, initial=0.0)
    for _ in range(max_sweeps):
        has_changed = False
        for i in range(int(keeps_first), last):
            ends = np.arange(i + 1, last + 1)
            saved = np.zeros(len(ends))
            if i > 0:
                saved += distances[path[i - 1], path[i]]
                saved -= distances[path[i - 1], path[ends]]
            inner = ends[ends < n - 1]
            saved[: len(inner)] += distances[path[inner], path[inner + 1]]
            saved[: len(inner)] -= distances[path[i], path[inner + 1]]
            best = int(np.argmax(saved))
            if saved[best] > least:
                path[i : ends[best] + 1] = path[i : ends[best] + 1][::-1]
                has_changed = True
        if not has_changed:
            break
    return path
