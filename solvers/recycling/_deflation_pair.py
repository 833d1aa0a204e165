"""The pair that deflates MINRES: A U = C with CᴴM⁻¹C = I.

C is orthonormal in the M⁻¹ inner product, in which P = I - C CᴴM⁻¹ is orthogonal. Of a
space that another system left, the pair is made by k products and k calls of M⁻¹.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact, Int

from ...operators._arithmetic import (
    add,
    all_finite,
    combine,
    recombine,
    select,
    subtract,
    zeros_like,
)
from ...operators._control_flow import cond
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._nullspace import complement_of
from ..core._solver import LinearSystem
from ._recycle_space import RecycleSpace, orthonormalise_images, whitening


class DeflationPair(eqx.Module):
    """A U = C with CᴴM⁻¹C = I; vectors beyond `num_vectors` are zero.

    Attributes:
        U: k fields.
        C: A U.
        Y: M U, `None` without a preconditioner.
        D: M⁻¹C, likewise.
        num_vectors: how many of the k count.
    """

    U: Field
    C: Field
    Y: Field | None
    D: Field | None
    num_vectors: Int[Array, ""]

    @property
    def MU(self) -> Field:
        """M U."""
        return self.U if self.Y is None else self.Y

    @property
    def dual(self) -> Field:
        """M⁻¹C."""
        return self.C if self.D is None else self.D

    def project(
        self, y: Field, inner_product: InnerProduct
    ) -> tuple[Field, Inexact[Array, " k"]]:
        """Return (I - C CᴴM⁻¹) y, and the coefficients of what was taken away."""
        along = inner_product.block_dot(self.dual, y)
        return subtract(y, combine(along, self.C)), along

    def project_direction(
        self, e: Field, Ae: Field, inner_product: InnerProduct
    ) -> Field:
        """Return (I - U CᴴM⁻¹A) e, given A e."""
        along = inner_product.block_dot(self.dual, Ae)
        return subtract(e, combine(along, self.U))

    def deflate(
        self,
        x: Field,
        r: Field,
        is_met: Bool[Array, ""],
        inner_product: InnerProduct,
    ) -> tuple[Field, Field]:
        """Return x and r after the residual is minimised over U, unless it is met."""
        # Twice, to remove what rounding leaves.
        for _ in range(2):
            along = inner_product.block_dot(self.dual, r)
            along = jnp.where(is_met, 0, along)
            x = add(x, combine(along, self.U))
            r = subtract(r, combine(along, self.C))
        return x, r

    def as_space(self, inner_product: InnerProduct) -> RecycleSpace:
        """Return the space as it is handed on, where CᴴC = I."""
        space = RecycleSpace(self.U, self.C, self.MU, self.num_vectors)
        return orthonormalise_images(space, space.C, inner_product)


def renew(
    system: LinearSystem, carry: RecycleSpace, inner_product: InnerProduct
) -> DeflationPair:
    """Return the pair of a carried space for this operator and preconditioner."""
    zero = zeros_like(carry.U)
    dual = None if system.preconditioner is None else zero
    empty = DeflationPair(zero, zero, dual, dual, jnp.zeros((), jnp.int32))

    def renewed() -> DeflationPair:
        pair = _pair_of(system, carry, inner_product)
        # Of input that is not finite nothing may reach x.
        return select(all_finite(pair), pair, empty)

    return cond(carry.num_vectors > 0, renewed, lambda: empty)


def _pair_of(
    system: LinearSystem, carry: RecycleSpace, inner_product: InnerProduct
) -> DeflationPair:
    A, M = system.operator, system.preconditioner
    # Null vectors that rounding adds would look most worth keeping.
    U = complement_of(A, inner_product).project_rows(carry.U)
    Y = U if M is None else carry.Y
    space = RecycleSpace(U, U, Y, carry.num_vectors)
    space = orthonormalise_images(space, A.mm(U), inner_product)
    if M is None:
        return DeflationPair(space.U, space.C, None, None, space.num_vectors)
    return _orthonormalise(space, jax.vmap(M)(space.C), inner_product)


def _orthonormalise(
    space: RecycleSpace, D: Field, inner_product: InnerProduct
) -> DeflationPair:
    """The pair with CᴴM⁻¹C = I, of a space and D = M⁻¹C."""
    U, C, Y, num_vectors = space.U, space.C, space.Y, space.num_vectors
    # Once leaves rounding, as much as M is ill-conditioned on C.
    for _ in range(2):
        T, num_vectors = whitening(inner_product.gram(C, D))
        U, C, Y, D = (recombine(T, rows) for rows in (U, C, Y, D))
    return DeflationPair(U, C, Y, D, num_vectors)
