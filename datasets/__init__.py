"""Problem families and the generation of certified data sets from them."""

from ._convection_diffusion import ConvectionDiffusion as ConvectionDiffusion
from ._cosine_kl import CosineKL as CosineKL
from ._darcy import Darcy as Darcy
from ._dataset import Dataset as Dataset
from ._dataset import open_dataset as open_dataset
from ._describe import describe as describe
from ._describe import summary as summary
from ._estimate import Estimate as Estimate
from ._estimate import estimate as estimate
from ._family import AbstractFamily as AbstractFamily
from ._generate import generate as generate
from ._heat import Heat as Heat
from ._helmholtz_scattering import HelmholtzScattering as HelmholtzScattering
from ._method import Plan as Plan
from ._method import Trial as Trial
from ._method import plan as plan
from ._poisson import Poisson as Poisson
from ._preview import preview as preview
from ._shared_preconditioner import SharedPreconditioner as SharedPreconditioner
from ._shared_start import SharedStart as SharedStart
from ._skr_released import SKRReleased as SKRReleased
from ._space import OutOfSpaceError as OutOfSpaceError
from ._thermal import Thermal as Thermal
from ._verify import Verification as Verification
from ._verify import verify as verify
