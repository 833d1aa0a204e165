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
"""

from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..operators._field import Field, Structure, structure_of
from ._arnoldi_cycle import (
    Cycle,
    correction,
    extend_rows,
    is_stuck,
    measure_unit,
    run_cycle,
    start_cycle,
)
from ._history import History, empty_history
from ._inner_product import InnerProduct, add, combine, select, subtract
from ._recycle_selection import Selection, chosen_space
from ._recycle_space import (
    RecycleSpace,
    ScaledSpace,
    empty_space,
    orthonormalise_images,
    scaled_space,
    with_units,
)
from ._residual import true_residual
from ._solver import AbstractSolver, LinearSystem, Outcome
from ._status import RUNNING, Status, first_of
from ._stopping import require_settings

Refresh = Literal["cycle", "system", "never"]


class _State(eqx.Module):
    """Between cycles."""

    x: Field
    r: Field
    norm: Float[Array, ""]
    space: RecycleSpace
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

    Cost: per step 1 matvec, 1 preconditioner call and 4 products with a block of m+1
    vectors; per cycle 1 matvec; per system k + 1 matvecs more. 2m + 11k + 4 vectors
    besides b.

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
    max_steps: int = eqx.field(static=True, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        if not 0 <= self.num_recycled < self.restart:
            raise ValueError(
                "restart counts the recycled vectors too and must be above "
                f"num_recycled >= 0, got restart={self.restart} and num_recycled="
                f"{self.num_recycled}; for instance restart=40, num_recycled=20"
            )
        for name, kind in (("selection", Selection), ("refresh", Refresh)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name} must be one of {get_args(kind)}, got "
                    f"{getattr(self, name)!r}"
                )

    @property
    def is_flexible(self) -> bool:
        """True where vectors are recycled, since M⁻¹V is then stored."""
        return self.num_recycled > 0

    @property
    def has_carry(self) -> bool:
        """The space is handed on."""
        return True

    def initial_carry(self, structure: Structure) -> RecycleSpace | None:
        """An empty recycle space, so that all solves share one compiled program."""
        if self.num_recycled == 0:
            return None
        return empty_space(structure, self.num_recycled)

    def start(self, system: LinearSystem, carry: RecycleSpace | None) -> _State:
        """Renew the recycled pair for this operator."""
        norm = self.inner_product.norm(system.r0)
        zero = num_matvecs = jnp.zeros((), jnp.int32)
        history = empty_history(self.max_steps, norm.dtype)
        space = empty_space(structure_of(system.b), self.num_recycled)
        unit = measure_unit(system, norm, self.inner_product)
        if carry is not None and self.num_recycled > 0:
            num_matvecs = jnp.where(carry.num_vectors > 0, self.num_recycled, 0)
            space = lax.cond(
                carry.num_vectors > 0, lambda: self._renew(system, carry), lambda: space
            )
        return _State(
            x=system.x0,
            r=system.r0,
            norm=norm,
            space=with_units(space, unit),
            is_first=space.num_vectors == 0,
            unit=unit,
            num_steps=zero,
            num_matvecs=num_matvecs.astype(jnp.int32) + 1,
            status=first_of((norm <= system.target, Status.converged)),
            history=history.record(zero, norm / system.scale),
        )

    def advance(self, system: LinearSystem, state: _State, until: Any) -> _State:
        """Take whole cycles."""
        return lax.while_loop(
            lambda s: (s.status == RUNNING) & (s.num_steps < until),
            lambda s: self._cycle(system, s),
            state,
        )

    def finish(self, system: LinearSystem, state: _State) -> Outcome:
        """Count the work and hand on the space."""
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
            carry=None if is_gmres else with_units(state.space, 1 / state.unit),
        )

    def _renew(self, system: LinearSystem, carry: RecycleSpace) -> RecycleSpace:
        """The carried vectors with the pair A U = C of the new operator."""
        images = system.operator.mm(carry.U)
        return orthonormalise_images(carry, images, self.inner_product)

    def _cycle(self, system: LinearSystem, state: _State) -> _State:
        """Deflate, take Arnoldi steps, update x, and choose the next space."""
        space, first = state.space, state.space.num_vectors
        x, r = state.x, state.r
        if self.num_recycled > 0:
            along = self.inner_product.block_dot(space.C, r)
            x = add(x, combine(along, space.U))
            r = subtract(r, combine(along, space.C))
        scaled = scaled_space(space, self.inner_product)
        cycle = self._start_cycle(state, scaled, r)
        cycle = run_cycle(system, cycle, self.max_steps, self.inner_product)
        x = add(x, correction(system, cycle))
        r = true_residual(system, x)
        norm = self.inner_product.norm(r)
        stuck = is_stuck(norm, state.norm, cycle.residual)
        status = first_of(
            (norm <= system.target, Status.converged),
            (~jnp.isfinite(norm), Status.nonfinite),
            (cycle.num_steps >= self.max_steps, Status.max_steps_reached),
            (stuck & cycle.is_exhausted & (first == 0), Status.breakdown),
            (stuck & (first == 0), Status.stagnated),
        )
        is_finite = jnp.isfinite(norm)
        return _State(
            x=select(is_finite, x, state.x),
            r=r,
            norm=norm,
            space=self._next_space(state, scaled, cycle, status, stuck),
            is_first=state.is_first,
            unit=state.unit,
            num_steps=cycle.num_steps,
            num_matvecs=state.num_matvecs + 1 + cycle.num_steps - state.num_steps,
            status=status,
            history=cycle.history,
        )

    def _start_cycle(self, state: _State, scaled: ScaledSpace, r: Field) -> Cycle:
        keeps = self.num_recycled > 0
        dtype = jnp.result_type(*jax.tree.leaves(r))
        diagonal = jnp.zeros((self.restart,), dtype)
        return start_cycle(
            r,
            W=extend_rows(state.space.C, self.restart + 1),
            S=extend_rows(scaled.U, self.restart) if keeps else None,
            diagonal=diagonal.at[: self.num_recycled].set(scaled.factors.astype(dtype)),
            first=state.space.num_vectors,
            unit=state.unit,
            num_steps=state.num_steps,
            history=state.history,
            inner_product=self.inner_product,
        )

    def _next_space(
        self,
        state: _State,
        scaled: ScaledSpace,
        cycle: Cycle,
        status: Int[Array, ""],
        stuck: Bool[Array, ""],
    ) -> RecycleSpace:
        """The space for the next cycle or system, by the rule of `refresh`."""
        space = state.space
        if self.num_recycled == 0:
            return space
        is_due = {
            "cycle": jnp.ones((), bool),
            "system": state.is_first | (status != RUNNING),
            "never": state.is_first,
        }[self.refresh]
        empty = jax.tree.map(jnp.zeros_like, space)
        kept = select(stuck & (status == RUNNING), empty, space)
        return lax.cond(
            is_due & ~stuck,
            lambda: chosen_space(
                space, scaled, cycle, self.selection, self.inner_product
            ),
            lambda: kept,
        )
