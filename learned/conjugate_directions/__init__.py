"""The Deep Conjugate Direction Method, and a guarantee for any learned direction.

- `_callable.py`: Any map of residuals as a preconditioner.
- `_errors.py`: Errors from which a direction of search is learned.
- `_losses.py`: What the training of a direction of search can make small.
- `_masked.py`: A preconditioner without geometry, kept to the cells that hold unknowns.
- `_network.py`: The convolutional network of the Deep Conjugate Direction Method.
- `_ritz.py`: The published training data of the Deep Conjugate Direction Method.
- `_safeguarded.py`: A learned direction of any quality, with CG beside it as a
  guarantee.
- `_train.py`: Training of a direction of search, on the errors that it leaves itself.
- `_weights.py`: Networks in files, and those that krylax ships.
"""

from ..training import num_parameters as num_parameters
from ._callable import from_callable as from_callable
from ._losses import contraction_loss as contraction_loss
from ._losses import residual_loss as residual_loss
from ._losses import unrolled_loss as unrolled_loss
from ._masked import Masked as Masked
from ._network import DeepConjugateDirection as DeepConjugateDirection
from ._ritz import ritz_residuals as ritz_residuals
from ._safeguarded import Safeguarded as Safeguarded
from ._train import train as train
from ._weights import available as available
from ._weights import load as load
from ._weights import save as save
