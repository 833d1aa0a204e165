"""The Deep Conjugate Direction Method, and a guarantee for any learned direction.

- `_callable.py`: Any map of residuals as a preconditioner.
- `_masked.py`: A preconditioner without geometry, kept to the cells that hold unknowns.
- `_network.py`: The convolutional network of the Deep Conjugate Direction Method.
- `_safeguarded.py`: A learned direction of any quality, with CG beside it as a
  guarantee.
"""

from ._callable import from_callable as from_callable
from ._masked import Masked as Masked
from ._network import DeepConjugateDirection as DeepConjugateDirection
from ._network import num_parameters as num_parameters
from ._safeguarded import Safeguarded as Safeguarded
