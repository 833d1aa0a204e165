"""The conjugate gradient method, preconditioned.

For hermitian positive definite A and M: M. R. Hestenes and E. Stiefel, Methods of
conjugate gradients for solving linear systems, J. Res. NBS 49 (1952),
doi:10.6028/jres.049.044, in the form of Y. Saad, Iterative Methods for Sparse Linear
Systems, 2nd ed. (2003), Alg. 9.1.

Differs from the source:
1. A step begins with the preconditioner, not ends with it: a solve of s steps calls it
   s times, and the compiled program holds it once.
2. When the residual of the recurrence meets the target, the true one is computed; if
   that does not, the iteration restarts from it (residual replacement), and stops as
   stagnated when a restart does not halve it.
3. pᴴAp ≤ 0 and rᴴM⁻¹r ≤ 0 end the solve with a status.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ..operators._field import Field
from ._history import History, empty_history
from ._inner_product import InnerProduct, add_scaled, subtract, zeros_like
from ._solver import AbstractSolver, LinearSystem, Outcome
from ._status import RUNNING, Status, first_of
from ._stopping import require_settings


class _State(eqx.Module):
    x: Field
    r: Field
    p: Field
    rz: Float[Array, ""]  # rᴴM⁻¹r of the step before; infinite makes the next p = z
    norm: Float[Array, ""]  # of r
    true_norm: Float[Array, ""]  # of b - A x, when it was last computed
    num_steps: Int[Array, ""]
    num_confirmed: Int[Array, ""]
    status: Int[Array, ""]
    history: History


class CG(AbstractSolver):
    """The conjugate gradient method, for hermitian positive definite systems.

    In exact arithmetic it minimises the A-norm of the error over the Krylov space; the
    error falls at least as 2 ((√κ-1)/(√κ+1))^steps with κ the condition number of M⁻¹A.
    A preconditioner must be linear and hermitian positive definite too.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `indefinite_operator`, `indefinite_preconditioner`, or one of the general ones.

    Raises:
        ValueError: tolerances or max_steps out of range.

    Cost: per step 1 matvec, 1 preconditioner call, 2 reductions (3 with a
    preconditioner); 4 vectors besides b, 5 with a preconditioner.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((50,))
        >>> sol = kx.solve(A, jnp.ones(50), kx.solvers.CG(rtol=1e-10))
        >>> int(sol.stats.num_steps)
        25
    """

    rtol: float = 1e-5
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)

    def run(self, system: LinearSystem, carry: Any) -> Outcome:
        """Iterate; see the class."""
        del carry

        def run_recurrence(state: _State) -> _State:
            state = lax.while_loop(
                lambda s: (s.status == RUNNING) & (s.norm > system.target),
                lambda s: self._step(system, s),
                state,
            )
            return self._confirm(system, state)

        state = lax.while_loop(
            lambda s: s.status == RUNNING, run_recurrence, self._start(system)
        )
        uses_preconditioner = int(system.preconditioner is not None)
        return Outcome(
            value=state.x,
            status=state.status,
            num_steps=state.num_steps,
            num_matvecs=state.num_steps + state.num_confirmed,
            num_preconditioner_calls=state.num_steps * uses_preconditioner,
            history=state.history,
        )

    def _start(self, system: LinearSystem) -> _State:
        norm = self.inner_product.norm(system.r0)
        zero = jnp.zeros((), jnp.int32)
        infinite = jnp.full_like(norm, jnp.inf)
        history = empty_history(self.max_steps, norm.dtype)
        return _State(
            x=system.x0,
            r=system.r0,
            p=zeros_like(system.b),
            rz=infinite,
            norm=norm,
            true_norm=infinite,
            num_steps=zero,
            num_confirmed=zero,
            status=zero + RUNNING,
            history=history.record(zero, norm / system.scale),
        )

    def _step(self, system: LinearSystem, state: _State) -> _State:
        dot = self.inner_product.dot
        if system.preconditioner is None:
            z, rz = state.r, state.norm**2
        else:
            z = system.preconditioner(state.r)
            rz = jnp.real(dot(state.r, z))
        p = add_scaled(z, rz / state.rz, state.p)
        Ap = system.operator.mv(p)
        pAp = jnp.real(dot(p, Ap))
        # A zero step leaves x as it was when the direction cannot be used.
        is_usable = (pAp > 0) & (rz > 0) & jnp.isfinite(pAp)
        alpha = jnp.where(is_usable, rz / jnp.where(is_usable, pAp, 1), 0)
        r = add_scaled(state.r, -alpha, Ap)
        norm = self.inner_product.norm(r)
        num_steps = state.num_steps + is_usable.astype(jnp.int32)
        # Where a step overflows, x stays at the last finite one.
        alpha = jnp.where(jnp.isfinite(norm), alpha, 0)
        return _State(
            x=add_scaled(state.x, alpha, p),
            r=r,
            p=p,
            rz=rz,
            norm=norm,
            true_norm=state.true_norm,
            num_steps=num_steps,
            num_confirmed=state.num_confirmed,
            status=first_of(
                (~jnp.isfinite(pAp + rz + norm), Status.nonfinite),
                (rz <= 0, Status.indefinite_preconditioner),
                (pAp <= 0, Status.indefinite_operator),
                (
                    (num_steps >= self.max_steps) & (norm > system.target),
                    Status.max_steps_reached,
                ),
            ),
            history=state.history.record(num_steps, norm / system.scale),
        )

    def _confirm(self, system: LinearSystem, state: _State) -> _State:
        """Compare with the true residual; go on from it where it is too large."""
        r = subtract(system.b, system.operator.mv(state.x))
        norm = self.inner_product.norm(r)
        status = first_of(
            (state.status != RUNNING, state.status),
            (norm <= system.target, Status.converged),
            (~jnp.isfinite(norm), Status.nonfinite),
            (norm > state.true_norm / 2, Status.stagnated),
            (state.num_steps >= self.max_steps, Status.max_steps_reached),
        )
        return _State(
            x=state.x,
            r=r,
            p=state.p,
            rz=jnp.full_like(norm, jnp.inf),
            norm=norm,
            true_norm=norm,
            num_steps=state.num_steps,
            num_confirmed=state.num_confirmed + 1,
            status=status,
            history=state.history,
        )
