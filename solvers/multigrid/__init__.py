"""Multigrid: levels, the cycle over them, and two ways to make levels.

- `_algebraic_multigrid.py`: Algebraic multigrid for sparse matrices: PyAMG's hierarchy,
  its cycle in JAX.
- `_coarse_inverse.py`: The dense inverse of the coarsest level of multigrid.
- `_conductances.py`: A network of conductances, and its coarsening by pairs of cells.
- `_flow_levels.py`: The levels of multigrid for convection and diffusion: any stencil
  on a grid.
- `_hierarchy.py`: The levels of multigrid: from an operator on a grid to ever coarser
  ones.
- `_level.py`: A grid of a multigrid hierarchy, with the ways from and to the next one.
- `_multigrid.py`: Geometric multigrid for elliptic operators on a grid, as a
  preconditioner.
"""

from ._algebraic_multigrid import AlgebraicMultigrid as AlgebraicMultigrid
from ._algebraic_multigrid import AlgebraicMultigridCycle as AlgebraicMultigridCycle
from ._multigrid import Multigrid as Multigrid
from ._multigrid import MultigridCycle as MultigridCycle
