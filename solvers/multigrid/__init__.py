"""Multigrid: levels, the cycle over them, and two ways to make levels.

- `_algebraic_multigrid.py`: Algebraic multigrid for sparse matrices: PyAMG's hierarchy,
  its cycle in JAX.
- `_coarse_inverse.py`: The dense inverse of the coarsest level of multigrid.
- `_conductances.py`: A network of conductances, and its coarsening by pairs of cells.
- `_cycle.py`: The multigrid cycle, over levels of any kind.
- `_flow_levels.py`: The levels of multigrid for convection and diffusion: any stencil
  on a grid.
- `_grid_level.py`: A grid as a level of multigrid: pairs of cells along each axis
  merge.
- `_hierarchy.py`: The levels of geometric multigrid, from an operator on a grid.
- `_jacobi_sweeps.py`: Jacobi sweeps with the steps of a Chebyshev polynomial, the
  smoother of multigrid.
- `_level.py`: A level of a multigrid cycle: its operator, smoother, and transfers to
  the next.
- `_multigrid.py`: Geometric multigrid for elliptic operators on a grid, as a
  preconditioner.
"""

from ._algebraic_multigrid import AlgebraicMultigrid as AlgebraicMultigrid
from ._algebraic_multigrid import AlgebraicMultigridCycle as AlgebraicMultigridCycle
from ._cycle import MultigridCycle as MultigridCycle
from ._level import AbstractLevel as AbstractLevel
from ._level import AbstractSmoother as AbstractSmoother
from ._level import Level as Level
from ._multigrid import Multigrid as Multigrid
