"""The arithmetic of fields: sums, multiples, products, and quotients that stay finite.

Blocks of k fields are stacked along a first axis; a block is called `rows`. Products of
matrices are of full precision on every backend.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import Precision
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from ._field import Field


def dot(x: Field, y: Field) -> Inexact[Array, ""]:
    """Return Σ conj(x_i) y_i over the entries of all leaves."""
    return _sum_over_leaves(
        lambda a, b: jnp.vdot(a, b, precision=Precision.HIGHEST), x, y
    )


def block_dot(rows: Field, y: Field) -> Inexact[Array, " k"]:
    """Return the dot product of y with every row."""
    return _sum_over_leaves(
        lambda a, b: matmul(a.reshape(a.shape[0], -1).conj(), b.reshape(-1)), rows, y
    )


def gram(rows: Field, others: Field) -> Inexact[Array, "k l"]:
    """Return the dot product of every pair of rows of two blocks."""
    return _sum_over_leaves(
        lambda a, b: matmul(
            a.reshape(a.shape[0], -1).conj(), b.reshape(b.shape[0], -1).T
        ),
        rows,
        others,
    )


def combine(coefficients: Inexact[Array, " k"], rows: Field) -> Field:
    """Return Σ_i coefficients_i row_i."""

    def combine_leaf(leaf: Array) -> Array:
        flat = matmul(coefficients.astype(leaf.dtype), leaf.reshape(leaf.shape[0], -1))
        return flat.reshape(leaf.shape[1:])

    return jax.tree.map(combine_leaf, rows)


def recombine(matrix: Inexact[Array, "k l"], rows: Field) -> Field:
    """Return the block of the l fields Σ_i matrix_ij row_i."""

    def recombine_leaf(leaf: Array) -> Array:
        flat = matmul(matrix.T.astype(leaf.dtype), leaf.reshape(leaf.shape[0], -1))
        return flat.reshape(matrix.shape[1], *leaf.shape[1:])

    return jax.tree.map(recombine_leaf, rows)


def scale_rows(factors: Inexact[Array, " k"], rows: Field) -> Field:
    """Return every row times its factor."""
    return jax.tree.map(
        lambda a: factors.reshape(-1, *[1] * (a.ndim - 1)).astype(a.dtype) * a, rows
    )


def matmul(a: Inexact[Array, "..."], b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Return the product of matrices or vectors, rounded as their type is."""
    return jnp.matmul(a, b, precision=Precision.HIGHEST)


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


def conj(x: PyTree) -> PyTree:
    """Return the complex conjugate."""
    return jax.tree.map(jnp.conj, x)


def zeros_like(x: PyTree) -> Field:
    """Return a field of zeros."""
    return jax.tree.map(jnp.zeros_like, x)


def with_zeros(x: Field, tangent: Any) -> Field:
    """Return the tangent of a field, zero for leaves where it is None.

    Rules of derivatives are told by None of what depends on nothing.
    """
    return jax.tree.map(
        lambda leaf, dot: jnp.zeros_like(leaf) if dot is None else dot,
        x,
        tangent,
        is_leaf=lambda leaf: leaf is None,
    )


def constant(tree: Any) -> Any:
    """Return the tree, of which nothing has a derivative."""
    return jax.tree.map(
        lambda leaf: lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf,
        tree,
    )


def select(predicate: Bool[Array, ""], x: PyTree, y: PyTree) -> PyTree:
    """Return x where the predicate, one truth value, holds, else y."""
    return jax.tree.map(lambda a, b: jnp.where(predicate, a, b), x, y)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Return whether no floating-point array of a tree holds NaN or infinity."""
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in leaves]
    return jnp.all(jnp.stack(finite)) if finite else jnp.ones((), bool)


def any_subnormal(x: Field) -> Bool[Array, ""]:
    """Return whether some entry is smaller than the normal numbers, but not zero.

    XLA on the CPU reads these as zero; only their bits tell.
    """
    leaves = [part for leaf in jax.tree.leaves(x) for part in _real_parts(leaf)]
    return jnp.any(jnp.stack([jnp.any(_is_subnormal(leaf)) for leaf in leaves]))


def _real_parts(leaf: Array) -> list[Array]:
    return [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]


def _is_subnormal(a: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    info = jnp.finfo(a.dtype)
    integer = {16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint64}[info.bits]
    modulus = lax.bitcast_convert_type(a, integer) & integer(2 ** (info.bits - 1) - 1)
    return (modulus > 0) & (modulus < integer(2**info.nmant))


def all_equal(x: Field, y: Field) -> Bool[Array, ""]:
    """Return whether all entries agree; NaN does not."""
    equal = [
        jnp.all(a == b) for a, b in zip(*map(jax.tree.leaves, (x, y)), strict=True)
    ]
    return jnp.all(jnp.stack(equal))


def root(square: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the square root, with derivative zero at zero."""
    is_zero = square == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, square)))


def ratio(
    above: Inexact[Array, "..."] | int, below: Inexact[Array, "..."]
) -> Inexact[Array, "..."]:
    """Return the quotient, zero where the divisor is zero."""
    is_zero = below == 0
    return jnp.where(is_zero, 0, above / jnp.where(is_zero, 1, below))


def reciprocal(size: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return 1/size, zero where the size is not positive, be it NaN.

    That of a length: the square of what is not there may be rounding of any sign.
    """
    is_positive = size > 0
    return jnp.where(is_positive, 1 / jnp.where(is_positive, size, 1), 0)


def power_of_two(largest: Float[Array, ""]) -> Float[Array, ""]:
    """Return a power of two near a modulus, 1 for zero; to divide by it is exact."""
    # Rounded to no digits; less than 1.5 times a power is rounded down to it, so that
    # the largest numbers do not overflow.
    bits = jnp.finfo(largest.dtype).nexp
    size = 0.75 * lax.stop_gradient(largest)
    power = lax.reduce_precision(size, exponent_bits=bits, mantissa_bits=0)
    return jnp.where((power > 0) & jnp.isfinite(power), power, 1)


def _sum_over_leaves(product: Callable, x: Field, y: Field) -> Array:
    return reduce(jnp.add, jax.tree.leaves(jax.tree.map(product, x, y)))
