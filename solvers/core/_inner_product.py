"""The one place where fields are reduced to numbers, and their linear combinations.

A solver asks its inner product for every dot product and norm, so that a field that is
spread over devices needs another inner product and no other change.
"""

from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import Precision
from jaxtyping import Array, Float, Inexact, PyTree

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
        return self._reduce(
            lambda a, b: jnp.vdot(a, b, precision=Precision.HIGHEST), x, y
        )

    def dots(self, *pairs: tuple[Field, Field]) -> tuple[Inexact[Array, ""], ...]:
        """Return ⟨x, y⟩ of every pair, in one reduction over the mapped axis."""
        local = InnerProduct()
        terms = [local.dot(x, y) for x, y in pairs]
        if self.axis_name is None:
            return tuple(terms)
        return tuple(jax.lax.psum(jnp.stack(terms), self.axis_name))

    def norm(self, x: Field) -> Float[Array, ""]:
        """Return √⟨x, x⟩."""
        return root(jnp.real(self.dot(x, x)))

    def max_abs(self, x: Field) -> Float[Array, ""]:
        """Return the largest modulus of an entry."""
        terms = [jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(x)]
        total = reduce(jnp.maximum, terms)
        return total if self.axis_name is None else jax.lax.pmax(total, self.axis_name)

    def block_dot(self, rows: Field, y: Field) -> Inexact[Array, " k"]:
        """Return ⟨row, y⟩ for every field stacked along the first axis of `rows`."""
        return self._reduce(
            lambda a, b: _matmul(a.reshape(a.shape[0], -1).conj(), b.reshape(-1)),
            rows,
            y,
        )

    def gram(self, rows: Field, others: Field) -> Inexact[Array, "k l"]:
        """Return ⟨row, other⟩ for every pair of stacked fields."""
        return self._reduce(
            lambda a, b: _matmul(
                a.reshape(a.shape[0], -1).conj(), b.reshape(b.shape[0], -1).T
            ),
            rows,
            others,
        )

    def _reduce(self, dot: Any, x: Field, y: Field) -> Array:
        terms = jax.tree.leaves(jax.tree.map(dot, x, y))
        total = reduce(jnp.add, terms)
        return total if self.axis_name is None else jax.lax.psum(total, self.axis_name)


def combine(coefficients: Inexact[Array, " k"], rows: Field) -> Field:
    """Return Σ_i coefficients_i row_i of stacked fields."""

    def combine_leaf(leaf: Array) -> Array:
        flat = _matmul(coefficients.astype(leaf.dtype), leaf.reshape(leaf.shape[0], -1))
        return flat.reshape(leaf.shape[1:])

    return jax.tree.map(combine_leaf, rows)


def recombine(matrix: Inexact[Array, "k l"], rows: Field) -> Field:
    """Return the l stacked fields Σ_i matrix_ij row_i."""

    def recombine_leaf(leaf: Array) -> Array:
        flat = _matmul(matrix.T.astype(leaf.dtype), leaf.reshape(leaf.shape[0], -1))
        return flat.reshape(matrix.shape[1], *leaf.shape[1:])

    return jax.tree.map(recombine_leaf, rows)


def add(x: Field, y: Field) -> Field:
    """Return x + y."""
    return jax.tree.map(jnp.add, x, y)


def subtract(x: Field, y: Field) -> Field:
    """Return x - y."""
    return jax.tree.map(jnp.subtract, x, y)


def add_scaled(x: Field, factor: Inexact[Array, ""], y: Field) -> Field:
    """Return x + factor y."""
    return jax.tree.map(lambda a, b: a + factor.astype(b.dtype) * b, x, y)


def scale(factor: Inexact[Array, ""], x: Field) -> Field:
    """Return factor x."""
    return jax.tree.map(lambda a: factor.astype(a.dtype) * a, x)


def divide(x: Field, divisor: Inexact[Array, ""]) -> Field:
    """Return x / divisor."""
    return jax.tree.map(lambda a: a / divisor.astype(a.dtype), x)


def root(square: Float[Array, ""]) -> Float[Array, ""]:
    """The square root, with derivative zero at zero."""
    is_zero = square == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, square)))


def power_of_two(largest: Float[Array, ""]) -> Float[Array, ""]:
    """A power of two near a modulus, 1 for zero: to divide by it rounds nothing."""
    # Rounded to no digits; less than 1.5 times a power is rounded down to it, so that
    # the largest numbers do not overflow.
    bits = jnp.finfo(largest.dtype).nexp
    size = 0.75 * lax.stop_gradient(largest)
    power = lax.reduce_precision(size, exponent_bits=bits, mantissa_bits=0)
    return jnp.where((power > 0) & jnp.isfinite(power), power, 1)


def zeros_like(x: PyTree) -> Field:
    """A field of zeros."""
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), x)


def select(predicate: Array, x: PyTree, y: PyTree) -> PyTree:
    """Return x where the predicate, one truth value, holds, else y."""
    return jax.tree.map(lambda a, b: jnp.where(predicate, a, b), x, y)


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=Precision.HIGHEST)
