"""The recurrence of CG whose inner products are all one reduction.

A. T. Chronopoulos and C. W. Gear, s-step iterative methods for symmetric linear
systems, J. Comput. Appl. Math. 25 (1989), doi:10.1016/0377-0427(89)90045-9, for s = 1.
Ap and pᴴAp come from Az and zᴴAz by recurrences, with z = M⁻¹r:

    Ap = Az + β (Ap)',    pᴴAp = zᴴAz - β² (pᴴAp)',    ' of the step before.

Differs from the paper:
1. rᴴr is part of the reduction, so that the residual that is watched is the 2-norm.
2. Where the difference for pᴴAp is rounding, the directions begin anew with p = z.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ...operators._arithmetic import add_scaled, zeros_like
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import Step
from ..core._solver import LinearSystem
from ..core._status import Status, first_of


class Vectors(eqx.Module):
    """Between steps, with all products of the residual r."""

    r: Field
    z: Field | None  # M⁻¹r, None where that is r
    Az: Field
    p: Field  # of the step before
    Ap: Field
    rz: Float[Array, ""]
    pAp: Float[Array, ""]  # of the step to come
    beta: Float[Array, ""]


def begin(system: LinearSystem, r: Field, inner_product: InnerProduct) -> Vectors:
    """Start from the steepest descent direction; one product and one call."""
    z, Az, (rz, zAz, _) = _products(system, r, inner_product)
    zero = zeros_like(r)
    return Vectors(r, z, Az, zero, zero, rz, zAz, jnp.zeros_like(rz))


def step(
    system: LinearSystem, x: Field, vectors: Vectors, inner_product: InnerProduct
) -> Step:
    """Minimise the error along a direction conjugate to those before it."""
    beta, rz, pAp = vectors.beta, vectors.rz, vectors.pAp
    p = add_scaled(vectors.r if vectors.z is None else vectors.z, beta, vectors.p)
    Ap = add_scaled(vectors.Az, beta, vectors.Ap)
    # A zero step leaves x as it was when the direction cannot be used.
    is_usable = (pAp > 0) & (rz > 0) & jnp.isfinite(pAp)
    alpha = jnp.where(is_usable, rz / jnp.where(is_usable, pAp, 1), 0)
    r = add_scaled(vectors.r, -alpha, Ap)
    z, Az, (rz_next, zAz, rr) = _products(system, r, inner_product)
    beta = jnp.where(is_usable, rz_next / jnp.where(is_usable, rz, 1), 0)
    pAp_next = zAz - beta**2 * pAp
    is_sound = ~_is_rounding(pAp_next, zAz)
    return Step(
        # Where a step overflows, x stays at the last finite one.
        x=add_scaled(x, jnp.where(jnp.isfinite(rr), alpha, 0), p),
        vectors=Vectors(
            r,
            z,
            Az,
            p,
            Ap,
            rz_next,
            jnp.where(is_sound, pAp_next, zAz),
            jnp.where(is_sound, beta, 0),
        ),
        norm=jnp.sqrt(lax.stop_gradient(rr)),
        status=first_of(
            (~jnp.isfinite(pAp + rz), Status.nonfinite),
            (rz <= 0, Status.indefinite_preconditioner),
            (pAp <= 0, Status.indefinite_operator),
        ),
        is_taken=is_usable,
    )


def _products(
    system: LinearSystem, r: Field, inner_product: InnerProduct
) -> tuple[Field | None, Field, tuple[Float[Array, ""], ...]]:
    """M⁻¹r, A M⁻¹r, and rᴴz, zᴴAz, rᴴr."""
    if system.preconditioner is None:
        Ar = system.operator.mv(r)
        rr, rAr = map(jnp.real, inner_product.dots((r, r), (r, Ar)))
        return None, Ar, (rr, rAr, rr)
    z = system.preconditioner(r)
    Az = system.operator.mv(z)
    dots = inner_product.dots((r, z), (z, Az), (r, r))
    return z, Az, tuple(map(jnp.real, dots))


def _is_rounding(difference: Float[Array, ""], of: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether half of the digits cancelled."""
    return jnp.abs(difference) <= jnp.sqrt(jnp.finfo(of.dtype).eps) * jnp.abs(of)
