"""Methods of a Krylov space, one system at a time.

- `_arnoldi.py`: One Arnoldi step, and the least-squares problem that grows with it.
- `_arnoldi_cycle.py`: A cycle of a restarted Arnoldi method: GMRES, FGMRES, GCRO-DR.
- `_bicgstab.py`: The stabilised biconjugate gradient method, preconditioned from the
  right.
- `_cg.py`: The conjugate gradient method, preconditioned.
- `_beside_cg.py`: Flexible CG and CG beside it: no more steps than either of them.
- `_chebyshev.py`: The Chebyshev semi-iteration, preconditioned.
- `_chronopoulos_gear.py`: The recurrence of CG whose inner products are all one
  reduction.
- `_flexible_cg.py`: The flexible conjugate gradient method, whose preconditioner may
  change.
- `_gmres.py`: Restarted GMRES, and FGMRES with a variable preconditioner.
- `_lanczos.py`: The Lanczos recurrence of a hermitian A with a hermitian definite
  preconditioner.
- `_minres.py`: The minimal residual method, preconditioned.
- `_spectral_bounds.py`: Estimates of the extreme eigenvalues, by a few Lanczos steps.
"""

from ._bicgstab import BiCGStab as BiCGStab
from ._cg import CG as CG
from ._chebyshev import Chebyshev as Chebyshev
from ._flexible_cg import FlexibleCG as FlexibleCG
from ._gmres import FGMRES as FGMRES
from ._gmres import GMRES as GMRES
from ._minres import MINRES as MINRES
from ._spectral_bounds import spectral_bounds as spectral_bounds
