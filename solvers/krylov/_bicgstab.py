"""The stabilised biconjugate gradient method, preconditioned from the right.

H. A. van der Vorst, Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG for the
solution of nonsymmetric linear systems, SIAM J. Sci. Stat. Comput. 13 (1992),
doi:10.1137/0913035. A step is one of BiCG, then one of minimal residual,

    s = r - α A M⁻¹p,    r⁺ = s - ω A M⁻¹s,    ρ = ⟨r̃, r⟩ with a fixed shadow r̃.

Differs from the paper:
1. Right preconditioning, so that residuals are true ones.
2. A M⁻¹s is measured in units of 1/α, so that its square does not overflow.
3. Where ρ, ⟨r̃, A M⁻¹p⟩ or ω is rounding, the iteration begins anew with r̃ = p = r.
4. Residual replacement: _recurrence.py.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, Int
from typing_extensions import override

from ...operators._arithmetic import add_scaled, power_of_two, ratio, scale, select
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import AbstractRecurrence, Step
from ..core._solver import LinearSystem
from ..core._status import Status, first_of
from ..core._stopping import as_max_steps, require_settings

MAX_RESTARTS = 10
"""Breakdowns after which to give up; healthy solves see none."""


class _Vectors(eqx.Module):
    r: Field
    p: Field
    shadow: Field  # r̃
    rr: Float[Array, ""]
    rho: Inexact[Array, ""]
    shadow_square: Float[Array, ""]
    is_fresh: Bool[Array, ""]  # whether r̃ = p = r
    num_restarts: Int[Array, ""]


class BiCGStab(AbstractRecurrence):
    """BiCGStab, for general square systems with short recurrences.

    Seven vectors however many steps it takes, but no residual is minimal: it may grow
    on the way and, on spectra around the imaginary axis, stay; there use `GMRES` or
    `GCRODR`. The preconditioner is linear and acts from the right.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of steps, of two products each.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `diverged`, `breakdown`, or one of the general ones.

    Raises:
        ValueError: tolerances or max_steps out of range.

    Cost: per step 2 matvecs, 2 preconditioner calls and 3 reductions; 12 vectors
    besides b, 13 with a preconditioner.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[1.0, 2.0], [-3.0, 1.0]]))
        >>> solver = kx.solvers.BiCGStab(rtol=1e-12)
        >>> kx.solve(A, jnp.array([3.0, -2.0]), solver).value.round(6)
        Array([1., 1.], dtype=float64)

    References:
        H. A. van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992), doi:10.1137/0913035.
    """

    matvecs_per_step: ClassVar[int] = 2

    rtol: float = 1e-5
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)

    @override
    def begin(self, system: LinearSystem, r: Field) -> _Vectors:
        """Start with the residual as its own shadow."""
        rr = self.inner_product.dot(r, r)
        square = jnp.real(rr)
        return _Vectors(
            r=r,
            p=r,
            shadow=r,
            rr=square,
            rho=rr,
            shadow_square=square,
            is_fresh=jnp.ones((), bool),
            num_restarts=jnp.zeros((), jnp.int32),
        )

    @override
    def step(self, system: LinearSystem, x: Field, vectors: _Vectors) -> Step:
        """Take a step of BiCG and one of minimal residual."""
        dots, shadow = self.inner_product.dots, vectors.shadow
        p_hat, v = _products(system, vectors.p)
        alpha = ratio(vectors.rho, self.inner_product.dot(shadow, v))
        s = add_scaled(vectors.r, -alpha, v)
        s_hat, As = _products(system, s)
        size = power_of_two(jnp.abs(lax.stop_gradient(alpha))).astype(alpha.dtype)
        t = scale(size, As)
        ts, tt, ss = dots((t, s), (t, t), (s, s))
        omega = ratio(ts, tt)
        r = add_scaled(s, -omega, t)
        rho, rr = dots((shadow, r), (r, r))
        beta = ratio(rho, vectors.rho) * ratio(alpha / size, omega)
        p = add_scaled(r, beta, add_scaled(vectors.p, -omega * size, v))
        advanced = _Vectors(
            r=r,
            p=p,
            shadow=shadow,
            rr=jnp.real(rr),
            rho=rho,
            shadow_square=vectors.shadow_square,
            is_fresh=jnp.zeros((), bool),
            num_restarts=vectors.num_restarts,
        )
        eps = jnp.finfo(advanced.rr.dtype).eps
        # Half of the digits are gone where ‖s‖ is that large; NaN is not `<=` either.
        is_safe = (jnp.real(ss) <= vectors.rr / eps) & jnp.isfinite(advanced.rr)
        is_lost = _is_rounding(ts, jnp.real(tt), jnp.real(ss))
        is_lost |= _is_rounding(rho, advanced.rr, vectors.shadow_square)
        moved = add_scaled(add_scaled(x, alpha, p_hat), omega * size, s_hat)
        kept = select(is_safe, advanced, vectors)
        return Step(
            x=select(is_safe, moved, x),
            vectors=select(is_lost | ~is_safe, _renewed(kept), kept),
            norm=jnp.sqrt(lax.stop_gradient(kept.rr)),
            status=_status(system, kept, vectors.is_fresh & ~is_safe),
            # Its products are spent, whether or not x moved.
            is_taken=jnp.ones((), bool),
        )


def _products(system: LinearSystem, y: Field) -> tuple[Field, Field]:
    """M⁻¹y and A M⁻¹y."""
    z = y if system.preconditioner is None else system.preconditioner(y)
    return z, system.operator.mv(z)


def _renewed(vectors: _Vectors) -> _Vectors:
    """Begin anew from the residual."""
    return _Vectors(
        r=vectors.r,
        p=vectors.r,
        shadow=vectors.r,
        rr=vectors.rr,
        rho=vectors.rr.astype(vectors.rho.dtype),
        shadow_square=vectors.rr,
        is_fresh=jnp.ones((), bool),
        num_restarts=vectors.num_restarts + 1,
    )


def _status(
    system: LinearSystem, vectors: _Vectors, is_stuck: Bool[Array, ""]
) -> Int[Array, ""]:
    """A breakdown of the first step from r, or one too many, unless r is small."""
    is_met = jnp.sqrt(lax.stop_gradient(vectors.rr)) <= system.target
    has_failed = is_stuck | (vectors.num_restarts >= MAX_RESTARTS)
    return first_of((has_failed & ~is_met, Status.breakdown))


def _is_rounding(
    dot: Inexact[Array, ""], xx: Float[Array, ""], yy: Float[Array, ""]
) -> Bool[Array, ""]:
    """Whether |⟨x, y⟩| ≤ eps ‖x‖ ‖y‖."""
    xx, yy = lax.stop_gradient((xx, yy))
    return jnp.abs(dot) <= jnp.finfo(xx.dtype).eps * jnp.sqrt(xx) * jnp.sqrt(yy)
