"""Operators on grids: stencils, their boundaries, and what they have in common.

- `_boundary.py`: Boundary conditions and spacings.
- `_convection_diffusion.py`: Convection and diffusion, by conservative finite volumes.
- `_diffusion.py`: The diffusion operator with a variable coefficient.
- `_helmholtz.py`: The Helmholtz operator with variable coefficients, by finite volumes.
- `_laplacian.py`: The constant-coefficient Laplacian on a grid of nodes.
- `_masked_poisson.py`: The pressure equation of a fluid on a grid with solid and air
  cells.
- `_mean_lines.py`: The separable operator near a network: conductances averaged over
  the other axes.
- `_network.py`: A grid of cells joined by conductances.
- `_offsets.py`: Offsets of a stencil: -1, 0 or 1 along each axis, and the cells that
  they lead to.
- `_shift.py`: Shifts of a grid field by one cell, which every stencil is made of.
- `_stencil.py`: The couplings of the cells of a grid by offset, symmetric or not.
- `_stencil_operator.py`: A stencil as an operator.
- `_triangles.py`: The two triangles of a stencil along the axes of a grid.
"""

from ._convection_diffusion import ConvectionDiffusion as ConvectionDiffusion
from ._diffusion import Diffusion as Diffusion
from ._helmholtz import Helmholtz as Helmholtz
from ._laplacian import Laplacian as Laplacian
from ._masked_poisson import CellType as CellType
from ._masked_poisson import MaskedPoisson as MaskedPoisson
from ._stencil import Stencil as Stencil
