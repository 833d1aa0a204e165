"""What the training of all learned operators has in common.

- `_augment.py`: Examples turned into others that are as true.
- `_called_like_a_model.py`: Functions of a field alone, called like models, with a
  grid.
- `_card.py`: The model card: what a trained model is, for someone who finds only its
  file.
- `_checkpoint.py`: Arrays with a description in one file, in the format safetensors.
- `_constraint.py`: What the predictions of a model are made to satisfy, in physical
  units.
- `_data.py`: Examples of a map of fields: inputs, and the outputs that belong to them.
- `_evaluate.py`: How good a surrogate is on examples that it was not trained on.
- `_fit.py`: Training on examples that are drawn as it goes on.
- `_frozen.py`: Numbers of a model that training leaves as they are.
- `_from_callable.py`: Any module or function of fields as a surrogate.
- `_from_dataset.py`: Examples from the data sets that `krylax.datasets.generate`
  publishes.
- `_from_trajectory.py`: Examples from the trajectories of flows that are kept in
  folders.
- `_grid.py`: Where the values of a field lie: coordinates, periods and quadrature
  weights.
- `_loop.py`: The loop of all trainings: steps in compiled chunks, validations, the best
  model.
- `_losses.py`: How far a predicted field is from the true one.
- `_normalizer.py`: Channels shifted and scaled to mean 0 and standard deviation 1.
- `_objective.py`: The loss of a batch of examples, and its gradient.
- `_optimizer.py`: Adam and AdamW with their schedules, and the mean of the weights over
  the steps.
- `_parameters.py`: How large a learned operator is.
- `_precision.py`: Models computed in a lower precision than their weights are kept in.
- `_registry.py`: Classes that files name: what makes an object of plain numbers, and
  back.
- `_run_folder.py`: The folder of a training: its state, the best model, and what was
  measured.
- `_settings.py`: How long to train, how fast, on what loss, and where the state is
  kept.
- `_state.py`: The state of a training in a file, and whether it is that of the same
  training.
- `_surrogate.py`: A trained model in physical units.
- `_surrogate_file.py`: Surrogates in files that describe themselves.
- `_train.py`: Training of a map of fields on examples.
"""

from ._card import card as card
from ._data import Data as Data
from ._data import blocks as blocks
from ._evaluate import evaluate as evaluate
from ._fit import Result as Result
from ._fit import fit as fit
from ._from_callable import from_callable as from_callable
from ._from_dataset import from_dataset as from_dataset
from ._from_trajectory import from_trajectory as from_trajectory
from ._frozen import Frozen as Frozen
from ._grid import Grid as Grid
from ._losses import h1 as h1
from ._losses import relative_l2 as relative_l2
from ._losses import vrmse as vrmse
from ._parameters import num_parameters as num_parameters
from ._registry import arguments_of as arguments_of
from ._registry import register as register
from ._settings import Settings as Settings
from ._surrogate import Surrogate as Surrogate
from ._surrogate_file import load as load
from ._surrogate_file import save as save
from ._train import train as train
