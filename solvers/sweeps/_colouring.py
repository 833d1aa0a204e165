"""Greedy colouring of the rows of a matrix: coupled rows have different colours.

Taken one after the other, each row gets the first colour that none of its neighbours
has (D. J. A. Welsh, M. B. Powell, An upper bound for the chromatic number of a graph,
Comput. J. 10, 1967, doi:10.1093/comjnl/10.1.85): on a grid numbered row-major these are
red and black.
"""

import numpy as np


def greedy_colours(rows: np.ndarray, columns: np.ndarray, num_rows: int) -> np.ndarray:
    """Return the colour of every row, from 0, for a pattern that may be unsymmetric."""
    is_coupling = rows != columns
    i = np.concatenate([rows[is_coupling], columns[is_coupling]])
    j = np.concatenate([columns[is_coupling], rows[is_coupling]])
    neighbours = j[np.argsort(i, kind="stable")].tolist()
    ends = np.cumsum(np.bincount(i, minlength=num_rows)).tolist()
    colours, first = [-1] * num_rows, 0
    for row, end in enumerate(ends):
        taken = {colours[n] for n in neighbours[first:end]}
        colour = 0
        while colour in taken:
            colour += 1
        colours[row], first = colour, end
    return np.array(colours)
