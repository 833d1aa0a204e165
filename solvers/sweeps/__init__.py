"""Triangular sweeps in several orders, exact or approximate.

- `_colour_sweeps.py`: Sweeps over a grid, one colour of cells after another.
- `_colouring.py`: Colours for the rows of a matrix such that coupled rows differ.
- `_grid_sweeps.py`: Sweeps over the matrix of a stencil, as sweeps over its grid.
- `_level_schedule.py`: An order of computations in which none waits for itself.
- `_level_sweeps.py`: Triangular sweeps over a sparse matrix, exactly, level after
  level.
- `_series_sweeps.py`: Sweeps by truncated Neumann series: products with the triangles,
  nothing waits.
- `_sweep_orders.py`: Orders in which the triangular sweeps of SOR and SSOR visit the
  unknowns.
- `_sweeps.py`: What the triangular sweeps of SOR, SSOR and incomplete factors have in
  common.
- `_swept_inverse.py`: A forward and a backward sweep as one operator: SSOR, and
  incomplete factors.
- `_wavefront.py`: Sweeps in natural order over a grid, one wavefront after another.
"""

from ._sweep_orders import AbstractOrder as AbstractOrder
from ._sweep_orders import Multicolour as Multicolour
from ._sweep_orders import Natural as Natural
from ._sweep_orders import Neumann as Neumann
from ._swept_inverse import SweptInverse as SweptInverse
