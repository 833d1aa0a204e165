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

from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._field import Field, Structure
from ..core._inner_product import (
    InnerProduct,
    add,
    combine,
    recombine,
    select,
    subtract,
    zeros_like,
)
from ..core._recurrence import AbstractRecurrence, RecurrenceState, Step
from ..core._residual import true_residual
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status, first_of
from ..core._stopping import require_settings
from ..krylov._minres import MINRES, Vectors
from ._lanczos_window import (
    DeflationPair,
    LanczosWindow,
    gather,
    next_window,
    open_window,
    record,
)
from ._recycle_space import (
    RecycleSpace,
    empty_space,
    orthonormalise_images,
    whitening,
)

Refresh = Literal["system", "never"]


class _Vectors(eqx.Module):
    minres: Vectors
    window: LanczosWindow


class _State(eqx.Module):
    """Between steps."""

    recurrence: RecurrenceState  # its x is e
    x: Field  # without what comes of e
    pair: DeflationPair  # that deflates
    kept: DeflationPair
    is_warm: Bool[Array, ""]  # whether there is something to deflate
    num_products: Int[Array, ""]  # besides those of the steps
    num_calls: Int[Array, ""]

    @property
    def status(self) -> Any:
        """That of MINRES; for `Batched`, which also replaces it, one for each lane."""
        return self.recurrence.status

    @property
    def num_steps(self) -> Any:
        """Those of MINRES, likewise."""
        return self.recurrence.num_steps


