"""Equations solved by Gaussian processes on tensor grids.

- `_basis.py`: The square root of a kernel on the points of one axis, and its
  derivatives.
- `_checks.py`: What can be wrong with an equation's conditions, before and after.
- `_collocation.py`: The equation on a tensor grid: its residual in the unknowns z, and
  its Jacobian.
- `_conditions.py`: Conditions on the faces of a box.
- `_evidence.py`: The kernel of an axis, learned by the evidence of a linear equation.
- `_gauss_newton.py`: Gauss-Newton steps for the unknowns of a collocation.
- `_implicit_derivative.py`: Derivatives of a solution, by the implicit function
  theorem.
- `_infer_parameters.py`: Parameters of an equation from observations, with error bars.
- `_joint.py`: The published training: values on the grid and kernels at once, by Adam.
- `_joint_objective.py`: The published objective, of values on the grid and kernels at
  once.
- `_kernels.py`: Stationary kernels of one axis, given by their spectral density.
- `_lift.py`: A function that meets all conditions of a box, which the process is added
  to.
- `_mean_equation.py`: The projected equation with the mean of each coefficient.
- `_measurements.py`: Linear functionals of a field that are known up to an error.
- `_pde.py`: A partial differential equation on a box, as a function of u and its
  derivatives.
- `_posterior.py`: The posterior of the unknowns around a solution.
- `_search.py`: Looking for the frequencies of a solution, and for a grid.
- `_slab_equation.py`: The equation of one slab of time, and what it hands to the next.
- `_slab_posterior.py`: How errors go from slab to slab.
- `_slab_solution.py`: The solution in slabs of time.
- `_slabs.py`: Long times, solved slab by slab.
- `_solution.py`: The solution of an equation, anywhere in its domain.
- `_solve_pde.py`: Solving an equation: what is chosen from its data, and what is then
  computed.
- `_solve_spectrum.py`: Solving with a given spectrum: nothing is chosen from data.
- `_spectrum.py`: Where the frequencies of a solution are: peaks of a periodogram.
- `_system.py`: The least-squares problem of a collocation: its rows, and how sure each
  is.
- `_toeplitz.py`: Symmetric Toeplitz matrices, which kernels are on uniform points.
"""

from ._conditions import Dirichlet as Dirichlet
from ._conditions import Initial as Initial
from ._conditions import Neumann as Neumann
from ._conditions import Observations as Observations
from ._conditions import Periodic as Periodic
from ._infer_parameters import ParameterPosterior as ParameterPosterior
from ._infer_parameters import infer_parameters as infer_parameters
from ._kernels import AbstractKernel as AbstractKernel
from ._kernels import SpectralMixture as SpectralMixture
from ._pde import PDE as PDE
from ._slab_solution import SlabSolution as SlabSolution
from ._solution import PDESolution as PDESolution
from ._solution import Report as Report
from ._solution import Spectrum as Spectrum
from ._solve_pde import solve_pde as solve_pde
