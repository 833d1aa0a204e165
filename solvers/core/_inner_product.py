"""The one place where a solver reduces fields to numbers.

A solver asks its inner product for every dot product and norm, so that a field that is
spread over devices needs another inner product and no other change.
"""

from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Inexact

from ...operators._arithmetic import (
    block_dot,
    divide,
    dot,
    gram,
    power_of_two,
    recombine,
    root,
)
from ...operators._field import Field


class InnerProduct(eqx.Module):
    """The Euclidean inner product ⟨x, y⟩ = Σ conj(x_i) y_i over all leaves.

    Args:
        axis_name: mapped axis over which the field is spread, as in `shard_map` or
            `vmap`; local sums are then added over it.
    """

    axis_name: str | None = eqx.field(static=True, default=None)

    def dot(self, x: Field, y: Field) -> Inexact[Array, ""]:
        """Return ⟨x, y⟩."""
        return self._sum_over_axis(dot(x, y))

    def dots(self, *pairs: tuple[Field, Field]) -> tuple[Inexact[Array, ""], ...]:
        """Return ⟨x, y⟩ of every pair, in one reduction over the mapped axis."""
        terms = [dot(x, y) for x, y in pairs]
        if self.axis_name is None:
            return tuple(terms)
        return tuple(self._sum_over_axis(jnp.stack(terms)))

    def norm(self, x: Field) -> Float[Array, ""]:
        """Return √⟨x, x⟩."""
        return root(jnp.real(self.dot(x, x)))

    def scaled_norm(self, x: Field) -> Float[Array, ""]:
        """Return √⟨x, x⟩ of entries whose squares may be beyond the dtype."""
        unit = power_of_two(self.max_abs(x))
        return unit * self.norm(divide(x, unit))

    def max_abs(self, x: Field) -> Float[Array, ""]:
        """Return the largest modulus of an entry."""
        terms = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(x)]
        largest = reduce(jnp.maximum, terms)
        if self.axis_name is None:
            return largest
        # The largest over devices leaves out NaN.
        largest = jnp.where(jnp.isnan(largest), jnp.inf, largest)
        return lax.pmax(largest, self.axis_name)

    def everywhere(self, holds: Bool[Array, ""]) -> Bool[Array, ""]:
        """Return whether it holds of every part, so that all decide alike."""
        if self.axis_name is None:
            return holds
        return lax.pmin(holds.astype(jnp.int32), self.axis_name) > 0

    def orthonormalise(self, rows: Field) -> Field:
        """Return orthonormal rows of the same span, for rows that are independent."""
        factor = jnp.linalg.cholesky(self.gram(rows, rows))
        identity = jnp.eye(len(factor), dtype=factor.dtype)
        inverse = solve_triangular(factor, identity, lower=True)
        return recombine(inverse.conj().T, rows)

    def block_dot(self, rows: Field, y: Field) -> Inexact[Array, " k"]:
        """Return ⟨row, y⟩ for every field stacked along the first axis of `rows`."""
        return self._sum_over_axis(block_dot(rows, y))

    def gram(self, rows: Field, others: Field) -> Inexact[Array, "k l"]:
        """Return ⟨row, other⟩ for every pair of stacked fields."""
        return self._sum_over_axis(gram(rows, others))

    def _sum_over_axis(self, local: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return local if self.axis_name is None else lax.psum(local, self.axis_name)
