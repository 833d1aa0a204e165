"""Recycling MINRES: minimal residuals beside a space that one solve hands to the next.

With a preconditioner M⁻¹ and the recycled pair A U = C, CᴴM⁻¹C = I, the projector
P = I - C CᴴM⁻¹ is orthogonal in the M⁻¹ inner product, and P A M⁻¹ is hermitian in it
on the range of P. The solution is

    x = x₀ + U CᴴM⁻¹r₀ + (I - U CᴴM⁻¹A) e,    P A e = P r₀,

where e is found by MINRES: its residual is that of x, of which U and the Krylov space
together minimise the M⁻¹-norm. S. Wang, E. de Sturler, G. H. Paulino, Large-scale
topology optimization using preconditioned Krylov subspace methods with recycling, Int.
J. Numer. Methods Eng. 69 (2007), doi:10.1002/nme.1798. How the next space is chosen:
_lanczos_window.py.

Differs from the paper:
1. The preconditioner is not split: C is orthonormal in the M⁻¹ inner product.
2. Directions are freed of their part along U once, at the end, and not in each step.
3. A system after the first chooses its space from the first l Lanczos vectors alone.
   All of them took as many steps (Helmholtz, 2304 unknowns, k = 20 and 30, l = 60: of
   120 and 80 steps within 3).
4. Lanczos vectors lose their orthogonality to C only as fast as the residual falls, and
   are not projected again. The residual is: the true one is computed where that of the
   recurrence meets the target, and if it does not, all begins anew from it.
"""

from dataclasses import replace
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from typing_extensions import override

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arithmetic import add, select, zeros_like
from ...operators._control_flow import cond, while_loop
from ...operators._field import Field, Structure
from ..core._inner_product import InnerProduct
from ..core._recurrence import RecurrenceState, confirm, is_unconfirmed
from ..core._residual import true_residual
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status
from ..core._stopping import as_max_steps, require_settings
from ..krylov._minres import MINRES
from ._deflated_minres import DeflatedMINRES
from ._deflation_pair import DeflationPair, renew
from ._lanczos_window import gather, next_window
from ._recycle_space import RecycleSpace, empty_space, require_choice, require_counts

Refresh = Literal["system", "never"]


class _State(eqx.Module):
    """Between steps."""

    recurrence: RecurrenceState  # its x is e
    x: Field  # without what comes of e
    pair: DeflationPair  # that deflates
    kept: DeflationPair
    is_warm: Bool[Array, ""]  # whether there is something to deflate
    num_products: Int[Array, ""]  # besides those of the steps
    num_calls: Int[Array, ""]

    # `Any`: `Batched` replaces these, and `eqx.tree_at` puts markers in their place.
    @property
    def status(self) -> Any:
        """The status of MINRES."""
        return self.recurrence.status

    @property
    def num_steps(self) -> Any:
        """The number of steps of MINRES."""
        return self.recurrence.num_steps


