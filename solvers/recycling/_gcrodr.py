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
7. A space that the next operator no longer shrinks is dropped, see _DRIFT.
8. Within a solve the recycled vectors stay in the first rows of the blocks that hold
   the others too, and their inner products are carried over from cycle to cycle: a new
   choice takes three products of matrices.
"""

from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ...operators._arithmetic import (
    add,
    combine,
    reciprocal,
    recombine,
    scale,
    scale_rows,
    select,
    subtract,
)
from ...operators._field import Field, Structure, structure_of
from ..core._history import History, history_from
from ..core._inner_product import InnerProduct
from ..core._residual import true_residual
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status, first_of
from ..core._stopping import require_settings
from ..krylov._arnoldi import project
from ..krylov._arnoldi_cycle import (
    Cycle,
    correction,
    extend_rows,
    is_stuck,
    measure_unit,
    run_cycle,
    start_cycle,
)
from ._recycle_selection import Selection, Small, choose
from ._recycle_space import (
    RecycleSpace,
    empty_space,
    inverse_lengths,
    orthonormalise_images,
)

Refresh = Literal["cycle", "system", "never"]

_DRIFT = 8.0
"""Growth of ‖A U z‖ from one system to the next, z of equal weights in scaled vectors,
above which the space is dropped. In sorted sequences of waves, flows, Darcy's equation
and the operator as released it grows by up to 2.9, from a system to one with permuted
unknowns by 14 to 113 (48 x 48, k = 20).
"""


class _Rows(eqx.Module):
    """The recycled pair, and room for the other vectors of a cycle behind it.

    Between systems A U = C; within one the vectors are scaled, see `Small`.
    """

    W: Field  # m+1 rows: C, then room
    S: Field | None  # m rows: U, then room; None where nothing is recycled
    Y: Field | None  # k rows: M U
    small: Small


class _State(eqx.Module):
    """Between cycles."""

    x: Field
    r: Field
    norm: Float[Array, ""]
    rows: _Rows
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
        space = empty_space(structure_of(system.b), self.num_recycled)
        unit = measure_unit(system, norm, self.inner_product)
        if carry is not None and self.num_recycled > 0:
            space, num_matvecs = lax.cond(
                carry.num_vectors > 0,
                lambda: self._renew(system, carry),
                lambda: (space, zero),
            )
        return _State(
            x=system.x0,
            r=system.r0,
            norm=norm,
            rows=self._rows(space, unit),
            is_first=space.num_vectors == 0,
            unit=unit,
            num_steps=zero,
            num_matvecs=num_matvecs + 1,
            status=first_of((norm <= system.target, Status.converged)),
            history=history_from(norm / system.scale, self.max_steps),
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
            carry=None if is_gmres else self._carry(state),
        )

    def _renew(
        self, system: LinearSystem, carry: RecycleSpace
    ) -> tuple[RecycleSpace, Int[Array, ""]]:
        """The carried vectors with the pair A U = C of the new operator, or nothing.

        Where they have drifted one product tells, so that k are not spent on them.
        """
        k = self.num_recycled
        empty = empty_space(structure_of(system.b), k)

        def renewed() -> RecycleSpace:
            images = system.operator.mm(carry.U)
            return orthonormalise_images(carry, images, self.inner_product)

        lengths = jnp.sqrt(jax.vmap(self._square)(carry.Y))
        factors = reciprocal(lengths)
        z = combine(factors.astype(jnp.result_type(*jax.tree.leaves(carry.U))), carry.U)
        image = self.inner_product.norm(system.operator.mv(z))
        # Not a number is no drift: it shall be told.
        has_drifted = image > _DRIFT * jnp.sqrt(jnp.sum(factors**2))
        space = lax.cond(has_drifted, lambda: empty, renewed)
        return space, jnp.where(has_drifted, 1, k + 1).astype(jnp.int32)

    def _square(self, x: Field) -> Float[Array, ""]:
        return jnp.real(self.inner_product.dot(x, x))

    def _rows(self, space: RecycleSpace, unit: Float[Array, ""]) -> _Rows:
        """The space scaled, and room behind it."""
        W = extend_rows(space.C, self.restart + 1)
        if self.num_recycled == 0:
            none = jnp.zeros((0, 0), unit.dtype)
            return _Rows(W, None, None, Small(none.ravel(), none, space.num_vectors))
        Y = scale(unit, space.Y)
        YY = self.inner_product.gram(Y, Y)
        factors = inverse_lengths(YY)
        D = factors.astype(YY.dtype)
        small = Small(factors, D[:, None] * YY * D[None, :], space.num_vectors)
        S = extend_rows(scale_rows(factors, space.U), self.restart)
        return _Rows(W, S, scale_rows(factors, Y), small)

    def _carry(self, state: _State) -> RecycleSpace:
        """The space as it is handed on."""
        rows, k = state.rows, self.num_recycled
        count = rows.small.num_vectors
        sizes = reciprocal(rows.small.factors)
        is_used = (jnp.arange(k, dtype=jnp.int32) < count).astype(sizes.dtype)
        U, C = (jax.tree.map(lambda a: a[:k], block) for block in (rows.S, rows.W))
        return RecycleSpace(
            U=scale_rows(sizes, U),
            C=scale_rows(is_used, C),
            Y=scale_rows(sizes / state.unit, rows.Y),
            num_vectors=count,
        )

    def _cycle(self, system: LinearSystem, state: _State) -> _State:
        """Deflate, take Arnoldi steps, update x, and choose the next space."""
        first = state.rows.small.num_vectors
        x, r = self._deflate(state)
        cycle = self._start_cycle(state, r)
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

    def _deflate(self, state: _State) -> tuple[Field, Field]:
        """Solve in the recycled space: x + U Cᴴ r and r - C Cᴴ r."""
        rows, x, r = state.rows, state.x, state.r
        if rows.S is None:
            return x, r
        along = project(r, rows.W, rows.small.num_vectors, self.inner_product)
        sizes = jnp.pad(
            reciprocal(rows.small.factors), (0, self.restart - self.num_recycled)
        )
        x = add(x, combine(along[:-1] * sizes.astype(along.dtype), rows.S))
        return x, subtract(r, combine(along, rows.W))

    def _start_cycle(self, state: _State, r: Field) -> Cycle:
        rows = state.rows
        dtype = jnp.result_type(*jax.tree.leaves(r))
        diagonal = jnp.zeros((self.restart,), dtype)
        factors = rows.small.factors.astype(dtype)
        return start_cycle(
            r,
            W=rows.W,
            S=rows.S,
            diagonal=diagonal.at[: self.num_recycled].set(factors),
            first=rows.small.num_vectors,
            unit=state.unit,
            num_steps=state.num_steps,
            history=state.history,
            inner_product=self.inner_product,
        )

    def _next_rows(
        self,
        state: _State,
        cycle: Cycle,
        status: Int[Array, ""],
        stuck: Bool[Array, ""],
    ) -> _Rows:
        """The space for the next cycle or system, by the rule of `refresh`."""
        before, Y = state.rows, state.rows.Y
        if Y is None:
            return _Rows(cycle.W, None, None, before.small)
        kept = _Rows(cycle.W, cycle.S, Y, before.small)
        if self.refresh == "cycle":
            after = self._chosen(kept, cycle)
        else:
            is_due = state.is_first
            if self.refresh == "system":
                is_due = is_due | (status != RUNNING)
            after = lax.cond(is_due, lambda: self._chosen(kept, cycle), lambda: kept)
        # Without progress the space is of no use, but may serve the next system.
        nothing = jax.tree.map(jnp.zeros_like, before.small)
        is_dropped = stuck & (status == RUNNING)
        small = select(is_dropped, nothing, after.small)
        return eqx.tree_at(lambda rows: rows.small, after, small)

    def _chosen(self, rows: _Rows, cycle: Cycle) -> _Rows:
        """The best part of the search space of a cycle."""
        small, k = rows.small, self.num_recycled
        choice = choose(small, cycle, rows.Y, self.selection, self.inner_product)
        # One product for what C and Y take from W, which is so read once.
        is_krylov = jnp.arange(self.restart, dtype=jnp.int32) >= small.num_vectors
        krylov_part = jnp.where(is_krylov[:, None], choice.U, 0)
        krylov_part = jnp.pad(krylov_part, ((0, 1), (0, 0)))
        both = recombine(jnp.concatenate([choice.C, krylov_part], axis=1), rows.W)
        recycled_part = jnp.where(is_krylov[:k, None], 0, choice.U[:k])
        return _Rows(
            W=_set_leading(rows.W, jax.tree.map(lambda a: a[:k], both)),
            S=_set_leading(rows.S, recombine(choice.U, rows.S)),
            Y=add(
                recombine(recycled_part, rows.Y), jax.tree.map(lambda a: a[k:], both)
            ),
            small=choice.small,
        )


def _set_leading(rows: Field, leading: Field) -> Field:
    return jax.tree.map(
        lambda a, b: lax.dynamic_update_slice_in_dim(a, b, 0, axis=0), rows, leading
    )
