"""Solvers around another solver.

- `_batched.py`: Batches that stop paying for finished systems: a queue of systems and a
  few lanes.
- `_capped.py`: A solver that is cut off after a number of steps which may be traced.
- `_refinement.py`: Iterative refinement: solve in low precision, measure in high.
"""

from ._batched import Batched as Batched
from ._capped import Capped as Capped
from ._refinement import Refinement as Refinement
