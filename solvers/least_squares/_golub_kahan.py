"""The bidiagonalisation of an operator of any shape, by its products and its adjoint's.

G. Golub and W. Kahan, SIAM J. Numer. Anal. 2 (1965), doi:10.1137/0702016. From β_1 u_1
= r and α_1 v_1 = Bᴴu_1,

    β_{k+1} u_{k+1} = B v_k − α_k u_k,    α_{k+1} v_{k+1} = Bᴴ u_{k+1} − β_{k+1} v_k.

Differs from the paper:
1. B is in a unit that is a power of two near Bᴴu_1, so that squares do not overflow.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import (
    add_scaled,
    divide,
    power_of_two,
    reciprocal,
    root,
    scale,
)
from ...operators._field import Field
from ..core._inner_product import InnerProduct


class GolubKahan(eqx.Module):
    """Before step k; a vector is zero where the space is exhausted."""

    u: Field
    v: Field
    alpha: Float[Array, ""]
    beta: Float[Array, ""]
    unit: Float[Array, ""]
    largest: Float[Array, ""]  # ‖B v‖ or ‖Bᴴu‖ so far, a lower bound of ‖B‖


def start_golub_kahan(
    B: AbstractLinearOperator, r: Field, inner_product: InnerProduct
) -> GolubKahan:
    """Begin from r; one product with Bᴴ."""
    u, beta = _normalise(r, inner_product)
    product = B.H.mv(u)
    unit = power_of_two(inner_product.max_abs(product))
    v, alpha = _normalise(divide(product, unit), inner_product)
    return GolubKahan(u, v, alpha, beta, unit, alpha)


def golub_kahan_step(
    B: AbstractLinearOperator, state: GolubKahan, inner_product: InnerProduct
) -> GolubKahan:
    """Return the next state; one product with B and one with Bᴴ."""
    u = add_scaled(divide(B.mv(state.v), state.unit), -state.alpha, state.u)
    u, beta = _normalise(u, inner_product)
    v = add_scaled(divide(B.H.mv(u), state.unit), -beta, state.v)
    v, alpha = _normalise(v, inner_product)
    seen = jnp.maximum(root(state.alpha**2 + beta**2), root(alpha**2 + beta**2))
    largest = jnp.maximum(state.largest, seen)
    return GolubKahan(u, v, alpha, beta, state.unit, largest)


def _normalise(x: Field, inner_product: InnerProduct) -> tuple[Field, Float[Array, ""]]:
    norm = inner_product.norm(x)
    return scale(reciprocal(norm), x), norm
