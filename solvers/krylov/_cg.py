"""The conjugate gradient method, preconditioned.

For hermitian positive definite A and M: M. R. Hestenes and E. Stiefel, Methods of
conjugate gradients for solving linear systems, J. Res. NBS 49 (1952),
doi:10.6028/jres.049.044, in the form of Y. Saad, Iterative Methods for Sparse Linear
Systems, 2nd ed. (2003), Alg. 9.1.

Differs from the source:
1. A step begins with the preconditioner, not ends with it: a solve of s steps calls it
   s times, and the compiled program holds it once.
2. Residual replacement: _recurrence.py.
3. With `single_reduction`, another recurrence: _chronopoulos_gear.py.
4. pᴴAp ≤ 0 and rᴴM⁻¹r ≤ 0 end the solve with a status.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float
from typing_extensions import override

from ...operators._arguments import require_flag
from ...operators._arithmetic import add_scaled, zeros_like
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import AbstractRecurrence, Step
from ..core._solver import LinearSystem
from ..core._status import Status, first_of
from ..core._stopping import as_max_steps, require_settings
from . import _chronopoulos_gear as chronopoulos_gear


class _Vectors(eqx.Module):
    r: Field
    p: Field
    rr: Float[Array, ""]  # rᴴr
    rz: Float[Array, ""]  # rᴴM⁻¹r of the step before; infinite makes the next p = z


class CG(AbstractRecurrence):
    """The conjugate gradient method, for hermitian positive definite systems.

    In exact arithmetic it minimises the A-norm of the error over the Krylov space; the
    error falls at least as 2 ((√κ-1)/(√κ+1))^steps with κ the condition number of M⁻¹A.
    A preconditioner must be linear and hermitian positive definite too.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of steps.
        single_reduction: make all inner products of a step in one reduction, at the
            cost of one vector and one product more. For fields that are spread over
            devices, where each reduction waits for all of them.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `diverged`, `indefinite_operator`, `indefinite_preconditioner`, or one of
        the general ones.

    Raises:
        ValueError: tolerances or max_steps out of range.

    Cost: per step 1 matvec, 1 preconditioner call, 2 reductions (3 with a
    preconditioner); 5 vectors besides b, 6 with a preconditioner. With
    `single_reduction` 1 reduction, and 1 matvec and 1 preconditioner call more per
    solve; 7 vectors, 9 with a preconditioner.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((50,))
        >>> sol = kx.solve(A, jnp.ones(50), kx.solvers.CG(rtol=1e-10))
        >>> int(sol.stats.num_steps)
        25

    References:
        M. R. Hestenes, E. Stiefel, J. Res. NBS 49 (1952), doi:10.6028/jres.049.044.
        A. T. Chronopoulos, C. W. Gear, J. Comput. Appl. Math. 25 (1989),
        doi:10.1016/0377-0427(89)90045-9.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    single_reduction: bool = eqx.field(static=True, default=False)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        require_flag(self.single_reduction, "single_reduction")

    @property
    @override
    def matvecs_per_begin(self) -> int:
        """One with a single reduction, which looks ahead by a product."""
        return int(self.single_reduction)

    @property
    @override
    def calls_per_begin(self) -> int:
        """As many as products."""
        return int(self.single_reduction)

    @override
    def begin(self, system: LinearSystem, r: Field) -> Any:
        """Start from the steepest descent direction."""
        if self.single_reduction:
            return chronopoulos_gear.begin(system, r, self.inner_product)
        rr = jnp.real(self.inner_product.dot(r, r))
        return _Vectors(r, zeros_like(r), rr, jnp.full_like(rr, jnp.inf))

    @override
    def step(self, system: LinearSystem, x: Field, vectors: Any) -> Step:
        """Minimise the error along a direction conjugate to those before it."""
        if self.single_reduction:
            return chronopoulos_gear.step(system, x, vectors, self.inner_product)
        dot = self.inner_product.dot
        r = vectors.r
        if system.preconditioner is None:
            z, rz = r, vectors.rr
        else:
            z = system.preconditioner(r)
            rz = jnp.real(dot(r, z))
        # Steps that are unrolled go on after the residual is zero.
        beta = jnp.where(
            vectors.rz > 0, rz / jnp.where(vectors.rz > 0, vectors.rz, 1), 0
        )
        p = add_scaled(z, beta, vectors.p)
        Ap = system.operator.mv(p)
        pAp = jnp.real(dot(p, Ap))
        # A zero step leaves x as it was when the direction cannot be used.
        is_usable = (pAp > 0) & (rz > 0) & jnp.isfinite(pAp)
        alpha = jnp.where(is_usable, rz / jnp.where(is_usable, pAp, 1), 0)
        r = add_scaled(r, -alpha, Ap)
        rr = jnp.real(dot(r, r))
        # Where a step overflows, x stays at the last finite one.
        is_finite = jnp.isfinite(rr)
        return Step(
            x=add_scaled(x, jnp.where(is_finite, alpha, 0), p),
            vectors=_Vectors(r, p, rr, rz),
            norm=jnp.sqrt(lax.stop_gradient(rr)),
            status=first_of(
                (~jnp.isfinite(pAp + rz), Status.nonfinite),
                (rz <= 0, Status.indefinite_preconditioner),
                (pAp <= 0, Status.indefinite_operator),
            ),
            is_taken=is_usable,
        )
