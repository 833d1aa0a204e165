"""What a solver is, and what all methods share.

- `_arguments.py`: What is handed to a solver or a wrapper has to be what its name says.
- `_compilation.py`: Compiling functions of modules: arrays are traced, everything else
  is static.
- `_corrections.py`: A least-squares problem, corrected until its residuals meet the
  tolerance.
- `_history.py`: A bounded record of residual norms inside a compiled loop.
- `_inner_product.py`: The one place where a solver reduces fields to numbers.
- `_lanes.py`: Loops that `jax.vmap` turns into lanes, without a copy of all that they
  carry.
- `_least_squares.py`: What a least-squares problem is, and a solver of it: what it gets
  and returns.
- `_nullspace.py`: Singular systems: what is orthogonal to the null space of the
  operator.
- `_preparation.py`: A system as its solver gets it: finite, compatible, measured, with
  a start.
- `_raising.py`: Raising where a solve has failed, outside of `jit` and inside of it.
- `_recurrence.py`: What methods of short recurrences share: the loop around the step.
- `_residual.py`: The true residual, from which every solver goes on and every result is
  certified.
- `_scaled_start.py`: A start of the best length, for what knows the shape of a
  solution and not its size.
- `_solution.py`: What a solve returns: the solution, how it ended, and what was done.
- `_solver.py`: What a solver is, what it gets and what it returns.
- `_status.py`: How a solve ended: one enum for all solvers, each member a sentence.
- `_stopping.py`: The one stopping test, and the checks of tolerances.
- `_wrapper.py`: A solver around another one: what it does not change is the other's.
"""

from ._inner_product import InnerProduct as InnerProduct
from ._scaled_start import ScaledStart as ScaledStart
from ._solution import Solution as Solution
from ._solution import Statistics as Statistics
from ._solver import AbstractSolver as AbstractSolver
from ._solver import LinearSystem as LinearSystem
from ._solver import Outcome as Outcome
from ._status import SolveError as SolveError
from ._status import Status as Status
