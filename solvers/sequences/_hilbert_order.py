"""The order of a Hilbert curve through the space of features.

The index along the curve is computed bit by bit, in any number of dimensions:
J. Skilling, Programming the Hilbert curve, AIP Conf. Proc. 707 (2004),
doi:10.1063/1.1751381.
"""

import numpy as np
from jaxtyping import Float, Int

from ...operators._arguments import require_count
from ._feature_matrix import as_unit_features
from ._features import principal_components

_NUM_BITS = 10


def hilbert_order(
    features: Float[np.ndarray, "systems features"], *, num_axes: int = 6
) -> Int[np.ndarray, " systems"]:
    """Return a permutation that visits the systems along a Hilbert curve.

    Features are reduced to their principal components, along each of which the curve
    has 2¹⁰ steps. The systems matter to each other only through these axes, and the
    order may be cut anywhere.

    Args:
        features: one row per system, finite.
        num_axes: number of principal components, the dimensions of the curve, at least
            1.

    Raises:
        ValueError: features that are not a finite matrix, or num_axes below 1.

    Cost: N q min(N, q) operations for the components of N systems with q features, and
    N num_axes for the curve.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import hilbert_order
        >>> hilbert_order(np.array([[0.0], [5.0], [1.0], [4.0]])).tolist()
        [0, 2, 3, 1]
    """
    require_count(num_axes, "num_axes")
    features = as_unit_features(features)
    if features.size == 0:
        return np.arange(len(features))
    reduced = principal_components(features, min(num_axes, *features.shape))
    low, high = np.min(reduced, axis=0), np.max(reduced, axis=0)
    # One scale for all axes, so that distances mean the same along each of them.
    width = np.max(high - low, initial=0.0)
    steps = (2**_NUM_BITS - 1) * (reduced - low) / (width if width > 0 else 1.0)
    planes = hilbert_index(np.rint(steps).astype(np.int64), _NUM_BITS)
    return np.lexsort(planes[::-1])


def hilbert_index(
    points: Int[np.ndarray, "n axes"], num_bits: int
) -> Int[np.ndarray, "digits n"]:
    """Return the index along the curve in binary digits, the most significant first.

    Args:
        points: integers in [0, 2^num_bits).
        num_bits: an axis has 2^num_bits steps.
    """
    x = [points[:, axis].copy() for axis in range(points.shape[1])]
    # Undo the rotation of the curve in each cube, from the largest to the smallest.
    for bit in (1 << place for place in reversed(range(1, num_bits))):
        below = bit - 1
        for axis in range(len(x)):
            is_set = (x[axis] & bit) != 0
            swapped = np.where(is_set, 0, (x[0] ^ x[axis]) & below)
            x[0] ^= np.where(is_set, below, swapped)
            x[axis] ^= swapped
    # Gray code.
    for axis in range(1, len(x)):
        x[axis] ^= x[axis - 1]
    turned = np.zeros_like(x[0])
    for bit in (1 << place for place in reversed(range(1, num_bits))):
        turned ^= np.where((x[-1] & bit) != 0, bit - 1, 0)
    x = [values ^ turned for values in x]
    digits = [
        (values >> place) & 1 for place in reversed(range(num_bits)) for values in x
    ]
    return np.stack(digits)
