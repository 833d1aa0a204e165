"""Maps of functions to functions, learned from data.

- `_convolution.py`: Convolutions of three points per axis, and linear maps of the
  channels of a point.
- `_fno.py`: The Fourier neural operator.
- `_fno_ends.py`: What is before and behind the layers of a neural operator.
- `_grid.py`: Where the values of a field lie: coordinates, periods and quadrature
  weights.
- `_ifno.py`: The implicit Fourier neural operator: one layer, iterated.
- `_rollout.py`: Predictions from predictions: a map of states, iterated.
- `_spectral.py`: The spectral convolution: a linear map of each of the lowest Fourier
  modes.
- `_spectral_block.py`: The layer of Fourier neural operators: W v + b + K v.
- `_unet.py`: The U-Net: convolutions on a grid and on ones that are coarser and
  coarser.
"""

from ..training import num_parameters as num_parameters
from ._fno import FNO as FNO
from ._grid import Grid as Grid
from ._ifno import IFNO as IFNO
from ._rollout import Rollout as Rollout
from ._rollout import rollout as rollout
from ._unet import UNet as UNet
