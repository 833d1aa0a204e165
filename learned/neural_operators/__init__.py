"""Maps of functions to functions, learned from data.

- `_anderson.py`: Anderson acceleration of v ← v₀ + f(v).
- `_axial_kernel.py`: The kernel of one axis in a factorised transformer.
- `_convolution.py`: Convolutions of three points per axis, and linear maps of the
  channels of a point.
- `_derivative.py`: First derivatives along the axes of a grid, as matrices.
- `_divergence_free.py`: The nearest velocity without divergence, by one separable
  solve.
- `_equilibrium.py`: Equilibria: the solution of v = v₀ + f(v), and its derivatives.
- `_factformer.py`: The factorised transformer: blocks of axial attention, one after the
  other.
- `_factformer_coarse.py`: Half the resolution for the blocks of a factorised
  transformer.
- `_factformer_ends.py`: What is before and behind the blocks of a factorised
  transformer.
- `_factformer_layout.py`: What decides the shape of a factorised transformer, and what
  it must fit into.
- `_factorised_block.py`: One block of a factorised transformer: values, mixed along the
  axes by kernels.
- `_fixed_point_equation.py`: The equation v = v₀ + f(v), and how far a field is from a
  solution.
- `_fno.py`: The Fourier neural operator.
- `_fno_ends.py`: What is before and behind the layers of a neural operator.
- `_gelu.py`: The activation of the neural operators, v Φ(v) with the normal
  distribution Φ.
- `_grid.py`: A field and the grid that it is on, as the models take them.
- `_ifactformer.py`: The implicit factorised transformer: one block of axial attention,
  iterated.
- `_ifno.py`: The implicit Fourier neural operator: one layer, iterated.
- `_implicit_step.py`: One step of the implicit Euler method, as a part of a neural
  operator.
- `_layers.py`: Linear maps and normalisation of the factorised transformers.
- `_newton_krylov.py`: Newton's method for v = v₀ + f(v), whose steps are found by
  GMRES.
- `_no_slip.py`: Velocities that vanish on walls: multiplied by a function of the
  distance to them.
- `_paper.py`: The published configurations of implicit factorised transformers, by
  name.
- `_projected_axes.py`: The axes of a projection: derivatives and weights as matrices,
  and eigenvectors.
- `_rollout.py`: Predictions from predictions: a map of states, iterated.
- `_spectral.py`: The spectral convolution: a linear map of each of the lowest Fourier
  modes.
- `_spectral_block.py`: The layer of Fourier neural operators: W v + b + K v.
- `_unet.py`: The U-Net: convolutions on a grid and on ones that are coarser and
  coarser.
- `_walls.py`: The walls of a grid, and the velocity among the channels of a field.
"""

from ..training import Grid as Grid
from ..training import num_parameters as num_parameters
from ._divergence_free import DivergenceFree as DivergenceFree
from ._equilibrium import Equilibrium as Equilibrium
from ._equilibrium import equilibrium as equilibrium
from ._factformer import FactFormer as FactFormer
from ._fno import FNO as FNO
from ._ifactformer import IFactFormer as IFactFormer
from ._ifno import IFNO as IFNO
from ._no_slip import NoSlip as NoSlip
from ._paper import from_paper as from_paper
from ._rollout import Rollout as Rollout
from ._rollout import rollout as rollout
from ._unet import UNet as UNet
