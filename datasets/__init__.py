"""Problem families and the generation of certified data sets from them.

- `_names.py`: Names that may become files: data sets, streams, arrays.
- `_optional.py`: Packages that only some users need, imported where they are used.
- `channel_flow/`: Turbulent flow in a channel: simulation, statistics, filtered fields.
- `families/`: Problem families: what is drawn, and the system of each sample.
- `generation/`: How a data set is made: planned, ordered, solved in segments.
- `store/`: How a data set is kept, published, read and checked.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .families import AbstractFamily as AbstractFamily
from .families import ConvectionDiffusion as ConvectionDiffusion
from .families import CosineKL as CosineKL
from .families import Darcy as Darcy
from .families import FlowSetting as FlowSetting
from .families import FlowState as FlowState
from .families import Heat as Heat
from .families import HelmholtzScattering as HelmholtzScattering
from .families import Poisson as Poisson
from .families import Porous as Porous
from .families import PressureProjection as PressureProjection
from .families import SKRReleased as SKRReleased
from .families import Thermal as Thermal
from .generation import Estimate as Estimate
from .generation import FailedSamplesWarning as FailedSamplesWarning
from .generation import Plan as Plan
from .generation import SharedPreconditioner as SharedPreconditioner
from .generation import SharedStart as SharedStart
from .generation import Trial as Trial
from .generation import estimate as estimate
from .generation import generate as generate
from .generation import plan as plan
from .store import Dataset as Dataset
from .store import OutOfSpaceError as OutOfSpaceError
from .store import Verification as Verification
from .store import describe as describe
from .store import open_dataset as open_dataset
from .store import preview as preview
from .store import summary as summary
from .store import verify as verify

if TYPE_CHECKING:
    from . import channel_flow as channel_flow


def __getattr__(name: str) -> Any:
    # Loaded on first use: it needs JAX, which the command's help does without.
    if name == "channel_flow":
        return import_module(f"{__name__}.channel_flow")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
