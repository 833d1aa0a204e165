"""Products that SciPy computes on the host, as an operator on JAX's vectors.

JAX can neither differentiate, transpose nor batch a callback by itself. A x is linear
in x, so the product is a primitive whose derivative is itself, whose transpose is the
product with Aᵀ, and whose batches are products with a block of vectors.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Inexact
from typing_extensions import override

from ._declared import AbstractDeclaredOperator, Declared
from ._field import Structure, array_structure


class HostProduct(AbstractDeclaredOperator):
    """A `scipy.sparse.linalg.LinearOperator` A, or its transpose; see `from_scipy`."""

    declared: Declared
    host: Any = eqx.field(static=True)
    is_transposed: bool = eqx.field(static=True, default=False)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self._shape[1:], self.host.dtype)

    @property
    @override
    def out_structure(self) -> Structure:
        return array_structure(self._shape[:1], self.host.dtype)

    @property
    @override
    def T(self) -> "HostProduct":
        if "symmetric" in self.tags:
            return self
        return HostProduct(self.declared.T, self.host, not self.is_transposed)

    @override
    def mv(self, x: Inexact[Array, " columns"]) -> Inexact[Array, " rows"]:
        return product_p.bind(x, host=self.host, is_transposed=self.is_transposed)

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.host.shape[::-1] if self.is_transposed else self.host.shape


def _evaluate(x: Array, *, host: Any, is_transposed: bool) -> Array:
    result = array_structure(_result_shape(x, host, is_transposed), x.dtype)
    return jax.pure_callback(
        partial(_multiply, host, is_transposed, result), result, x, vmap_method=None
    )


def _multiply(
    host: Any, is_transposed: bool, result: jax.ShapeDtypeStruct, x: Any
) -> np.ndarray:
    """Apply A or Aᵀ to the vectors along the last axis."""
    block = np.asarray(x).reshape(-1, x.shape[-1]).T
    # SciPy offers the adjoint, and Aᵀ y is the conjugate of Aᴴ applied to that of y.
    y = host.rmatmat(block.conj()).conj() if is_transposed else host.matmat(block)
    return np.ascontiguousarray(np.asarray(y, result.dtype).T).reshape(result.shape)


def _result_shape(x: Any, host: Any, is_transposed: bool) -> tuple[int, ...]:
    return (*x.shape[:-1], host.shape[1 if is_transposed else 0])


def _abstract(x: Any, *, host: Any, is_transposed: bool) -> ShapedArray:
    return ShapedArray(_result_shape(x, host, is_transposed), x.dtype)


def _transpose(cotangent: Any, x: Any, *, host: Any, is_transposed: bool) -> list:
    del x
    if isinstance(cotangent, ad.Zero):
        return [None]
    return [product_p.bind(cotangent, host=host, is_transposed=not is_transposed)]


def _batch(operands: Any, axes: Any, **options: Any) -> tuple[Array, int]:
    (x,), (axis,) = operands, axes
    return product_p.bind(jnp.moveaxis(x, axis, 0), **options), 0


product_p = Primitive("krylax_host_product")
product_p.def_impl(jax.jit(_evaluate, static_argnames=("host", "is_transposed")))
product_p.def_abstract_eval(_abstract)
ad.deflinear2(product_p, _transpose)
batching.primitive_batchers[product_p] = _batch
mlir.register_lowering(product_p, mlir.lower_fun(_evaluate, multiple_results=False))
