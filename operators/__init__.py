"""Operators: maps from fields to fields, and the algebra of the linear ones.

- `_arguments.py`: What an argument has to be: numbers, counts, flags, sequences and
  random keys.
- `_arithmetic.py`: The arithmetic of fields: sums, multiples, products, and quotients
  that stay finite.
- `_banded.py`: Banded matrices stored by diagonals (DIA).
- `_block.py`: Matrices of operators.
- `_check.py`: Probing the tags of an operator: linearity, adjoint, symmetry,
  definiteness.
- `_declared.py`: The declared properties of an operator: its tags and its null space.
- `_dense.py`: Dense matrices.
- `_diagonal.py`: Diagonal operators: entry-wise multiplication of a field.
- `_diagonal_blocks.py`: Consecutive blocks along the diagonal of an operator's matrix.
- `_field.py`: Fields and their structures: what operators take and return.
- `_function.py`: Matrix-free linear operators from a function.
- `_hidden.py`: Traced arrays that a function within a pytree closes over: no leaf shows
  them.
- `_host_product.py`: Products that SciPy computes on the host, as an operator on JAX's
  vectors.
- `_identity.py`: The identity operator.
- `_inverse.py`: The inverse of an operator, by a solver.
- `_jacobian.py`: Jacobians of functions between fields, without their matrix.
- `_kronecker.py`: Kronecker products and sums of operators on vectors.
- `_line.py`: The factors of a separable operator: one square matrix per axis.
- `_lineax.py`: Operators from lineax and for lineax, an optional package imported on
  first use.
- `_lineax_operators.py`: The two classes behind `to_lineax` and `from_lineax`; the only
  ones to import lineax.
- `_lowered.py`: An operator with its 64-bit arrays, real or complex, cast to 32 bits.
- `_materialise.py`: A barrier between kernels that XLA would otherwise fuse.
- `_nullspace.py`: Declared null spaces of singular operators.
- `_operator.py`: Operators map fields to fields; linear operators form an algebra.
- `_scipy.py`: Operators from SciPy and for SciPy.
- `_separable.py`: The separable form of an operator: one matrix per axis, their sum or
  their product.
- `_sparse.py`: Sparse matrices (CSR), stored with the layout of their transpose.
- `_sparse_layout.py`: The storage of `Sparse`: rows padded to one length, the remainder
  by row (HYB).
- `_sparse_product.py`: The product of a sparse matrix and a vector as a JAX primitive.
- `_tags.py`: Tags: declared properties of a linear operator, and what they imply.
- `grids/`: Operators on grids: stencils, their boundaries, and what they have in
  common.
"""

from ._banded import Banded as Banded
from ._block import Block as Block
from ._check import check_operator as check_operator
from ._dense import Dense as Dense
from ._diagonal import Diagonal as Diagonal
from ._function import Function as Function
from ._identity import Identity as Identity
from ._inverse import Inverse as Inverse
from ._jacobian import Jacobian as Jacobian
from ._kronecker import Kronecker as Kronecker
from ._kronecker import KroneckerSum as KroneckerSum
from ._line import DenseLine as DenseLine
from ._line import UniformLine as UniformLine
from ._lineax import from_lineax as from_lineax
from ._lineax import to_lineax as to_lineax
from ._operator import AbstractLinearOperator as AbstractLinearOperator
from ._operator import AbstractOperator as AbstractOperator
from ._operator import Composition as Composition
from ._operator import Conjugate as Conjugate
from ._operator import Product as Product
from ._operator import Scaled as Scaled
from ._operator import Sum as Sum
from ._operator import Transpose as Transpose
from ._scipy import from_scipy as from_scipy
from ._scipy import to_scipy as to_scipy
from ._separable import Separable as Separable
from ._sparse import Sparse as Sparse
from .grids import CellType as CellType
from .grids import ConvectionDiffusion as ConvectionDiffusion
from .grids import Diffusion as Diffusion
from .grids import Helmholtz as Helmholtz
from .grids import Laplacian as Laplacian
from .grids import MaskedPoisson as MaskedPoisson
from .grids import Stencil as Stencil
