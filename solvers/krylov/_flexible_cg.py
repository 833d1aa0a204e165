"""The flexible conjugate gradient method, whose preconditioner may change.

Y. Notay, Flexible conjugate gradients, SIAM J. Sci. Comput. 22 (2000),
doi:10.1137/S1064827599362314, Alg. 2.1: the new direction is made conjugate to the
last m directions explicitly,

    p = z - Σ_j (p_jᴴAz / p_jᴴAp_j) p_j,    z = M⁻¹r,    α = pᴴr / pᴴAp.

Differs from the paper:
1. The last m directions stay (a ring), where the paper drops all but the last one when
   m + 1 are held; m = 1 is the same in both, the Polak-Ribière form.
2. Residual replacement: _recurrence.py.
3. Where the preconditioner asks for it, CG runs beside: _beside_cg.py.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact, Int
from typing_extensions import override

from ...operators._arguments import require_count
from ...operators._arithmetic import add_scaled, combine, subtract
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import AbstractRecurrence, Step
from ..core._solver import LinearSystem
from ..core._status import Status, first_of
from ..core._stopping import as_max_steps, require_settings
from . import _beside_cg as beside_cg
from ._arnoldi_cycle import set_row
from ._beside_cg import is_safeguarded


class FlexibleVectors(eqx.Module):
    """The residual, and the last directions."""

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
            is the Polak-Ribière form, enough where the preconditioner changes little;
            0 is preconditioned steepest descent.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `diverged`, `indefinite_operator`, `indefinite_preconditioner` (a residual is
        orthogonal to what the preconditioner makes of it, as of a network that returns
        zero: see `conjugate_directions.Safeguarded`), or one of the general ones.

    Raises:
        ValueError: a setting out of range.

    Cost: per step 1 matvec, 1 preconditioner call, 3 reductions and 2 products with a
    block of m vectors; 2m + 5 vectors besides b. Beside CG, 2 matvecs, 6 reductions and
    4 vectors more.

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
        require_count(self.truncation, "truncation", least=0, hint=hint)

    @property
    @override
    def is_flexible(self) -> bool:
        """True, since directions are made conjugate explicitly."""
        return True

    @override
    def matvecs_in_step(self, system: LinearSystem) -> int:
        return 2 if is_safeguarded(system) else 1

    @override
    def begin(self, system: LinearSystem, r: Field) -> Any:
        """Start without directions."""
        m = max(1, self.truncation)
        rows = jax.tree.map(lambda a: jnp.zeros((m, *a.shape), a.dtype), r)
        ones = jnp.ones((m,), system.target.dtype)
        vectors = FlexibleVectors(r, rows, rows, ones, jnp.zeros((), jnp.int32))
        if is_safeguarded(system):
            return beside_cg.begin(system, vectors, self.inner_product)
        return vectors

    @override
    def step(self, system: LinearSystem, x: Field, vectors: Any) -> Step:
        """Minimise the error along a direction conjugate to the last m."""
        if is_safeguarded(system):
            return beside_cg.step(system, x, vectors, self._search, self.inner_product)
        alpha, p, step = self._search(system, vectors)
        return replace(step, x=add_scaled(x, alpha, p))

    def _search(
        self, system: LinearSystem, vectors: FlexibleVectors
    ) -> tuple[Inexact[Array, ""], Field, Step]:
        """α, p, and the step from zero, without α p."""
        r, P, AP = vectors.r, vectors.P, vectors.AP
        z = r if system.preconditioner is None else system.preconditioner(r)
        overlaps = self.inner_product.block_dot(AP, z)
        overlaps = overlaps / vectors.pAp.astype(overlaps.dtype)
        p = subtract(z, combine(overlaps, P))
        Ap = system.operator.mv(p)
        pAp, pr = self.inner_product.dots((p, Ap), (p, r))
        pAp = jnp.real(pAp)
        # A zero step leaves x as it was when the direction cannot be used.
        is_usable = (pAp > 0) & (pr != 0) & jnp.isfinite(pAp)
        safe = jnp.where(is_usable, pAp, 1)
        alpha = jnp.where(is_usable, pr / safe.astype(pr.dtype), 0)
        r = add_scaled(r, -alpha, Ap)
        rr = jnp.real(self.inner_product.dot(r, r))
        step = Step(
            x=None,
            vectors=self._with_direction(vectors, r, p, Ap, safe),
            norm=jnp.sqrt(lax.stop_gradient(rr)),
            status=first_of(
                (~jnp.isfinite(pAp + jnp.abs(pr)), Status.nonfinite),
                (pr == 0, Status.indefinite_preconditioner),
                (pAp <= 0, Status.indefinite_operator),
            ),
            is_taken=is_usable,
        )
        # Where a step overflows, x stays at the last finite one.
        return jnp.where(jnp.isfinite(rr), alpha, 0), p, step

    def _with_direction(
        self,
        vectors: FlexibleVectors,
        r: Field,
        p: Field,
        Ap: Field,
        pAp: Float[Array, ""],
    ) -> FlexibleVectors:
        """The vectors with the new residual, and p in the place of the oldest one."""
        if self.truncation == 0:
            return replace(vectors, r=r)
        j = vectors.place
        return FlexibleVectors(
            r,
            set_row(vectors.P, j, p),
            set_row(vectors.AP, j, Ap),
            lax.dynamic_update_index_in_dim(vectors.pAp, pAp, j, 0),
            (j + 1) % self.truncation,
        )
