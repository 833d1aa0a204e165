"""Multigrid: levels, the cycle over them, and three ways to make levels.

- `_algebraic_multigrid.py`: levels of a sparse matrix, from a hierarchy on the host.
- `_coarse_inverse.py`: the dense inverse on the coarsest grid.
- `_conductances.py`: a network of conductances, and its coarsening by pairs of cells.
- `_couplings.py`: a symmetric stencil as conductances and row sums.
- `_cycle.py`: the cycle, over levels of any kind.
- `_dense_inverse.py`: the dense inverse of the last level of a sparse matrix.
- `_flow_levels.py`: the grids of convection and diffusion, from any stencil.
- `_grid_level.py`: a grid as a level.
- `_halved_grid.py`: a grid of which every second plane is kept, and the coarse one.
- `_halving.py`: a level made: the planes between, their inverse, the weights.
- `_hierarchy.py`: from an operator on a grid to ever coarser grids.
- `_jacobi_sweeps.py`: the smoother of all levels but those by lines.
- `_level.py`: what a level and a smoother are, and a level made of operators.
- `_line_hierarchy.py`: from a symmetric stencil to grids halved axis by axis.
- `_line_level.py`: a halved grid as a level, and its smoother.
- `_lines.py`: tridiagonal systems along an axis.
- `_looped_cycle.py`: the cycle over grids in fields of one shape, by one loop.
- `_multigrid.py`: levels of an elliptic operator on a grid.
- `_node_blocks.py`: whether a sparse matrix couples several fields of each node.
- `_planes.py`: planes kept and left out by turns.
- `_pyamg_hierarchy.py`: the hierarchy, by smoothed aggregation or by PyAMG.
- `_small_grids.py`: the small grids of a hierarchy, in one loop.
- `_smoothed_aggregation.py`: the hierarchy of a hermitian matrix.
- `_spectral_radius.py`: bounds of the spectrum that smoothers rest on.
- `_suited_coarsening.py`: which coarsening suits an operator.
- `_unlinked_cells.py`: cells without a link, solved by themselves.
"""

from ._algebraic_multigrid import AlgebraicMultigrid as AlgebraicMultigrid
from ._algebraic_multigrid import AlgebraicMultigridCycle as AlgebraicMultigridCycle
from ._cycle import MultigridCycle as MultigridCycle
from ._level import AbstractLevel as AbstractLevel
from ._level import AbstractSmoother as AbstractSmoother
from ._level import Level as Level
from ._multigrid import Multigrid as Multigrid
