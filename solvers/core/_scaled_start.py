"""A start of the best length, for what knows the shape of a solution and not its size.

The multiple α x₀ nearest to the solution of A x = b takes no product besides A x₀:

    α = ⟨x₀, b⟩ / ⟨x₀, A x₀⟩ in the A-norm of the error, for a positive definite A,
    α = ⟨A x₀, b⟩ / ⟨A x₀, A x₀⟩ in the norm of the residual, for any other.

It is a step of steepest descent, or of minimal residuals, along x₀ instead of r: Y.
Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., SIAM 2003, §5.3.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool
from numpy.typing import NDArray

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import (
    divide,
    power_of_two,
    scale,
    select,
    subtract,
    zeros_like,
)
from ...operators._field import Field, as_field
from ._inner_product import InnerProduct


class ScaledStart(eqx.Module):
    """A start that `solve` multiplies by the number that brings it nearest to x.

    Zero is a multiple too, so that the solve never begins further from the solution
    than without a start. One array can be used as such: it has a shape, a dtype, and
    converts to NumPy and JAX.

    Args:
        value: a field, also in another floating-point dtype than that of b, as the
            prediction of a network is.

    Cost: two inner products, two maxima and, per entry, some multiplications more than
    a plain start.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((9,)), jnp.ones(9)
        >>> x = kx.solve(A, b, kx.solvers.CG(1e-8)).value
        >>> start = kx.solvers.ScaledStart(-100 * x)
        >>> int(kx.solve(A, b, kx.solvers.CG(1e-8), x0=start).stats.num_steps)
        0
    """

    value: Field

    def __init__(self, value: Any) -> None:
        self.value = as_field(value, "value")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self._array.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the array."""
        return self._array.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._array.__array__(dtype, copy=copy)

    def __jax_array__(self) -> Array:
        return self._array

    @property
    def _array(self) -> Array:
        if not isinstance(self.value, jax.Array):
            raise TypeError(
                "this start is a tree of arrays, and no array; use its value"
            )
        return self.value

    def like(self, b: Field) -> Field:
        """Return the value in the precision of b, where both are real or complex."""

        def converted(x: Array, like: Array) -> Array:
            is_complex = jnp.iscomplexobj(x) and not jnp.iscomplexobj(like)
            return x if is_complex else x.astype(like.dtype)

        same = jax.tree.structure(self.value) == jax.tree.structure(b)
        return jax.tree.map(converted, self.value, b) if same else self.value


def nearest_multiple(
    A: AbstractLinearOperator, b: Field, x: Field, inner_product: InnerProduct
) -> tuple[Field, Field, Bool[Array, ""]]:
    """Return the multiple of x nearest to A⁻¹ b, its residual, whether it is used."""
    # In units of their own, as the squares of entries may be beyond the dtype.
    x = divide(x, power_of_two(inner_product.max_abs(x)))
    Ax = A.mv(x)
    unit = power_of_two(inner_product.max_abs(Ax))
    Ax = divide(Ax, unit)
    test = x if "positive_definite" in A.tags else Ax
    along, curvature = inner_product.dots((test, b), (test, Ax))
    length = along / jnp.where(curvature == 0, 1, curvature)
    # Of this length, as the largest entry of x is about one.
    is_used = jnp.isfinite(length / unit) & (length != 0) & (curvature != 0)
    length = jnp.where(is_used, length, 0)
    zero = zeros_like(b)
    start = select(is_used, scale(length, divide(x, unit)), zero)
    return start, subtract(b, select(is_used, scale(length, Ax), zero)), is_used
