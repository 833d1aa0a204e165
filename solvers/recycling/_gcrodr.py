"""GCRO-DR: restarted GMRES that keeps a subspace between cycles and between systems.

With the recycled pair A U = C, CᴴC = I, a cycle builds V by Arnoldi steps with
(I - C Cᴴ) A M⁻¹, so that

    A [U D, M⁻¹V] = [C, V] Ḡ,    Ḡ = [[D, B], [0, H̄]],

minimises the residual over U and M⁻¹V together, and keeps the k most useful vectors of
that search space. M. L. Parks, E. de Sturler, G. Mackey, D. D. Johnson, S. Maiti, SIAM
J. Sci. Comput. 28 (2006), doi:10.1137/040607277, Appendix, Algorithm 2.
With k = 0 it is GMRES(m): Y. Saad, M. H. Schultz, SIAM J. Sci. Stat. Comput. 7 (1986),
doi:10.1137/0907058.

Differs from the paper:
1. C and V are one block W of m+1 rows, V starting at row `first`, the number of
   recycled vectors; the Gram-Schmidt process runs twice over the whole block, so that V
   cannot drift into C. A cold start has `first` = 0 and uses all m columns, in the same
   program.
2. Right preconditioning, with M⁻¹V stored, so that the residual is the true one, M may
   change between steps, and updating U needs no preconditioner calls.
3. The residual is recomputed as b - A x after every cycle and only that is trusted.
4. Subspaces are chosen by a hermitian eigenvalue problem by default:
   _recycle_selection.py.
5. A cycle that makes no progress drops the recycled space; without one the solve stops.
6. One product more per system measures A M⁻¹, in whose units the small problem is kept:
   its squares then neither overflow nor vanish, in float32 too.
7. A space that the next operator no longer shrinks is dropped, see _recycle_space.py.
8. Within a solve the recycled vectors stay in the first rows of the blocks that hold
   the others too, and their inner products are carried over from cycle to cycle: a new
   choice takes three products of matrices.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from typing_extensions import override

from ...operators._arguments import require_integer
from ...operators._arithmetic import add, select
from ...operators._control_flow import cond, while_loop
from ...operators._field import Field, Structure, structure_of
from ..core._history import History, history_from
from ..core._inner_product import InnerProduct
from ..core._residual import true_residual
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status, first_of
from ..core._stopping import as_max_steps, require_settings
from ..krylov._arnoldi_cycle import (
    Cycle,
    correction,
    is_stuck,
    measure_unit,
    run_cycle,
    start_cycle,
)
from ._cycle_rows import CycleRows, rows_from_space
from ._recycle_selection import Selection
from ._recycle_space import RecycleSpace, empty_space, renew, require_choice

Refresh = Literal["cycle", "system", "never"]


class _State(eqx.Module):
    """Between cycles."""

    x: Field
    r: Field
    norm: Float[Array, ""]
    rows: CycleRows
    is_first: Bool[Array, ""]  # of its sequence: it began without a recycled space
    unit: Float[Array, ""]  # in which A M⁻¹ is measured, a power of two
    num_steps: Int[Array, ""]
    num_matvecs: Int[Array, ""]
    status: Int[Array, ""]
    history: History


class GCRODR(AbstractSolver):
    """GMRES with a recycled subspace, for sequences of general square systems.

    Give each solve the `carry` of the one before. On a single system it is GMRES with
    deflated restarting. With `num_recycled=0` it is GMRES(restart). It pays on
    indefinite and nonsymmetric systems with weak preconditioners; for positive definite
    ones with a good preconditioner, CG is faster.

    The preconditioner acts from the right and may be nonlinear where vectors are
    recycled.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        restart: m, the number of search directions of a cycle, recycled ones included.
        num_recycled: k, at most m - 1; vectors kept between cycles and systems.
        selection: "svd" keeps the directions that A M⁻¹ shrinks most, by a hermitian
            eigenproblem of size m; "harmonic" the harmonic Ritz vectors of smallest
            modulus, as in the paper, by a general one (CPU and CUDA only).
        refresh: when the recycled space is chosen anew: after every "cycle", at the end
            of each "system", or "never"; the first system of a sequence does it after
            every cycle all the same.
        max_steps: bound on the number of Arnoldi steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: `carry`, a `RecycleSpace`; status `converged`,
        `max_steps_reached`, `stagnated`, `breakdown`, or one of the general ones.

    Raises:
        ValueError: restart not above num_recycled, or another setting out of range.

    A space that the next operator no longer shrinks is dropped: an unrelated system
    costs what it would cost alone, and one matvec.

    Cost: per step 1 matvec, 1 preconditioner call and 4 products with a block of m+1
    vectors; per cycle 1 matvec, and to choose the next space about as much as 10 steps;
    per system k + 2 matvecs more. 2m + 11k + 4 vectors besides b.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((300,)), jnp.ones(300)
        >>> solver = kx.solvers.GCRODR(rtol=1e-8, restart=30, num_recycled=10)
        >>> first = kx.solve(A, b, solver)
        >>> second = kx.solve(A, b[::-1], solver, carry=first.carry)
        >>> bool(second.stats.num_steps < first.stats.num_steps)
        True
    """

    rtol: float = 1e-5
    atol: float = 0.0
    restart: int = eqx.field(static=True, default=40)
    num_recycled: int = eqx.field(static=True, default=20)
    selection: Selection = eqx.field(static=True, default="svd")
    refresh: Refresh = eqx.field(static=True, default="cycle")
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        require_integer(self.restart, "restart")
        require_integer(self.num_recycled, "num_recycled")
        if not 0 <= self.num_recycled < self.restart:
            raise ValueError(
                "restart counts the recycled vectors too and must be above "
                f"num_recycled >= 0, got restart={self.restart} and num_recycled="
                f"{self.num_recycled}; for instance restart=40, num_recycled=20"
            )
        require_choice(self, "selection", Selection)
        require_choice(self, "refresh", Refresh)

    @property
    @override
    def is_flexible(self) -> bool:
        # M⁻¹V is stored where vectors are recycled.
        return self.num_recycled > 0

    @property
    @override
    def has_carry(self) -> bool:
        return True

    @override
    def initial_carry(self, structure: Structure) -> RecycleSpace | None:
        if self.num_recycled == 0:
            return None
        return empty_space(structure, self.num_recycled)

    @override
    def start(self, system: LinearSystem, carry: RecycleSpace | None) -> _State:
        norm = self.inner_product.norm(system.r0)
        zero = num_matvecs = jnp.zeros((), jnp.int32)
        space = empty_space(structure_of(system.b), self.num_recycled)
        unit = measure_unit(system, norm, self.inner_product)
        if carry is not None and self.num_recycled > 0:
            space, num_matvecs = cond(
                carry.num_vectors > 0,
                lambda: renew(system.operator, carry, self.inner_product),
                lambda: (space, zero),
            )
        return _State(
            x=system.x0,
            r=system.r0,
            norm=norm,
            rows=rows_from_space(space, self.restart, unit, self.inner_product),
            is_first=space.num_vectors == 0,
            unit=unit,
            num_steps=zero,
            num_matvecs=num_matvecs + 1,
            status=first_of((norm <= system.target, Status.converged)),
            history=history_from(norm / system.scale, self.max_steps),
        )

    @override
    def advance(self, system: LinearSystem, state: _State, until: Any) -> _State:
        # Whole cycles.
        return while_loop(
            lambda s: (s.status == RUNNING) & (s.num_steps < until),
            lambda s: self._cycle(system, s),
            state,
        )

    @override
    def finish(self, system: LinearSystem, state: _State) -> Outcome:
        # The preconditioner acts once to measure A M⁻¹, once per step, and for GMRES
        # once per cycle; the products of GMRES are one more, one per step and cycle.
        is_gmres = self.num_recycled == 0
        calls = state.num_matvecs if is_gmres else state.num_steps + 1
        return Outcome(
            value=state.x,
            residual=state.norm,
            is_certified=state.status == Status.converged,
            status=state.status,
            num_steps=state.num_steps,
            num_matvecs=state.num_matvecs,
            num_preconditioner_calls=calls * int(system.preconditioner is not None),
            history=state.history,
            carry=None if is_gmres else state.rows.as_space(state.unit),
        )

    def _cycle(self, system: LinearSystem, state: _State) -> _State:
        """Deflate, take Arnoldi steps, update x, and choose the next space."""
        x, cycle = self._deflated_cycle(state)
        cycle = run_cycle(system, cycle, self.max_steps, self.inner_product)
        x = add(x, correction(system, cycle))
        r = true_residual(system, x)
        norm = self.inner_product.norm(r)
        stuck = is_stuck(norm, state.norm, cycle.residual)
        is_plain = state.rows.num_vectors == 0
        status = first_of(
            (norm <= system.target, Status.converged),
            (~jnp.isfinite(norm), Status.nonfinite),
            (cycle.num_steps >= self.max_steps, Status.max_steps_reached),
            (stuck & cycle.is_exhausted & is_plain, Status.breakdown),
            (stuck & is_plain, Status.stagnated),
        )
        return _State(
            x=select(jnp.isfinite(norm), x, state.x),
            r=r,
            norm=norm,
            rows=self._next_rows(state, cycle, status, stuck),
            is_first=state.is_first,
            unit=state.unit,
            num_steps=cycle.num_steps,
            num_matvecs=state.num_matvecs + 1 + cycle.num_steps - state.num_steps,
            status=status,
            history=cycle.history,
        )

    def _deflated_cycle(self, state: _State) -> tuple[Field, Cycle]:
        """Minimise over U; return x, and the cycle that starts from its residual."""
        rows = state.rows
        x, r = rows.deflate(state.x, state.r, self.inner_product)
        cycle = start_cycle(
            r,
            W=rows.W,
            S=rows.S,
            diagonal=rows.diagonal(jnp.result_type(*jax.tree.leaves(r))),
            first=rows.num_vectors,
            unit=state.unit,
            num_steps=state.num_steps,
            history=state.history,
            inner_product=self.inner_product,
        )
        return x, cycle

    def _next_rows(
        self,
        state: _State,
        cycle: Cycle,
        status: Int[Array, ""],
        stuck: Bool[Array, ""],
    ) -> CycleRows:
        """The space for the next cycle or system, by the rule of `refresh`."""
        before = state.rows
        kept = CycleRows(cycle.W, cycle.S, before.Y, before.gram)
        if self.num_recycled == 0:
            return kept

        def chosen() -> CycleRows:
            return kept.chosen(cycle, self.selection, self.inner_product)

        if self.refresh == "cycle":
            after = chosen()
        else:
            is_due = state.is_first
            if self.refresh == "system":
                is_due = is_due | (status != RUNNING)
            after = cond(is_due, chosen, lambda: kept)
        # Without progress the space is of no use, but may serve the next system.
        nothing = jax.tree.map(jnp.zeros_like, before.gram)
        is_dropped = stuck & (status == RUNNING)
        gram = select(is_dropped, nothing, after.gram)
        return eqx.tree_at(lambda rows: rows.gram, after, gram)
