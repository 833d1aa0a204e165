"""The blocks of vectors of a cycle of GCRO-DR, in which the recycled ones come first.

Within a solve the recycled vectors stay where they are, and the Arnoldi vectors of a
cycle are written behind them. They are scaled so that A U = C D: see `ScaledGram`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact, Int

from ...operators._arithmetic import (
    add,
    combine,
    reciprocal,
    recombine,
    scale,
    scale_rows,
    subtract,
)
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..krylov._arnoldi import project
from ..krylov._arnoldi_cycle import Cycle, extend_rows
from ._recycle_selection import ScaledGram, Selection, choose
from ._recycle_space import RecycleSpace, inverse_lengths


class CycleRows(eqx.Module):
    """The recycled pair, and room for the other vectors of a cycle behind it.

    Attributes:
        W: m+1 rows: C, then room for V.
        S: m rows: U, then room for M⁻¹V; `None` where nothing is recycled.
        Y: k rows: M U, likewise.
        gram: the scaling of U, and the products of Y.
    """

    W: Field
    S: Field | None
    Y: Field | None
    gram: ScaledGram

    @property
    def num_vectors(self) -> Int[Array, ""]:
        """How many vectors are recycled."""
        return self.gram.num_vectors

    def as_space(self, unit: Float[Array, ""]) -> RecycleSpace:
        """Return the pair as it is handed on, with A U = C."""
        k, sizes = self._num_rows, reciprocal(self.gram.factors)
        is_used = (jnp.arange(k, dtype=jnp.int32) < self.num_vectors).astype(unit.dtype)
        U, C = (jax.tree.map(lambda a: a[:k], block) for block in (self.S, self.W))
        return RecycleSpace(
            U=scale_rows(sizes, U),
            C=scale_rows(is_used, C),
            Y=scale_rows(sizes / unit, self.Y),
            num_vectors=self.num_vectors,
        )

    def diagonal(self, dtype: jnp.dtype) -> Inexact[Array, " m"]:
        """Return D, with zeros for the vectors of the cycle."""
        return self._padded(self.gram.factors).astype(dtype)

    def deflate(
        self, x: Field, r: Field, inner_product: InnerProduct
    ) -> tuple[Field, Field]:
        """Return x + U Cᴴ r and r - C Cᴴ r: the residual minimised over U."""
        if self.S is None:
            return x, r
        along = project(r, self.W, self.num_vectors, inner_product)
        sizes = self._padded(reciprocal(self.gram.factors)).astype(along.dtype)
        x = add(x, combine(along[:-1] * sizes, self.S))
        return x, subtract(r, combine(along, self.W))

    def chosen(
        self, cycle: Cycle, selection: Selection, inner_product: InnerProduct
    ) -> "CycleRows":
        """Return the rows with the best part of the cycle's search space in front."""
        k = self._num_rows
        choice = choose(self.gram, cycle, self.Y, selection, inner_product)
        # One product for what C and Y take from W, which is so read once.
        is_krylov = jnp.arange(len(choice.U), dtype=jnp.int32) >= self.num_vectors
        krylov_part = jnp.where(is_krylov[:, None], choice.U, 0)
        krylov_part = jnp.pad(krylov_part, ((0, 1), (0, 0)))
        both = recombine(jnp.concatenate([choice.C, krylov_part], axis=1), self.W)
        C = jax.tree.map(lambda a: a[:k], both)
        from_krylov = jax.tree.map(lambda a: a[k:], both)
        recycled_part = jnp.where(is_krylov[:k, None], 0, choice.U[:k])
        return CycleRows(
            W=_with_leading(self.W, C),
            S=_with_leading(self.S, recombine(choice.U, self.S)),
            Y=add(recombine(recycled_part, self.Y), from_krylov),
            gram=choice.gram,
        )

    @property
    def _num_rows(self) -> int:
        """k, for how many recycled vectors there is room."""
        return self.gram.factors.shape[0]

    def _padded(self, values: Float[Array, " k"]) -> Float[Array, " m"]:
        length = jax.tree.leaves(self.W)[0].shape[0] - 1
        return jnp.pad(values, (0, length - self._num_rows))


def rows_from_space(
    space: RecycleSpace,
    restart: int,
    unit: Float[Array, ""],
    inner_product: InnerProduct,
) -> CycleRows:
    """Return the space scaled, in blocks for cycles of `restart` directions.

    Args:
        space: the recycled pair, A U = C.
        restart: m.
        unit: in which A M⁻¹ is measured.
        inner_product: how fields are reduced to numbers.
    """
    W = extend_rows(space.C, restart + 1)
    if jax.tree.leaves(space.U)[0].shape[0] == 0:
        empty = jnp.zeros((0, 0), unit.dtype)
        gram = ScaledGram(empty.ravel(), empty, space.num_vectors)
        return CycleRows(W, None, None, gram)
    Y = scale(unit, space.Y)
    YY = inner_product.gram(Y, Y)
    factors = inverse_lengths(YY)
    D = factors.astype(YY.dtype)
    gram = ScaledGram(factors, D[:, None] * YY * D[None, :], space.num_vectors)
    S = extend_rows(scale_rows(factors, space.U), restart)
    return CycleRows(W, S, scale_rows(factors, Y), gram)


def _with_leading(rows: Field, leading: Field) -> Field:
    return jax.tree.map(
        lambda a, b: lax.dynamic_update_slice_in_dim(a, b, 0, axis=0), rows, leading
    )
