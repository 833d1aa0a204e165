"""Problem families: what is drawn, and the system of each sample.

- `_convection_diffusion.py`: Diffusion in a random incompressible flow.
- `_cosine_kl.py`: Gaussian random field by a cosine Karhunen-Loève expansion.
- `_darcy.py`: Darcy flow through a random medium.
- `_earlier.py`: Families as they were: what data sets of an earlier format mean.
- `_family.py`: What a problem family has to offer to become a data set.
- `_flow_scenes.py`: Scenes of incompressible flow: what is where at first.
- `_heat.py`: Implicit steps of heat conduction, the coefficient varying in time.
- `_helmholtz_scattering.py`: Waves in a medium of random refractive index.
- `_mac_flow.py`: Frames of incompressible flow on a staggered (MAC) grid.
- `_media.py`: Random media: where the parts of a medium lie, in the unit cube.
- `_noise.py`: White noise that belongs to a sample, not to a run or a resolution.
- `_periodic_field.py`: Gaussian random field with periodic boundaries, by a Fourier
  series.
- `_poisson.py`: Poisson's equation on the unit square with Chebyshev sources and walls.
- `_porous.py`: Poisson's equation in the pores of a random mask.
- `_pressure_projection.py`: The pressure systems of a flow, frame by frame.
- `_skr_released.py`: The systems of Sorting Krylov Recycling, as released.
- `_thermal.py`: Steady heat conduction in a slotted block, held at two temperatures.
"""

# Imported, so that data sets which name them can be read.
from . import _earlier as _earlier
from ._convection_diffusion import ConvectionDiffusion as ConvectionDiffusion
from ._cosine_kl import CosineKL as CosineKL
from ._darcy import Darcy as Darcy
from ._family import AbstractFamily as AbstractFamily
from ._flow_scenes import FlowSetting as FlowSetting
from ._flow_scenes import FlowState as FlowState
from ._heat import Heat as Heat
from ._helmholtz_scattering import HelmholtzScattering as HelmholtzScattering
from ._poisson import Poisson as Poisson
from ._porous import Porous as Porous
from ._pressure_projection import PressureProjection as PressureProjection
from ._skr_released import SKRReleased as SKRReleased
from ._thermal import Thermal as Thermal
