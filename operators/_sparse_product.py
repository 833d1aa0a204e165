"""The product of a sparse matrix and a vector as a JAX primitive.

JAX would transpose a gather into a scatter, which for Poisson matrices takes two to
four times as long on the CPU as a product with the stored transpose
(benchmarks/sparse.py); and none of JAX's decorators lets a function be transposed by
hand, batched and differentiated in forward mode at once. So A x is a primitive,
bilinear in the numbers of A and in x: the transposes with respect to x are products
with Aᵀ, and those with respect to the numbers are entry-wise, both at all orders.
"""

from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Inexact

from ._sparse_layout import Extent, Layout

Level: TypeAlias = tuple[int, tuple[bool, ...]]
"""One `jax.vmap`: its size, and which operands it runs over, always axis 0."""


def multiply(
    values: Inexact[Array, " slots"],
    x: Inexact[Array, " columns"],
    A: Layout,
    T: Layout,
) -> Inexact[Array, " rows"]:
    """Return A x.

    Args:
        values: the numbers of A in the slots of its layout.
        x: the vector.
        A: layout of the matrix.
        T: layout of its transpose, for derivatives.
    """
    arrays = [*_arrays(A), *_arrays(T)]
    return _bind(values, x, *arrays, extents=(A.extent, T.extent), levels=())


def transposed_values(
    values: Inexact[Array, " slots"], T: Layout
) -> Inexact[Array, " other"]:
    """Return the numbers of A in the slots of the layout T of its transpose."""
    return values.at[T.order].get(mode="fill", fill_value=0)


def sum_rows(terms: Inexact[Array, " slots"], A: Layout) -> Inexact[Array, " rows"]:
    """Return the sum of the slots of each row."""
    return _sum_rows(terms, A.rest_rows, A.extent)


def rows_of_slots(A: Layout) -> Array:
    """Return the row of every slot."""
    return _rows_of_slots(A.rest_rows, A.extent)


def _arrays(layout: Layout) -> tuple[Array, Array, Array]:
    return layout.columns, layout.rest_rows, layout.order


def _bind(
    *operands: Any, extents: tuple[Extent, Extent], levels: tuple[Level, ...]
) -> Array:
    return product_p.bind(*operands, extents=extents, levels=levels)


def _evaluate(
    *operands: Array, extents: tuple[Extent, Extent], levels: tuple[Level, ...]
) -> Array:
    return _mapped(partial(_product, extents[0]), levels)(*operands)


def _product(extent: Extent, values: Array, x: Array, *arrays: Array) -> Array:
    columns, rest_rows, *_ = arrays
    # One term after another instead of one gather of all: XLA fuses them into one loop
    # over the rows, 3 times faster than its reduction (benchmarks/sparse.py).
    n, total = extent.num_rows, jnp.zeros(extent.num_rows, values.dtype)
    for start in range(0, extent.width * n, n):
        total = total + values[start : start + n] * _take(x, columns[start : start + n])
    if rest_rows.size == 0:
        return total
    start = extent.width * n
    return total + _sum_rest(values[start:] * _take(x, columns[start:]), rest_rows, n)


def _take(x: Array, index: Array) -> Array:
    return x.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _sum_rest(terms: Array, rest_rows: Array, num_rows: int) -> Array:
    return jax.ops.segment_sum(
        terms, rest_rows, num_rows, indices_are_sorted=True, mode="promise_in_bounds"
    )


def _sum_rows(terms: Array, rest_rows: Array, extent: Extent) -> Array:
    num_padded = extent.width * extent.num_rows
    padded = terms[:num_padded].reshape(extent)
    rest = _sum_rest(terms[num_padded:], rest_rows, extent.num_rows)
    return jnp.sum(padded, axis=0) + rest


def _rows_of_slots(rest_rows: Array, extent: Extent) -> Array:
    rows = jnp.arange(extent.num_rows, dtype=rest_rows.dtype)
    return jnp.concatenate([jnp.tile(rows, extent.width), rest_rows])


