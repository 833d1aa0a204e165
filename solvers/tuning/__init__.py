"""Tuners that learn a solver's parameters, and the drivers that use them."""

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
