"""The Lanczos recurrence of a hermitian A with a hermitian definite preconditioner.

C. Lanczos, J. Res. NBS 45 (1950), doi:10.6028/jres.045.026. With z_k = M⁻¹v_k,

    A z_k = unit (β_{k+1} v_{k+1} + α_k v_k + β_k v_{k-1}),    z_jᴴv_k = δ_jk,

so that the tridiagonal matrix T of the α_k and β_k, times the unit, is A M⁻¹ on the
Krylov space.

Differs from the paper:
1. T is in a unit that is a power of two near |α_1|, so that β², of the size of
   (A M⁻¹)², does not overflow.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ...operators._arithmetic import (
    add_scaled,
    power_of_two,
    reciprocal,
    root,
    scale,
    zeros_like,
)
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._solver import LinearSystem


class Lanczos(eqx.Module):
    """Before step k."""

    v: Field  # v_k
    Mv: Field | None  # z_k, None where that is v_k
    v_before: Field
    alpha: Float[Array, ""]  # α_{k-1}, zero for k = 1
    beta: Float[Array, ""]  # β_k, zero for k = 1, where it is no part of T
    unit: Float[Array, ""]  # zero until it is measured
    is_definite: Bool[Array, ""]  # whether M⁻¹ was so far

    @property
    def z(self) -> Field:
        """M⁻¹v_k."""
        return self.v if self.Mv is None else self.Mv


def start_lanczos(
    system: LinearSystem, r: Field, inner_product: InnerProduct
) -> tuple[Lanczos, Float[Array, ""]]:
    """Begin from r; return its M⁻¹-norm too. One preconditioner call."""
    zero = jnp.zeros_like(system.target)
    state = _normalise(system, r, zeros_like(r), zero, zero, zero, inner_product)
    return eqx.tree_at(lambda s: s.beta, state, zero), state.beta


def lanczos_step(
    system: LinearSystem, state: Lanczos, Az: Field, inner_product: InnerProduct
) -> Lanczos:
    """Return the next state, given the product with z_k; one preconditioner call.

    Where the Krylov space is exhausted, the next v and β are zero.
    """
    v, z, beta = state.v, state.z, state.beta
    zAz = jnp.real(inner_product.dot(z, Az))
    measured = power_of_two(jnp.abs(lax.stop_gradient(zAz)))
    unit = jnp.where(state.unit == 0, measured, state.unit)
    alpha = zAz / unit
    y = add_scaled(scale(1 / unit, Az), -alpha, v)
    y = add_scaled(y, -beta, state.v_before)
    cancelled = alpha**2 + beta**2
    return _normalise(system, y, v, alpha, unit, cancelled, inner_product)


def _normalise(
    system: LinearSystem,
    y: Field,
    v_before: Field,
    alpha: Float[Array, ""],
    unit: Float[Array, ""],
    cancelled: Float[Array, ""],
    inner_product: InnerProduct,
) -> Lanczos:
    """Make y the next v; `cancelled` is the square of what was subtracted from it."""
    z = y if system.preconditioner is None else system.preconditioner(y)
    yz = jnp.real(inner_product.dot(y, z))
    beta = root(jnp.maximum(yz, 0))
    factor = reciprocal(beta)
    return Lanczos(
        v=scale(factor, y),
        Mv=None if system.preconditioner is None else scale(factor, z),
        v_before=v_before,
        alpha=alpha,
        beta=beta,
        unit=unit,
        # What is left when all cancels has any sign.
        is_definite=yz > -jnp.finfo(yz.dtype).eps * cancelled,
    )
