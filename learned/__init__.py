"""Learned operators: preconditioners, Gaussian processes, neural operators.

Learned operators are operators like any other: a preconditioner is passed as
`solve(preconditioner=...)`, a prediction of the solution as `x0`.

- `conjugate_directions/`: The Deep Conjugate Direction Method, and a guarantee for any
  learned direction.
- `gaussian_process/`: Equations solved by Gaussian processes on tensor grids.
- `neural_operators/`: Maps of functions to functions, learned from data.
- `training/`: What the training of all learned operators has in common.
"""

from . import conjugate_directions as conjugate_directions
from . import gaussian_process as gaussian_process
from . import neural_operators as neural_operators
from . import training as training
