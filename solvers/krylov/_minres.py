"""The minimal residual method, preconditioned.

For hermitian A, definite or not: C. C. Paige and M. A. Saunders, Solution of sparse
indefinite systems of linear equations, SIAM J. Numer. Anal. 12 (1975),
doi:10.1137/0712047, with a preconditioner as in H. C. Elman, D. J. Silvester and A. J.
Wathen, Finite Elements and Fast Iterative Solvers, 2nd ed. (2014), Alg. 4.1. Lanczos
vectors v_k and the QR factors of T, built column by column with rotations (c, s), give

    x_k = x_{k-1} + φ_k w_k,    r_k = s_k² r_{k-1} + c_k ψ_k v_{k+1}.

Differs from the sources:
1. r_k is kept, so that the 2-norm of the residual is known; the method minimises its
   M⁻¹-norm.
2. A pivot that is rounding ends the solve as a breakdown instead of dividing by it.
3. Residual replacement: _recurrence.py.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arithmetic import add_scaled, root, scale, zeros_like
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import AbstractRecurrence, Step
from ..core._solver import LinearSystem
from ..core._status import Status, first_of
from ..core._stopping import as_max_steps, require_settings
from ._lanczos import Lanczos, lanczos_step, start_lanczos


class _Rotations(eqx.Module):
    """The last two Givens rotations of T."""

    c: Float[Array, ""]
    s: Float[Array, ""]
    c_before: Float[Array, ""]
    s_before: Float[Array, ""]


class Vectors(eqx.Module):
    """Between steps."""

    r: Field
    lanczos: Lanczos
    w: Field
    w_before: Field
    psi: Float[Array, ""]  # ± the M⁻¹-norm of the residual
    rotations: _Rotations
    largest: Float[Array, ""]  # of the entries of T so far


class MINRES(AbstractRecurrence):
    """The minimal residual method, for hermitian systems, indefinite ones too.

    Minimises the residual over the Krylov space, in the M⁻¹-norm with a preconditioner,
    which must be linear and hermitian positive definite. A singular system that has a
    solution is solved as it is. One that has none ends as `breakdown`, or, where
    rounding hides the end of the Krylov space (about a thousand unknowns or more), only
    at max_steps with a large part of x in the null space: declare the null space on the
    operator, and the incompatible right-hand side is reported at once.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `diverged`, `breakdown`, `indefinite_preconditioner`, or one of the general
        ones.

    Raises:
        ValueError: tolerances or max_steps out of range; a complex operator that is
            promised to be symmetric but not hermitian.

    Cost: per step 1 matvec, 1 preconditioner call and 3 reductions; per solve 1
    preconditioner call more; 11 vectors besides b, 13 with a preconditioner.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Diagonal(jnp.array([-1.0, 2.0, 4.0]))
        >>> kx.solve(A, jnp.ones(3), kx.solvers.MINRES(rtol=1e-10)).value.round(6)
        Array([-1.  ,  0.5 ,  0.25], dtype=float64)

    References:
        C. C. Paige, M. A. Saunders, SIAM J. Numer. Anal. 12 (1975),
        doi:10.1137/0712047.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)

    @property
    @override
    def calls_per_begin(self) -> int:
        """One, to measure the residual in the M⁻¹-norm."""
        return 1

    @override
    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> AbstractOperator | None:
        """Refuse what is known not to be hermitian."""
        if "symmetric" in A.tags and "hermitian" not in A.tags:
            raise ValueError(
                "MINRES needs a hermitian operator, got a complex one that is promised "
                "to be symmetric only; use GMRES, or the tag hermitian if it is so"
            )
        return preconditioner

    @override
    def begin(self, system: LinearSystem, r: Field) -> Vectors:
        lanczos, psi = start_lanczos(system, r, self.inner_product)
        zero, one = jnp.zeros_like(psi), jnp.ones_like(psi)
        return Vectors(
            r=r,
            lanczos=lanczos,
            w=zeros_like(r),
            w_before=zeros_like(r),
            psi=psi,
            rotations=_Rotations(one, zero, one, zero),
            largest=zero,
        )

    @override
    def step(self, system: LinearSystem, x: Field, vectors: Vectors) -> Step:
        """Add a column to T and rotate it into the triangle."""
        Az = system.operator.mv(vectors.lanczos.z)
        return self.step_along(system, x, vectors, Az)

    def step_along(
        self, system: LinearSystem, x: Field, vectors: Vectors, Az: Field
    ) -> Step:
        """As `step`, with the product of the operator and z_k given."""
        before = vectors.lanczos
        lanczos = lanczos_step(system, before, Az, self.inner_product)
        alpha = lanczos.alpha
        entries = jnp.stack([jnp.abs(alpha), before.beta, lanczos.beta])
        largest = jnp.maximum(vectors.largest, jnp.max(lax.stop_gradient(entries)))
        rotations, above, pivot = _rotate(
            vectors.rotations, before.beta, alpha, lanczos.beta
        )
        is_definite = before.is_definite & lanczos.is_definite
        # A pivot is at least the least singular value of T; of singular ones with 48
        # unknowns rounding leaves 15 eps.
        is_regular = pivot > 100 * jnp.finfo(pivot.dtype).eps * largest
        is_usable = is_definite & is_regular & jnp.isfinite(pivot)
        # A zero step leaves x and r as they were when the column cannot be used.
        c = jnp.where(is_usable, rotations.c, 0)
        s = jnp.where(is_usable, rotations.s, 1)
        w = add_scaled(before.z, -above[0], vectors.w_before)
        w = add_scaled(w, -above[1], vectors.w)
        w = scale(jnp.where(is_usable, 1 / jnp.where(is_usable, pivot, 1), 0), w)
        psi = -s * vectors.psi
        r = add_scaled(scale(s**2, vectors.r), c * psi, lanczos.v)
        rr = jnp.real(self.inner_product.dot(r, r))
        phi = jnp.where(jnp.isfinite(rr), c * vectors.psi / lanczos.unit, 0)
        return Step(
            x=add_scaled(x, phi, w),
            vectors=Vectors(r, lanczos, w, vectors.w, psi, rotations, largest),
            norm=jnp.sqrt(lax.stop_gradient(rr)),
            status=first_of(
                (~jnp.isfinite(pivot), Status.nonfinite),
                (~is_definite, Status.indefinite_preconditioner),
                (~is_regular, Status.breakdown),
            ),
            is_taken=is_usable,
        )


def _rotate(
    last: _Rotations,
    beta: Float[Array, ""],
    alpha: Float[Array, ""],
    below: Float[Array, ""],
) -> tuple[_Rotations, tuple[Float[Array, ""], Float[Array, ""]], Float[Array, ""]]:
    """Rotate the column (β, α, below) of T; what stands above the pivot, and it."""
    across = last.c_before * beta
    reduced = last.c * alpha - last.s * across
    above = (last.s_before * beta, last.s * alpha + last.c * across)
    pivot = root(reduced**2 + below**2)
    safe = jnp.where(pivot > 0, pivot, 1)
    return _Rotations(reduced / safe, below / safe, last.c, last.s), above, pivot
