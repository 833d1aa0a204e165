"""Operators: maps from fields to fields, and the algebra of the linear ones."""

from ._banded import Banded as Banded
from ._block import Block as Block
from ._check import check_operator as check_operator
from ._convection_diffusion import ConvectionDiffusion as ConvectionDiffusion
from ._dense import Dense as Dense
from ._diagonal import Diagonal as Diagonal
from ._diffusion import Diffusion as Diffusion
from ._function import Function as Function
from ._helmholtz import Helmholtz as Helmholtz
from ._identity import Identity as Identity
from ._jacobian import Jacobian as Jacobian
from ._kronecker import Kronecker as Kronecker
from ._kronecker import KroneckerSum as KroneckerSum
from ._laplacian import Laplacian as Laplacian
from ._masked_poisson import CellType as CellType
from ._masked_poisson import MaskedPoisson as MaskedPoisson
from ._operator import AbstractLinearOperator as AbstractLinearOperator
from ._operator import AbstractOperator as AbstractOperator
from ._operator import Composition as Composition
from ._operator import Conjugate as Conjugate
from ._operator import Product as Product
from ._operator import Scaled as Scaled
from ._operator import Sum as Sum
from ._operator import Transpose as Transpose
from ._sparse import Sparse as Sparse
