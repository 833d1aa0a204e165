"""Stationary methods, as solvers and as preconditioners.

- `_adaptive_sor.py`: SOR that finds its relaxation factor during the solve.
- `_block_jacobi.py`: The block Jacobi preconditioner: the inverses of blocks along the
  diagonal.
- `_chebyshev_polynomial.py`: The Chebyshev polynomial preconditioner, in the diagonally
  scaled operator.
- `_jacobi.py`: The Jacobi preconditioner: division by the diagonal.
- `_omega.py`: The relaxation factor ω as a number that may be traced.
- `_relaxation.py`: The splitting that SOR methods share, and its step.
- `_sor.py`: Successive overrelaxation as a solver.
- `_ssor.py`: The SSOR preconditioner: a forward and a backward sweep of overrelaxation.
- `_young.py`: What theory says of successive overrelaxation.
"""

from ._adaptive_sor import AdaptiveSOR as AdaptiveSOR
from ._block_jacobi import BlockDiagonal as BlockDiagonal
from ._block_jacobi import BlockJacobi as BlockJacobi
from ._chebyshev_polynomial import ChebyshevPolynomial as ChebyshevPolynomial
from ._chebyshev_polynomial import PolynomialInverse as PolynomialInverse
from ._jacobi import Jacobi as Jacobi
from ._sor import SOR as SOR
from ._ssor import SSOR as SSOR
from ._young import jacobi_radius_of as jacobi_radius_of
from ._young import optimal_omega as optimal_omega
from ._young import sor_radius as sor_radius
from ._young import sor_steps_bound as sor_steps_bound
