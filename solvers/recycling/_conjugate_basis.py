"""A basis of a given space that is orthonormal in the inner product of A.

For hermitian positive definite A and a block U of k vectors, W spans what U spans and
WᴴAW = I. With Z = A W, the A-orthogonal projector onto that space is W Zᴴ, and Q =
W Wᴴ = U (UᴴAU)⁻¹ Uᴴ. Blocks of vectors are stacked along the first axis.
"""

import equinox as eqx
from jaxtyping import Array, Inexact, Int

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import combine, matmul, recombine, subtract
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ._recycle_space import whitening


class ConjugateBasis(eqx.Module):
    """W and Z = A W with WᴴZ = I; vectors beyond `num_vectors` are zero."""

    W: Field
    Z: Field
    num_vectors: Int[Array, ""]

    def project_residual(self, r: Field, inner_product: InnerProduct) -> Field:
        """Return (I - Z Wᴴ) r, which is orthogonal to W."""
        return subtract(r, combine(inner_product.block_dot(self.W, r), self.Z))

    def project_direction(self, p: Field, inner_product: InnerProduct) -> Field:
        """Return (I - W Zᴴ) p, which is A-orthogonal to W."""
        return subtract(p, combine(inner_product.block_dot(self.Z, p), self.W))


def conjugate_basis(
    A: AbstractLinearOperator, U: Field, inner_product: InnerProduct
) -> tuple[ConjugateBasis, Inexact[Array, "k k"]]:
    """Return the basis of the span of U, by k products, and T with W = U T.

    Dependent vectors, and those along which A is not positive, are dropped.
    """
    W, Z = U, A.mm(U)
    first, _ = whitening(inner_product.gram(W, Z))
    W, Z = recombine(first, W), recombine(first, Z)
    # Of vectors that are nearly dependent once leaves too much rounding.
    second, num_vectors = whitening(inner_product.gram(W, Z))
    W, Z = recombine(second, W), recombine(second, Z)
    return ConjugateBasis(W, Z, num_vectors), matmul(first, second)