class _DeflatedMINRES(AbstractRecurrence):
    """MINRES for P A e = P r, which records its Lanczos vectors."""

    minres: MINRES
    pair: DeflationPair
    num_directions: int = eqx.field(static=True)
    rtol: float = 0.0
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    @property
    def calls_per_begin(self) -> int:
        """As MINRES."""
        return self.minres.calls_per_begin

    def begin(self, system: LinearSystem, r: Field) -> _Vectors:
        """Start the Lanczos recurrence, and a window with it."""
        minres = self.minres.begin(system, r)
        dtype = jnp.result_type(*jax.tree.leaves(r))
        window = open_window(minres.lanczos, self.pair, self.num_directions, dtype)
        return _Vectors(minres, window)

    def step(self, system: LinearSystem, x: Field, vectors: _Vectors) -> Step:
        """A step of MINRES, with the projected product."""
        before = vectors.minres
        Az = system.operator.mv(before.lanczos.z)
        PAz, along = lax.cond(
            self.pair.num_vectors > 0,
            lambda: self.pair.project(Az, self.inner_product),
            lambda: (Az, jnp.zeros_like(vectors.window.B[0])),
        )
        step = self.minres.step_along(system, x, before, PAz)
        window = record(
            vectors.window,
            before.lanczos,
            step.vectors.lanczos,
            along,
            step.is_taken,
        )
        return eqx.tree_at(lambda s: s.vectors, step, _Vectors(step.vectors, window))


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
    max_steps: int = eqx.field(static=True, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        for name in ("num_recycled", "num_directions"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}; without "
                    "recycling it is MINRES"
                )
        if self.refresh not in get_args(Refresh):
            raise ValueError(
                f"refresh must be one of {get_args(Refresh)}, got {self.refresh!r}"
            )

    @property
    def has_carry(self) -> bool:
        """The space is handed on."""
        return True

    def initial_carry(self, structure: Structure) -> RecycleSpace:
        """An empty recycle space, so that all solves share one compiled program."""
        return empty_space(structure, self.num_recycled)

    def prepare(
        self, A: AbstractLinearOperator, preconditioner: AbstractOperator | None
    ) -> AbstractOperator | None:
        """Refuse what is known not to be hermitian."""
        return self._minres.prepare(A, preconditioner)

    def start(self, system: LinearSystem, carry: RecycleSpace) -> _State:
        """Renew the pair for this operator, and solve in its span."""
        pair = self._renew(system, carry)
        is_met = self.inner_product.norm(system.r0) <= system.target
        x, r = self._deflate(pair, system.x0, system.r0, is_met)
        is_carried = carry.num_vectors > 0
        num_products = jnp.where(is_carried, self.num_recycled, 0).astype(jnp.int32)
        has_calls = system.preconditioner is not None
        return _State(
            recurrence=self._deflated(pair).start(_remaining(system, r), None),
            x=x,
            pair=pair,
            kept=pair,
            is_warm=pair.num_vectors > 0,
            num_products=num_products,
            num_calls=num_products * int(has_calls),
        )

    def advance(self, system: LinearSystem, state: _State, until: Any) -> _State:
        """Step, confirm what meets the target, and gather what was recorded."""
        deflated = self._deflated(state.pair)

        def is_stepping(s: _State) -> Bool[Array, ""]:
            is_running = (s.status == RUNNING) & (s.recurrence.norm > system.target)
            return is_running & (s.num_steps < until)

        def is_met(s: _State) -> Bool[Array, ""]:
            return (s.status == RUNNING) & (s.recurrence.norm <= system.target)

        def is_full(s: _State) -> Bool[Array, ""]:
            return ~s.is_warm & ~s.recurrence.vectors.window.is_recording

        def step(s: _State) -> _State:
            after = deflated._advance_once(system, s.recurrence)
            return eqx.tree_at(lambda s: s.recurrence, s, after)

        def run_window(s: _State) -> _State:
            s = lax.while_loop(lambda s: is_stepping(s) & ~is_full(s), step, s)
            s = lax.cond(is_met(s), lambda s: self._confirm(system, s), lambda s: s, s)
            return lax.cond(is_full(s), lambda s: self._emptied(s), lambda s: s, s)

        return lax.while_loop(lambda s: is_stepping(s) | is_met(s), run_window, state)

    def finish(self, system: LinearSystem, state: _State) -> Outcome:
        """Leave the deflated system, count the work, and hand on what was found."""
        has_converged = state.status == Status.converged
        state = lax.cond(
            has_converged, lambda s: s, lambda s: self._leave(system, s), state
        )
        recurrence = self._deflated(state.pair).finish(system, state.recurrence)
        kept = self._gathered(state)
        space = RecycleSpace(kept.U, kept.C, kept.MU, kept.num_vectors)
        return Outcome(
            value=state.x,
            residual=recurrence.residual,
            is_certified=has_converged,
            status=recurrence.status,
            num_steps=recurrence.num_steps,
            num_matvecs=recurrence.num_matvecs + state.num_products,
            num_preconditioner_calls=(
                recurrence.num_preconditioner_calls + state.num_calls
            ),
            history=recurrence.history,
            carry=orthonormalise_images(space, space.C, self.inner_product),
        )

    @property
    def _minres(self) -> MINRES:
        # The tolerances are in the system's target.
        return MINRES(max_steps=self.max_steps, inner_product=self.inner_product)

    def _deflated(self, pair: DeflationPair) -> _DeflatedMINRES:
        return _DeflatedMINRES(
            minres=self._minres,
            pair=pair,
            num_directions=self.num_directions,
            max_steps=self.max_steps,
            inner_product=self.inner_product,
        )

    def _renew(self, system: LinearSystem, carry: RecycleSpace) -> DeflationPair:
        """The pair of the carried space for this operator and preconditioner."""
        M = system.preconditioner
        zero = zeros_like(carry.U)
        dual = None if M is None else zero
        nothing = DeflationPair(zero, zero, dual, dual, jnp.zeros((), jnp.int32))

        def renewed() -> DeflationPair:
            U = self._beside_nullspace(system.operator, carry.U)
            Y = U if M is None else carry.Y
            space = RecycleSpace(U, U, Y, carry.num_vectors)
            images = system.operator.mm(U)
            space = orthonormalise_images(space, images, self.inner_product)
            pair = DeflationPair(space.U, space.C, None, None, space.num_vectors)
            if M is not None:
                pair = self._orthonormalise(space, jax.vmap(M)(space.C))
            # Of input that is not finite nothing may reach x.
            sound = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(pair)]
            return select(jnp.all(jnp.stack(sound)), pair, nothing)

        return lax.cond(carry.num_vectors > 0, renewed, lambda: nothing)

    def _beside_nullspace(self, A: AbstractLinearOperator, U: Field) -> Field:
        """Remove what rounding adds of null vectors; they look most worth keeping."""
        if A.nullspace is None:
            return U
        along = self.inner_product.gram(A.nullspace, U)
        return subtract(U, recombine(along, A.nullspace))

    def _orthonormalise(self, space: RecycleSpace, D: Field) -> DeflationPair:
        """The pair with CᴴM⁻¹C = I, of the space and D = M⁻¹C."""
        U, C, Y, num_vectors = space.U, space.C, space.Y, space.num_vectors
        # Once leaves rounding, as much as M is ill-conditioned on C.
        for _ in range(2):
            T, num_vectors = whitening(self.inner_product.gram(C, D))
            U, C, Y, D = (recombine(T, rows) for rows in (U, C, Y, D))
        return DeflationPair(U, C, Y, D, num_vectors)

    def _deflate(
        self, pair: DeflationPair, x: Field, r: Field, is_met: Bool[Array, ""]
    ) -> tuple[Field, Field]:
        """Minimise the residual over U, twice, to remove what rounding leaves."""
        for _ in range(2):
            along = self.inner_product.block_dot(pair.dual, r)
            along = jnp.where(is_met, 0, along)
            x = add(x, combine(along, pair.U))
            r = subtract(r, combine(along, pair.C))
        return x, r

    def _leave(self, system: LinearSystem, state: _State) -> _State:
        """Add to x what comes of e, which is zero then."""
        e = state.recurrence.x

        def freed() -> Field:
            Ae = system.operator.mv(e)
            along = self.inner_product.block_dot(state.pair.dual, Ae)
            return subtract(e, combine(along, state.pair.U))

        x = add(state.x, lax.cond(state.is_warm, freed, lambda: e))
        num_products = state.num_products + state.is_warm.astype(jnp.int32)
        return eqx.tree_at(
            lambda s: (s.x, s.recurrence.x, s.num_products),
            state,
            (x, zeros_like(e), num_products),
        )

    def _confirm(self, system: LinearSystem, state: _State) -> _State:
        """Compare with the true residual; go on from it where it is too large."""
        state = self._leave(system, state)
        before = state.recurrence
        r = true_residual(system, state.x)
        norm = self.inner_product.norm(r)
        status = first_of(
            (norm <= system.target, Status.converged),
            (~jnp.isfinite(norm), Status.nonfinite),
            (norm > before.true_norm / 2, Status.stagnated),
            (before.num_steps >= self.max_steps, Status.max_steps_reached),
        )
        goes_on = status == RUNNING

        def anew() -> tuple[Field, Any, Any]:
            x, rest = self._deflate(state.pair, state.x, r, ~goes_on)
            minres = self._minres.begin(_remaining(system, rest), rest)
            closed = eqx.tree_at(
                lambda w: w.is_open, before.vectors.window, jnp.zeros((), bool)
            )
            return x, _Vectors(minres, closed), self.inner_product.norm(rest)

        x, vectors, left = lax.cond(
            goes_on, anew, lambda: (state.x, before.vectors, norm)
        )
        return eqx.tree_at(
            lambda s: (
                s.x,
                s.recurrence.vectors,
                s.recurrence.norm,
                s.recurrence.true_norm,
                s.recurrence.num_begun,
                s.recurrence.num_confirmed,
                s.recurrence.status,
            ),
            state,
            (
                x,
                vectors,
                left,
                norm,
                before.num_begun + goes_on.astype(jnp.int32),
                before.num_confirmed + 1,
                status,
            ),
        )

    def _emptied(self, state: _State) -> _State:
        """Gather what a window of a first system holds, and make room."""
        window = next_window(state.recurrence.vectors.window)
        return eqx.tree_at(
            lambda s: (s.kept, s.recurrence.vectors.window),
            state,
            (self._gathered(state), window),
        )

    def _gathered(self, state: _State) -> DeflationPair:
        window = state.recurrence.vectors.window
        is_due = window.num_columns > 0
        if self.refresh == "never":
            is_due = is_due & ~state.is_warm
        return lax.cond(
            is_due,
            lambda: gather(state.kept, window, self.inner_product),
            lambda: state.kept,
        )


def _remaining(system: LinearSystem, r: Field) -> LinearSystem:
    """The system of what is still to be found, from zero."""
    return LinearSystem(
        operator=system.operator,
        preconditioner=system.preconditioner,
        b=r,
        x0=zeros_like(r),
        r0=r,
        target=system.target,
        scale=system.scale,
    )
