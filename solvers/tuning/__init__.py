"""Tuners that learn a solver's parameters, and the drivers that use them.

- `_tuner.py`: the interface of tuners, and what their `ask` and `tell` share
- `_tsallis_inf.py`, `_binned_tsallis.py`: bandits for adversarial costs
- `_gaussian_thompson.py`: Thompson sampling per arm
- `_cheb_cb.py`, `_joint_surrogate.py`: regressions on a context
- `_chebyshev_features.py`: the features of these regressions
- `_baselines.py`: tuners that do not learn
- `_method.py`, `_methods_for.py`: methods that tuners choose between
- `_tune_sequence.py`: the compiled driver, with a backstop
- `_young_feedback.py`: predictions for every relaxation factor of SOR
- `_auto_solver.py`: the choice of a method by measured time
- `_simulate.py`: tuners on tables of costs
- `_saving.py`: states on disk
"""

from ._auto_solver import AutoSolver as AutoSolver
from ._auto_solver import AutoState as AutoState
from ._auto_solver import Record as Record
from ._baselines import Fixed as Fixed
from ._baselines import Uniform as Uniform
from ._baselines import YoungOracle as YoungOracle
from ._binned_tsallis import BinnedTsallis as BinnedTsallis
from ._cheb_cb import ChebCB as ChebCB
from ._gaussian_thompson import GaussianThompson as GaussianThompson
from ._joint_surrogate import JointSurrogate as JointSurrogate
from ._method import Method as Method
from ._methods_for import methods_for as methods_for
from ._saving import load as load
from ._saving import save as save
from ._simulate import Trace as Trace
from ._simulate import best_fixed as best_fixed
from ._simulate import instance_optimal as instance_optimal
from ._simulate import simulate as simulate
from ._tsallis_inf import TsallisINF as TsallisINF
from ._tune_sequence import Backstop as Backstop
from ._tune_sequence import Tuned as Tuned
from ._tune_sequence import TuningState as TuningState
from ._tune_sequence import tune_sequence as tune_sequence
from ._tuner import AbstractTuner as AbstractTuner
from ._tuner import Choice as Choice
from ._young_feedback import YoungFeedback as YoungFeedback
