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
4. Subspaces are chosen without an eigenvalue problem by default: _recycle_space.py.
5. A cycle that makes no progress drops the recycled space; without one the solve stops.
6. One product more per system measures A M⁻¹, in whose units the small problem is kept:
   its squares then neither overflow nor vanish, in float32 too.
"""

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import Precision
from jaxtyping import Array, Bool, Float, Inexact, Int

from ..operators._field import Field, Structure, structure_of
from ._arnoldi import LeastSquares, orthogonalise, start_least_squares
from ._history import History, empty_history
from ._inner_product import (
    InnerProduct,
    add,
    combine,
    power_of_two,
    recombine,
    scale,
    select,
    subtract,
)
from ._recycle_space import (
    RecycleSpace,
    Selection,
    choose_subspace,
    empty_space,
    orthonormalise_images,
)
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


class _Cycle(eqx.Module):
    """Within a cycle, whose next column is `j`; unused rows are zero."""

    W: Field  # m+1 rows: C, then V
    S: Field | None  # m rows: U D, then M⁻¹ V; None for GMRES
    problem: LeastSquares
    j: Int[Array, ""]
    residual: Float[Array, ""]
    is_exhausted: Bool[Array, ""]
    unit: Float[Array, ""]
    num_steps: Int[Array, ""]
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
    vectors; per cycle 1 matvec; per system k + 1 matvecs more. 2m + 5k + 7 vectors.

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

    def initial_carry(self, structure: Structure) -> RecycleSpace | None:
        """An empty recycle space, so that all solves share one compiled program."""
        if self.num_recycled == 0:
            return None
        return empty_space(structure, self.num_recycled)

    def run(self, system: LinearSystem, carry: RecycleSpace | None) -> Outcome:
        """Iterate; see the class."""
        state = lax.while_loop(
            lambda s: s.status == RUNNING,
            lambda s: self._cycle(system, s),
            self._start(system, carry),
        )
        # The preconditioner acts once to measure A M⁻¹, once per step, and for GMRES
        # once per cycle; the products of GMRES are one more, one per step and cycle.
        calls = state.num_matvecs if self.num_recycled == 0 else state.num_steps + 1
        return Outcome(
            value=state.x,
            status=state.status,
            num_steps=state.num_steps,
            num_matvecs=state.num_matvecs,
            num_preconditioner_calls=calls * int(system.preconditioner is not None),
            history=state.history,
            carry=None
            if self.num_recycled == 0
            else _with_units(state.space, 1 / state.unit),
        )

    def _start(self, system: LinearSystem, carry: RecycleSpace | None) -> _State:
        norm = self.inner_product.norm(system.r0)
        zero = num_matvecs = jnp.zeros((), jnp.int32)
        history = empty_history(self.max_steps, norm.dtype)
        space = empty_space(structure_of(system.b), self.num_recycled)
        unit = self._unit(system, norm)
        if carry is not None and self.num_recycled > 0:
            num_matvecs = jnp.where(carry.num_vectors > 0, self.num_recycled, 0)
            space = lax.cond(
                carry.num_vectors > 0, lambda: self._renew(system, carry), lambda: space
            )
        return _State(
            x=system.x0,
            r=system.r0,
            norm=norm,
            space=_with_units(space, unit),
            is_first=space.num_vectors == 0,
            unit=unit,
            num_steps=zero,
            num_matvecs=num_matvecs.astype(jnp.int32) + 1,
            status=first_of((norm <= system.target, Status.converged)),
            history=history.record(zero, norm / system.scale),
        )

    def _unit(self, system: LinearSystem, norm: Float[Array, ""]) -> Float[Array, ""]:
        """The size of A M⁻¹ on the first residual: no square of it shall overflow."""
        v = scale(1 / jnp.where(norm > 0, norm, 1), system.r0)
        z = v if system.preconditioner is None else system.preconditioner(v)
        return power_of_two(self.inner_product.max_abs(system.operator.mv(z)))

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
        scaled = _scaled(space, self.inner_product)
        cycle = lax.while_loop(
            lambda c: (
                (c.j < self.restart)
                & (c.residual > system.target)
                & (c.num_steps < self.max_steps)
                & ~c.is_exhausted
            ),
            lambda c: self._step(system, c),
            self._start_cycle(state, scaled, r),
        )
        x = add(x, self._correction(system, cycle))
        r = subtract(system.b, system.operator.mv(x))
        norm = self.inner_product.norm(r)
        is_stuck = _is_stuck(norm, state.norm, cycle.residual)
        status = first_of(
            (norm <= system.target, Status.converged),
            (~jnp.isfinite(norm), Status.nonfinite),
            (cycle.num_steps >= self.max_steps, Status.max_steps_reached),
            (is_stuck & cycle.is_exhausted & (first == 0), Status.breakdown),
            (is_stuck & (first == 0), Status.stagnated),
        )
        is_finite = jnp.isfinite(norm)
        return _State(
            x=select(is_finite, x, state.x),
            r=r,
            norm=norm,
            space=self._next_space(state, scaled, cycle, status, is_stuck),
            is_first=state.is_first,
            unit=state.unit,
            num_steps=cycle.num_steps,
            num_matvecs=state.num_matvecs + 1 + cycle.num_steps - state.num_steps,
            status=status,
            history=cycle.history,
        )

    def _start_cycle(self, state: _State, scaled: "_Scaled", r: Field) -> _Cycle:
        first = state.space.num_vectors
        norm = self.inner_product.norm(r)
        v = scale(jnp.where(norm > 0, 1 / jnp.where(norm > 0, norm, 1), 0), r)
        W = _set_row(_extend(state.space.C, self.restart + 1), first, v)
        keeps = self.num_recycled > 0
        dtype = jnp.result_type(*jax.tree.leaves(v))
        diagonal = jnp.zeros((self.restart,), dtype)
        diagonal = diagonal.at[: self.num_recycled].set(scaled.factors.astype(dtype))
        return _Cycle(
            W=W,
            S=_extend(scaled.U, self.restart) if keeps else None,
            problem=start_least_squares(diagonal, norm, first),
            j=first,
            residual=norm,
            is_exhausted=jnp.zeros((), bool),
            unit=state.unit,
            num_steps=state.num_steps,
            history=state.history,
        )

    def _step(self, system: LinearSystem, cycle: _Cycle) -> _Cycle:
        """One Arnoldi step: column j of A S = W Ḡ, S in units that make Ḡ near 1."""
        j = cycle.j
        v = _row(cycle.W, j)
        z = v if system.preconditioner is None else system.preconditioner(v)
        z = scale(1 / cycle.unit, z)
        S = None if cycle.S is None else _set_row(cycle.S, j, z)
        if S is not None:
            # Reading z back makes all that needs row j of W come before row j+1 is
            # written; otherwise XLA copies all of W twice a step, which costs as much
            # as the rest of it (64 x 64, m = 40).
            z = _row(S, j)
        w, h, below = orthogonalise(system.operator.mv(z), cycle.W, self.inner_product)
        problem = cycle.problem.add_column(h, below, j)
        residual = problem.residual(j + 1)
        num_steps = cycle.num_steps + 1
        return _Cycle(
            W=_set_row(cycle.W, j + 1, w),
            S=S,
            problem=problem,
            j=j + 1,
            residual=residual,
            is_exhausted=below == 0,
            unit=cycle.unit,
            num_steps=num_steps,
            history=cycle.history.record(num_steps, residual / system.scale),
        )

    def _correction(self, system: LinearSystem, cycle: _Cycle) -> Field:
        """The minimiser over the search space; GMRES applies M⁻¹ to it as a whole."""
        y = cycle.problem.solve(cycle.j)
        if cycle.S is not None:
            return combine(y, cycle.S)
        correction = combine(y, jax.tree.map(lambda rows: rows[:-1], cycle.W))
        correction = scale(1 / cycle.unit, correction)
        if system.preconditioner is None:
            return correction
        return system.preconditioner(correction)

    def _next_space(
        self,
        state: _State,
        scaled: "_Scaled",
        cycle: _Cycle,
        status: Int[Array, ""],
        is_stuck: Bool[Array, ""],
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
        kept = select(is_stuck & (status == RUNNING), empty, space)
        return lax.cond(
            is_due & ~is_stuck,
            lambda: self._chosen_space(space, scaled, cycle),
            lambda: kept,
        )

    def _chosen_space(
        self, space: RecycleSpace, scaled: "_Scaled", cycle: _Cycle
    ) -> RecycleSpace:
        """The k best vectors of the search space of a cycle, A S = W Q R."""
        is_used = cycle.problem.is_used(cycle.j)
        triangle = cycle.problem.triangle(is_used)
        Q = jnp.where(is_used, cycle.problem.Qh.conj().T[:, :-1], 0)
        is_krylov = is_used & (
            jnp.arange(self.restart, dtype=jnp.int32) >= space.num_vectors
        )
        WV, VV = self._products(scaled, cycle, is_krylov)
        num_vectors = jnp.minimum(self.num_recycled, jnp.sum(is_used, dtype=jnp.int32))
        chosen = choose_subspace(
            self.selection, triangle, Q, WV, VV, self.num_recycled, num_vectors
        )
        P = jax.scipy.linalg.solve_triangular(triangle, chosen)
        krylov_part = jnp.where(is_krylov[:, None], P, 0)
        V = jax.tree.map(lambda rows: rows[:-1], cycle.W)
        Y = add(recombine(P[: self.num_recycled], scaled.Y), recombine(krylov_part, V))
        C = recombine(jnp.matmul(Q, chosen, precision=Precision.HIGHEST), cycle.W)
        new = RecycleSpace(recombine(P, cycle.S), C, Y, num_vectors)
        return select(jnp.all(jnp.isfinite(P)), new, space)

    def _products(
        self, scaled: "_Scaled", cycle: _Cycle, is_krylov: Bool[Array, " m"]
    ) -> tuple[Inexact[Array, "m1 m"], Inexact[Array, "m m"]]:
        """Inner products of W and of the search vectors [Y D, V] with the latter."""
        m, k = self.restart, self.num_recycled
        pad = ((0, 0), (0, m - k))
        WY = jnp.pad(self.inner_product.gram(cycle.W, scaled.Y), pad)
        YY = jnp.pad(self.inner_product.gram(scaled.Y, scaled.Y), ((0, m - k), pad[1]))
        unit = jnp.diag(is_krylov).astype(WY.dtype)
        cross = jnp.where(is_krylov[:, None], WY[:-1], 0)
        WV = WY + jnp.pad(unit, ((0, 1), (0, 0)))
        return WV, YY + cross + cross.conj().T + unit


class _Scaled(eqx.Module):
    """U and Y times the factors D that make the vectors of Y unit; zeros stay zero."""

    U: Field
    Y: Field
    factors: Float[Array, " k"]


def _with_units(space: RecycleSpace, factor: Float[Array, ""]) -> RecycleSpace:
    """The space with Y = M U times a factor: within a solve it is measured in units."""
    return eqx.tree_at(lambda s: s.Y, space, scale(factor, space.Y))


def _scaled(space: RecycleSpace, inner_product: InnerProduct) -> _Scaled:
    squares = jax.vmap(lambda y: jnp.real(inner_product.dot(y, y)))(space.Y)
    is_used = squares > 0
    factors = jnp.where(is_used, 1 / jnp.sqrt(jnp.where(is_used, squares, 1)), 0)

    def scale_rows(rows: Array) -> Array:
        column = factors.reshape(-1, *[1] * (rows.ndim - 1))
        return column.astype(rows.dtype) * rows

    return _Scaled(
        jax.tree.map(scale_rows, space.U), jax.tree.map(scale_rows, space.Y), factors
    )


def _is_stuck(
    norm: Float[Array, ""], before: Float[Array, ""], estimate: Float[Array, ""]
) -> Bool[Array, ""]:
    """Whether a cycle made no progress: none at all, or none where it claimed some.

    The claim is the residual of the small problem; where the true one stays although
    the claim halves, the limit is rounding. GMRES(m) may creep for many cycles on
    indefinite systems, so that small progress must count.
    """
    is_still = norm > (1 - jnp.sqrt(jnp.finfo(norm.dtype).eps)) * before
    is_rounding = (norm > 0.9 * before) & (estimate < norm / 2)
    return is_still | is_rounding


def _extend(rows: Field, length: int) -> Field:
    """Append zero rows."""
    return jax.tree.map(
        lambda a: jnp.concatenate(
            [a, jnp.zeros((length - a.shape[0], *a.shape[1:]), a.dtype)]
        ),
        rows,
    )


def _row(rows: Field, i: Int[Array, ""]) -> Field:
    return jax.tree.map(
        lambda a: lax.dynamic_index_in_dim(a, i, axis=0, keepdims=False), rows
    )


def _set_row(rows: Field, i: Int[Array, ""], x: Field) -> Field:
    return jax.tree.map(
        lambda a, b: lax.dynamic_update_index_in_dim(a, b, i, axis=0), rows, x
    )
