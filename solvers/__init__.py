"""Solvers, preconditioners, and the top-level solve."""

from . import sequences as sequences
from ._cg import CG as CG
from ._gcrodr import GCRODR as GCRODR
from ._gmres import GMRES as GMRES
from ._inner_product import InnerProduct as InnerProduct
from ._jacobi import Jacobi as Jacobi
from ._recycle_space import RecycleSpace as RecycleSpace
from ._solve import Solution as Solution
from ._solve import Statistics as Statistics
from ._solve import solve as solve
from ._solver import AbstractSolver as AbstractSolver
from ._solver import LinearSystem as LinearSystem
from ._solver import Outcome as Outcome
from ._status import SolveError as SolveError
from ._status import Status as Status