def _mapped(function: Any, levels: tuple[Level, ...]) -> Any:
    """The function under every `jax.vmap` that the primitive went through."""
    for size, is_mapped in reversed(levels):
        axes = tuple(0 if flag else None for flag in is_mapped)
        function = jax.vmap(function, in_axes=axes, axis_size=size)
    return function


def _batch(
    operands: Any, axes: Any, *, extents: Any, levels: tuple[Level, ...]
) -> tuple[Array, int]:
    moved = [
        operand if axis is None else jnp.moveaxis(operand, axis, 0)
        for operand, axis in zip(operands, axes, strict=True)
    ]
    is_mapped = tuple(axis is not None for axis in axes)
    size = moved[is_mapped.index(True)].shape[0]
    levels = ((size, is_mapped), *levels)
    return _bind(*moved, extents=extents, levels=levels), 0


def _transpose(
    cotangent: Any, values: Any, x: Any, *arrays: Array, extents: Any, levels: Any
) -> list[Array | None]:
    nothing = [None] * len(arrays)
    if isinstance(cotangent, ad.Zero):
        return [None, None, *nothing]
    if ad.is_undefined_primal(x):
        rule = partial(_transpose_in_x, extents)
        return [None, _summed(rule, levels, 1)(values, cotangent, *arrays), *nothing]
    rule = partial(_transpose_in_values, extents)
    return [_summed(rule, levels, 0)(cotangent, x, *arrays), None, *nothing]


def _transpose_in_x(
    extents: Any, values: Array, cotangent: Array, *arrays: Array
) -> Array:
    values = values.at[arrays[5]].get(mode="fill", fill_value=0)
    swapped = (*arrays[3:], *arrays[:3])
    return _bind(values, cotangent, *swapped, extents=extents[::-1], levels=())


def _transpose_in_values(
    extents: Any, cotangent: Array, x: Array, *arrays: Array
) -> Array:
    columns, rest_rows, order, other_columns, *_ = arrays
    rows = _rows_of_slots(rest_rows, extents[0])
    # Padding is no variable.
    is_stored = order < other_columns.size
    return jnp.where(is_stored, _take(cotangent, rows) * _take(x, columns), 0)


def _summed(rule: Any, levels: tuple[Level, ...], position: int) -> Any:
    """The transpose of `_mapped`: what a level did not run over is summed over it."""
    for size, is_mapped in reversed(levels):
        flags = [*is_mapped]
        flags[position] = True  # there stands the cotangent, which every level has
        axes = tuple(0 if flag else None for flag in flags)
        rule = jax.vmap(rule, in_axes=axes, axis_size=size)
        if not is_mapped[position]:
            rule = _then_sum(rule)
    return rule


def _then_sum(function: Any) -> Any:
    return lambda *operands: jnp.sum(function(*operands), axis=0)


def _jvp_of_values(
    tangent: Any, values: Any, x: Any, *arrays: Any, **options: Any
) -> Array:
    del values
    return _bind(tangent, x, *arrays, **options)


def _jvp_of_x(tangent: Any, values: Any, x: Any, *arrays: Any, **options: Any) -> Array:
    del x
    return _bind(values, tangent, *arrays, **options)


def _result_shape(
    values: Any, x: Any, *arrays: Any, extents: Any, levels: Any
) -> ShapedArray:
    del x, arrays
    shape = (*(size for size, _ in levels), extents[0].num_rows)
    return ShapedArray(shape, values.dtype)


product_p = Primitive("krylax_sparse_product")
product_p.def_impl(jax.jit(_evaluate, static_argnames=("extents", "levels")))
product_p.def_abstract_eval(_result_shape)
ad.defjvp(product_p, _jvp_of_values, _jvp_of_x, *[None] * 6)
ad.primitive_transposes[product_p] = _transpose
batching.primitive_batchers[product_p] = _batch
mlir.register_lowering(product_p, mlir.lower_fun(_evaluate, multiple_results=False))
