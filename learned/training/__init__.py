"""What the training of all learned operators has in common.

- `_checkpoint.py`: Arrays with a description in one file, in the format safetensors.
- `_fit.py`: The training loop: Adam, checkpoints, and the choice of the best model.
- `_parameters.py`: How large a learned operator is.
- `_settings.py`: How long to train, how fast, and where the state is kept.
"""

from ._fit import Result as Result
from ._fit import fit as fit
from ._parameters import num_parameters as num_parameters
from ._settings import Settings as Settings
