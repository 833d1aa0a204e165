"""Maps of functions to functions, learned from data.

- `_grid.py`: Where the values of a field lie: coordinates, periods and quadrature
  weights.
"""

from ..training import num_parameters as num_parameters
from ._grid import Grid as Grid
