"""The flexible conjugate gradient method, whose preconditioner may change.

Y. Notay, Flexible conjugate gradients, SIAM J. Sci. Comput. 22 (2000),
doi:10.1137/S1064827599362314, Alg. 2.1: the new direction is made conjugate to the
last m directions explicitly,

    p = z - Σ_j (p_jᴴAz / p_jᴴAp_j) p_j,    z = M⁻¹r,    α = pᴴr / pᴴAp.

Differs from the paper:
1. The last m directions stay (a ring), where the paper drops all but the last one when
   m + 1 are held; m = 1 is the same in both, the Polak-Ribière form.
2. Residual replacement: _recurrence.py.
3. Where the preconditioner returns A z too, A p follows by the same recurrence.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int
from typing_extensions import override

from ...operators._arguments import require_count
from ...operators._arithmetic import add_scaled, combine, subtract
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import AbstractRecurrence, Step
from ..core._solver import LinearSystem
from ..core._status import Status, first_of
from ..core._stopping import as_max_steps, require_settings
from ._arnoldi_cycle import set_row


class _Vectors(eqx.Module):
    r: Field
    P: Field  # m rows, the last directions; zero where there is none yet
    AP: Field
    pAp: Float[Array, " m"]
    place: Int[Array, ""]  # of the next direction in the ring


class FlexibleCG(AbstractRecurrence):
    """Flexible CG, for hermitian positive definite systems.

    As `CG`, but the preconditioner may be nonlinear or change from step to step, such
    as an inner iteration or a learned map. With a linear one it makes the iterates of
    CG. Each step reduces the A-norm of the error, whatever the preconditioner returns
    that is not orthogonal to the residual; its sign and size do not matter.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        truncation: m, the number of directions that a new one is made conjugate to; 1
            is the Polak-Ribière form, enough where the preconditioner changes little.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `diverged`, `indefinite_operator`, `indefinite_preconditioner` (a residual is
        orthogonal to what the preconditioner makes of it), or one of the general ones.

    Raises:
        ValueError: a setting out of range.

    Cost: per step 1 matvec, or those of a preconditioner that knows A z, 1
    preconditioner call, 3 reductions and 2 products with a block of m vectors; 2m + 5
    vectors besides b.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((50,))
        >>> solver = kx.solvers.FlexibleCG(rtol=1e-10)
        >>> int(kx.solve(A, jnp.ones(50), solver).stats.num_steps)
        25

    References:
        Y. Notay, SIAM J. Sci. Comput. 22 (2000), doi:10.1137/S1064827599362314.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    truncation: int = eqx.field(static=True, default=1)
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        hint = "; it counts the directions that a new one is made conjugate to"
        require_count(self.truncation, "truncation", hint=hint)

    @property
    @override
    def is_flexible(self) -> bool:
        """True, since directions are made conjugate explicitly."""
        return True

    @override
    def matvecs_in_step(self, system: LinearSystem) -> int:
        M = system.preconditioner
        return max(1, 0 if M is None else M.num_products)

    @override
    def begin(self, system: LinearSystem, r: Field) -> _Vectors:
        """Start without directions."""
        m = self.truncation
        rows = jax.tree.map(lambda a: jnp.zeros((m, *a.shape), a.dtype), r)
        ones = jnp.ones((m,), system.target.dtype)
        return _Vectors(r, rows, rows, ones, jnp.zeros((), jnp.int32))

    @override
    def step(self, system: LinearSystem, x: Field, vectors: _Vectors) -> Step:
        """Minimise the error along a direction conjugate to the last m."""
        r, P, AP = vectors.r, vectors.P, vectors.AP
        M = system.preconditioner
        z, Az = (r, None) if M is None else M.with_product(r)
        overlaps = self.inner_product.block_dot(AP, z)
        overlaps = overlaps / vectors.pAp.astype(overlaps.dtype)
        p = subtract(z, combine(overlaps, P))
        if Az is None:
            Ap = system.operator.mv(p)
        else:
            Ap = subtract(Az, combine(overlaps, AP))
        pAp, pr = self.inner_product.dots((p, Ap), (p, r))
        pAp = jnp.real(pAp)
        # A zero step leaves x as it was when the direction cannot be used.
        is_usable = (pAp > 0) & (pr != 0) & jnp.isfinite(pAp)
        safe = jnp.where(is_usable, pAp, 1)
        alpha = jnp.where(is_usable, pr / safe.astype(pr.dtype), 0)
        r = add_scaled(r, -alpha, Ap)
        rr = jnp.real(self.inner_product.dot(r, r))
        # Where a step overflows, x stays at the last finite one.
        is_finite = jnp.isfinite(rr)
        j = vectors.place
        return Step(
            x=add_scaled(x, jnp.where(is_finite, alpha, 0), p),
            vectors=_Vectors(
                r,
                set_row(P, j, p),
                set_row(AP, j, Ap),
                lax.dynamic_update_index_in_dim(vectors.pAp, safe, j, 0),
                (j + 1) % self.truncation,
            ),
            norm=jnp.sqrt(lax.stop_gradient(rr)),
            status=first_of(
                (~jnp.isfinite(pAp + jnp.abs(pr)), Status.nonfinite),
                (pr == 0, Status.indefinite_preconditioner),
                (pAp <= 0, Status.indefinite_operator),
            ),
            is_taken=is_usable,
        )
