"""How a data set is made: planned, ordered, solved in segments.

- `_configuration.py`: The configuration of a data set: what decides its bytes, and
  nothing else.
- `_draws.py`: The samples of a run, drawn for the solve order and kept for the solve.
- `_estimate.py`: What a data set will cost, before it is generated.
- `_failures.py`: What is said of samples that have no certified solution.
- `_generate.py`: `generate`: its arguments, checked, and what became of earlier calls.
- `_method_request.py`: What is asked of the method, and the method that comes of it.
- `_order.py`: The order in which systems are solved.
- `_place.py`: Whether a data set can be written where it is to be, looked at before any
  work.
- `_plan.py`: Chooses how a family is solved, by structure and by trying.
- `_progress.py`: Progress: a bar on a terminal, a line now and then in a log, or
  nothing.
- `_run.py`: A run: from a configuration to a published data set.
- `_same_run.py`: Whether a run in the same place is the same: another is refused with
  differences.
- `_shared_preconditioner.py`: One preconditioner for all systems of a family.
- `_shared_start.py`: One start for all systems of a family.
- `_sizes.py`: What a run needs at least, compared with what there is before anything is
  made.
- `_solve_method.py`: How a data set's systems are solved: one value.
- `_solve_segment.py`: Solves one segment.
- `_workers.py`: Runs segments here or in other processes.
"""

from ._estimate import Estimate as Estimate
from ._estimate import estimate as estimate
from ._failures import FailedSamplesWarning as FailedSamplesWarning
from ._generate import generate as generate
from ._plan import Plan as Plan
from ._plan import Trial as Trial
from ._plan import plan as plan
from ._shared_preconditioner import SharedPreconditioner as SharedPreconditioner
from ._shared_start import SharedStart as SharedStart
