"""Direct solvers and incomplete factors.

- `_cholesky.py`: Cholesky factorisation of a hermitian positive definite operator, A =
  L Lᴴ.
- `_direct.py`: What direct solvers share: factor once, refine.
- `_factored.py`: The inverse of an operator by factors of its dense matrix, as an
  operator.
- `_fast_diagonalization.py`: Separable systems by products with eigenvector matrices.
- `_incomplete_cholesky.py`: The incomplete Cholesky factorisation without fill, IC(0).
- `_incomplete_factor.py`: Incomplete factors of sparse matrices: their pattern, and
  their numbers.
- `_incomplete_inverse.py`: Making incomplete factors, and finding a shift.
- `_incomplete_lu.py`: The incomplete LU factorisation without fill, ILU(0).
- `_lu.py`: LU factorisation with partial pivoting of a general square operator, P A = L
  U.
- `_masses.py`: Masses reduced to identities: a generalised separable form as a standard
  one.
- `_sylvester.py`: Separable systems that are not hermitian, by the Schur forms of their
  lines.
- `_triangular_form.py`: Separable systems with upper triangular lines, by back
  substitution.
"""

from ._cholesky import Cholesky as Cholesky
from ._factored import FactoredInverse as FactoredInverse
from ._fast_diagonalization import FastDiagonalInverse as FastDiagonalInverse
from ._fast_diagonalization import FastDiagonalization as FastDiagonalization
from ._incomplete_cholesky import IncompleteCholesky as IncompleteCholesky
from ._incomplete_lu import IncompleteLU as IncompleteLU
from ._lu import LU as LU
from ._sylvester import Sylvester as Sylvester
from ._sylvester import SylvesterInverse as SylvesterInverse
