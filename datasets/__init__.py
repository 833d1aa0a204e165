"""Problem families and the generation of certified data sets from them.

- `_names.py`: Names that may become files: data sets, streams, arrays.
- `_optional.py`: Packages that only some users need, imported where they are used.
- `channel_flow/`: Turbulent flow in a channel: simulation, statistics, filtered fields.
- `families/`: Problem families: what is drawn, and the system of each sample.
- `generation/`: How a data set is made: planned, ordered, solved in segments.
- `periodic_flow/`: Flows in periodic boxes, by Fourier methods: data for neural
  operators.
- `store/`: How a data set is kept, published, read and checked.

Flows are loaded on first use, so that the command line starts without JAX.
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
from .store import Trajectory as Trajectory
from .store import Verification as Verification
from .store import describe as describe
from .store import open_dataset as open_dataset
from .store import open_trajectory as open_trajectory
from .store import preview as preview
from .store import summary as summary
from .store import verify as verify

if TYPE_CHECKING:
    from . import channel_flow as channel_flow
    from . import periodic_flow as periodic_flow

_FLOWS = ("channel_flow", "periodic_flow")


def __getattr__(name: str) -> Any:
    if name in _FLOWS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FLOWS])
