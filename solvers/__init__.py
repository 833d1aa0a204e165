"""Solvers, preconditioners, and the top-level solve.

- `_least_squares.py`: The front door of least squares: damping, the preconditioner,
  derivatives.
- `_lineax.py`: Our solvers for lineax, and through it for Optimistix and Diffrax.
- `_lineax_solver.py`: The class behind `as_lineax_solver`; the only one here to import
  lineax.
- `_registry.py`: Learned operators that a data set's record can name.
- `_requirements.py`: What `solve` asks of its arguments, as far as types and structures
  tell.
- `_solve.py`: The top-level solve: checks, differentiation by the implicit rule,
  certification.
- `core/`: What a solver is, and what all methods share.
- `factorization/`: Direct solvers and incomplete factors.
- `krylov/`: Methods of a Krylov space, one system at a time.
- `least_squares/`: Least squares: operators of any shape and rank.
- `multigrid/`: Multigrid: levels, the cycle over them, and two ways to make levels.
- `recycling/`: Krylov methods that hand a space from one solve to the next.
- `relaxation/`: Stationary methods, as solvers and as preconditioners.
- `sequences/`: Sequences of related systems: their order, and what one solve hands to
  the next.
- `sweeps/`: Triangular sweeps in several orders, exact or approximate.
- `tuning/`: Tuners that learn a solver's parameters, and the drivers that use them.
- `wrappers/`: Solvers around another solver.
"""

from . import sequences as sequences
from . import tuning as tuning
from ._lineax import as_lineax_solver as as_lineax_solver
from ._solve import solve as solve
from .core import AbstractSolver as AbstractSolver
from .core import InnerProduct as InnerProduct
from .core import LinearSystem as LinearSystem
from .core import Outcome as Outcome
from .core import ScaledStart as ScaledStart
from .core import Solution as Solution
from .core import SolveError as SolveError
from .core import Statistics as Statistics
from .core import Status as Status
from .factorization import LU as LU
from .factorization import Cholesky as Cholesky
from .factorization import FactoredInverse as FactoredInverse
from .factorization import FastDiagonalInverse as FastDiagonalInverse
from .factorization import FastDiagonalization as FastDiagonalization
from .factorization import IncompleteCholesky as IncompleteCholesky
from .factorization import IncompleteLU as IncompleteLU
from .factorization import Sylvester as Sylvester
from .factorization import SylvesterInverse as SylvesterInverse
from .krylov import CG as CG
from .krylov import FGMRES as FGMRES
from .krylov import GMRES as GMRES
from .krylov import MINRES as MINRES
from .krylov import BiCGStab as BiCGStab
from .krylov import Chebyshev as Chebyshev
from .krylov import FlexibleCG as FlexibleCG
from .krylov import spectral_bounds as spectral_bounds
from .least_squares import LSMR as LSMR
from .least_squares import QR as QR
from .least_squares import PseudoInverse as PseudoInverse
from .multigrid import AbstractLevel as AbstractLevel
from .multigrid import AbstractSmoother as AbstractSmoother
from .multigrid import AlgebraicMultigrid as AlgebraicMultigrid
from .multigrid import AlgebraicMultigridCycle as AlgebraicMultigridCycle
from .multigrid import Level as Level
from .multigrid import Multigrid as Multigrid
from .multigrid import MultigridCycle as MultigridCycle
from .recycling import GCRODR as GCRODR
from .recycling import DeflatedCG as DeflatedCG
from .recycling import DeflatedInverse as DeflatedInverse
from .recycling import Deflation as Deflation
from .recycling import RecycledMINRES as RecycledMINRES
from .recycling import RecycleSpace as RecycleSpace
from .relaxation import SOR as SOR
from .relaxation import SSOR as SSOR
from .relaxation import AdaptiveSOR as AdaptiveSOR
from .relaxation import BlockDiagonal as BlockDiagonal
from .relaxation import BlockJacobi as BlockJacobi
from .relaxation import ChebyshevPolynomial as ChebyshevPolynomial
from .relaxation import Jacobi as Jacobi
from .relaxation import PolynomialInverse as PolynomialInverse
from .relaxation import jacobi_radius_of as jacobi_radius_of
from .relaxation import optimal_omega as optimal_omega
from .relaxation import sor_radius as sor_radius
from .relaxation import sor_steps_bound as sor_steps_bound
from .sweeps import AbstractOrder as AbstractOrder
from .sweeps import Multicolour as Multicolour
from .sweeps import Natural as Natural
from .sweeps import Neumann as Neumann
from .sweeps import SweptInverse as SweptInverse
from .wrappers import Batched as Batched
from .wrappers import Capped as Capped
from .wrappers import Refinement as Refinement