class RecycledMINRES(AbstractSolver):
    """MINRES with a recycled subspace, for sequences of hermitian systems.

    Give each solve the `carry` of the one before: the directions of the smallest
    eigenvalues, of either sign, are then taken out of the next system. Without a carry
    it is MINRES, and gathers what it finds. It pays on indefinite systems, where a few
    small eigenvalues cost most of the steps; on definite ones `DeflatedCG` makes
    cheaper steps. A preconditioner must be linear and hermitian positive definite; with
    one, the residual over U and the Krylov space is minimised in the M⁻¹-norm.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        num_recycled: k, the number of vectors handed on.
        num_directions: l, out of how many Lanczos vectors of a system the next space is
            chosen, beside those of the last one. The first system of a sequence chooses
            after every l steps.
        refresh: when the space is chosen anew: with every "system", or "never" after
            the first one of a sequence.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: `carry`, a `RecycleSpace`, as that of `GCRODR` with as many
        vectors; status as from `MINRES`.

    Raises:
        ValueError: tolerances or counts out of range, an unknown refresh; a complex
            operator that is promised to be symmetric but not hermitian.

    Cost: per step that of MINRES and 2 passes over k vectors; per system k + 1 matvecs
    more, and k preconditioner calls, none for the first of a sequence; per choice 1
    hermitian eigenproblem of size k + l. 4k + l + 3 vectors, 8k + 2l + 6 with a
    preconditioner, for a moment 4k more, and those of MINRES.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Helmholtz(jnp.ones(300), 0.01), jnp.ones(300)
        >>> solver = kx.solvers.RecycledMINRES(rtol=1e-8, num_recycled=10)
        >>> first = kx.solve(A, b, solver)
        >>> second = kx.solve(1.1 * A, b[::-1], solver, carry=first.carry)
        >>> bool(second.stats.num_steps < first.stats.num_steps)
        True

    References:
        S. Wang, E. de Sturler, G. H. Paulino, Int. J. Numer. Methods Eng. 69 (2007),
        doi:10.1002/nme.1798.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    num_recycled: int = eqx.field(static=True, default=20)
    num_directions: int = eqx.field(static=True, default=40)
    refresh: Refresh = eqx.field(static=True, default="system")
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        require_counts(self, "MINRES")
        require_choice(self, "refresh", Refresh)

    @property
    @override
    def has_carry(self) -> bool:
        return True

    @override
    def initial_carry(self, structure: Structure) -> RecycleSpace:
        return empty_space(structure, self.num_recycled)

    @override
    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> AbstractOperator | None:
        # Refuses what is known not to be hermitian.
        return self._minres.prepare(A, preconditioner)

    @override
    def start(self, system: LinearSystem, carry: RecycleSpace) -> _State:
        pair = renew(system, carry, self.inner_product)
        is_met = self.inner_product.norm(system.r0) <= system.target
        x, r = pair.deflate(system.x0, system.r0, is_met, self.inner_product)
        num_products = jnp.where(carry.num_vectors > 0, self.num_recycled, 0)
        num_products = num_products.astype(jnp.int32)
        return _State(
            recurrence=self._deflated(pair).start(system.restarted(r), None),
            x=x,
            pair=pair,
            kept=pair,
            is_warm=pair.num_vectors > 0,
            num_products=num_products,
            num_calls=num_products * int(system.preconditioner is not None),
        )

    @override
    def advance(self, system: LinearSystem, state: _State, until: Any) -> _State:
        deflated = self._deflated(state.pair)

        def is_stepping(s: _State) -> Bool[Array, ""]:
            is_running = (s.status == RUNNING) & (s.recurrence.norm > system.target)
            return is_running & (s.num_steps < until)

        def is_open(s: _State) -> Bool[Array, ""]:
            return is_unconfirmed(system, s.recurrence)

        def is_full(s: _State) -> Bool[Array, ""]:
            return ~s.is_warm & ~s.recurrence.vectors.window.is_recording

        def step(s: _State) -> _State:
            after = deflated._advance_once(system, s.recurrence)
            return eqx.tree_at(lambda s: s.recurrence, s, after)

        def run_window(s: _State) -> _State:
            s = while_loop(lambda s: is_stepping(s) & ~is_full(s), step, s)
            s = cond(is_open(s), lambda s: self._confirm(system, s), lambda s: s, s)
            return cond(is_full(s), self._next_window, lambda s: s, s)

        return while_loop(lambda s: is_stepping(s) | is_open(s), run_window, state)

    @override
    def finish(self, system: LinearSystem, state: _State) -> Outcome:
        has_converged = state.status == Status.converged
        state = cond(
            has_converged, lambda s: s, lambda s: self._update_x(system, s), state
        )
        recurrence = self._deflated(state.pair)._outcome(system, state.recurrence)
        # Its norm is above that of b: zero is closer.
        has_diverged = state.status == Status.diverged
        return Outcome(
            value=select(has_diverged, zeros_like(state.x), state.x),
            residual=recurrence.residual,
            is_certified=has_converged,
            status=recurrence.status,
            num_steps=recurrence.num_steps,
            num_matvecs=recurrence.num_matvecs + state.num_products,
            num_preconditioner_calls=(
                recurrence.num_preconditioner_calls + state.num_calls
            ),
            history=recurrence.history,
            carry=self._next_pair(state).as_space(self.inner_product),
        )

    @property
    def _minres(self) -> MINRES:
        # The tolerances are in the system's target.
        return MINRES(max_steps=self.max_steps, inner_product=self.inner_product)

    def _deflated(self, pair: DeflationPair) -> DeflatedMINRES:
        return DeflatedMINRES(
            minres=self._minres,
            pair=pair,
            num_directions=self.num_directions,
            max_steps=self.max_steps,
            inner_product=self.inner_product,
        )

    def _confirm(self, system: LinearSystem, state: _State) -> _State:
        """Compare with the true residual; go on from it where it is too large."""
        state = self._update_x(system, state)
        r = true_residual(system, state.x)
        norm = self.inner_product.norm(r)
        confirmed, is_replaced = confirm(system, state.recurrence, norm, self.max_steps)
        x, vectors, left = cond(
            is_replaced,
            lambda: self._begin_again(system, state, r),
            lambda: (state.x, confirmed.vectors, confirmed.norm),
        )
        confirmed = replace(confirmed, vectors=vectors, norm=left)
        return replace(state, x=x, recurrence=confirmed)

    def _update_x(self, system: LinearSystem, state: _State) -> _State:
        """Add (I - U CᴴM⁻¹A) e to x; e is zero then."""
        e = state.recurrence.x

        def deflated() -> Field:
            Ae = system.operator.mv(e)
            return state.pair.project_direction(e, Ae, self.inner_product)

        x = add(state.x, cond(state.is_warm, deflated, lambda: e))
        num_products = state.num_products + state.is_warm.astype(jnp.int32)
        return eqx.tree_at(
            lambda s: (s.x, s.recurrence.x, s.num_products),
            state,
            (x, zeros_like(e), num_products),
        )

    def _begin_again(
        self, system: LinearSystem, state: _State, r: Field
    ) -> tuple[Field, Any, Float[Array, ""]]:
        """Deflate the residual r of x; return x, the vectors, and what is left of r."""
        never = jnp.zeros((), bool)
        x, r = state.pair.deflate(state.x, r, never, self.inner_product)
        deflated, vectors = self._deflated(state.pair), state.recurrence.vectors
        vectors = deflated.begin_again(system.restarted(r), r, vectors)
        return x, vectors, self.inner_product.norm(r)

    def _next_window(self, state: _State) -> _State:
        """Choose from a full window of a first system, and open the next one."""
        window = next_window(state.recurrence.vectors.window)
        return eqx.tree_at(
            lambda s: (s.kept, s.recurrence.vectors.window),
            state,
            (self._next_pair(state), window),
        )

    def _next_pair(self, state: _State) -> DeflationPair:
        """What to keep, with what the window holds, by the rule of `refresh`."""
        window = state.recurrence.vectors.window
        is_due = window.num_columns > 0
        if self.refresh == "never":
            is_due = is_due & ~state.is_warm
        return cond(
            is_due,
            lambda: gather(state.kept, window, self.inner_product),
            lambda: state.kept,
        )
