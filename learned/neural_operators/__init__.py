"""Maps of functions to functions, learned from data.

- `_axial_kernel.py`: The kernel of one axis in a factorised transformer.
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
- `_grid.py`: Where the values of a field lie: coordinates, periods and quadrature
  weights.
- `_ifactformer.py`: The implicit factorised transformer: one block of axial attention,
  iterated.
- `_layers.py`: Linear maps, normalisation and activations of the factorised
  transformers.
- `_paper.py`: The published configurations of implicit factorised transformers, by
  name.
"""

from ..training import num_parameters as num_parameters
from ._factformer import FactFormer as FactFormer
from ._grid import Grid as Grid
from ._ifactformer import IFactFormer as IFactFormer
from ._paper import from_paper as from_paper
