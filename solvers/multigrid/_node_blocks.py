"""Systems of equations: whether consecutive unknowns are the fields of one node.

Smoothed aggregation of such a matrix groups nodes, with a constant for each field.
"""

from typing import Any

import numpy as np
import scipy.sparse

SIZES = range(2, 7)

MIN_FILLED = 0.6
"""Of what blocks hold: 0.63 are nonzero in cubes of elasticity, and 0.5 of 2 × 2 blocks
of the five-, seven-, nine- and 27-point stencils of one field.
"""

MAX_COUPLING = 0.25
"""Of the fields of a node, as a part of the strongest one to other nodes: 0 to 0.1 for
elasticity, 0.9 to 1 for one field's elements of second order and bands.
"""

NUM_ROWS = 3000
"""Rows in the middle that are looked at, a multiple of all sizes."""


def num_fields(matrix: Any) -> int:
    """Return the number of fields of a node, 1 if none is found.

    Args:
        matrix: a SciPy CSR array without zeros among its stored numbers.
    """
    n = matrix.shape[0]
    sizes = [size for size in SIZES if n % size == 0]
    # Only whole nodes of each size.
    start = max(n - NUM_ROWS, 0) // 120 * 60
    end = min(start + NUM_ROWS, n)
    part = matrix[start:end]
    roots = np.sqrt(np.abs(matrix.diagonal()))
    rows, columns = part.tocoo().coords
    strengths = np.abs(part.data) / (roots[start + rows] * roots[columns])
    found = [
        size
        for size in sizes
        if _is_filled(part, size)
        and _coupling(start + rows, columns, strengths, size) <= MAX_COUPLING
    ]
    return max(found, default=1)


def _is_filled(part: Any, size: int) -> bool:
    blocks = scipy.sparse.bsr_array(part, blocksize=(size, size))
    return part.nnz >= MIN_FILLED * blocks.nnz


def _coupling(
    rows: np.ndarray, columns: np.ndarray, strengths: np.ndarray, size: int
) -> float:
    """The mean of a node's couplings over that of the strongest to other nodes."""
    first, num_rows = rows[0], rows[-1] - rows[0] + 1
    is_inside = rows // size == columns // size
    inside = np.sum(strengths[is_inside & (rows != columns)]) / (num_rows * (size - 1))
    strongest = np.zeros(num_rows)
    np.maximum.at(strongest, rows[~is_inside] - first, strengths[~is_inside])
    return float(inside / max(np.mean(strongest), np.finfo(float).tiny))
