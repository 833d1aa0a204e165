"""Deflated CG: conjugate gradients beside a space that one solve hands to the next.

With W of k vectors, WᴴAW = I and Z = A W, the solution is

    x = x₀ + W Wᴴr₀ + (I - W Zᴴ) e,    (I - Z Wᴴ) A e = (I - Z Wᴴ) r₀,

where e is found by CG: the part of the spectrum that W holds is no longer there. Y.
Saad, M. Yeung, J. Erhel, F. Guyomarc'h, A deflated version of the conjugate gradient
algorithm, SIAM J. Sci. Comput. 21 (2000), doi:10.1137/S1064829598339761, Alg. 3.6, in
the form that J. M. Tang, R. Nabben, C. Vuik, Y. A. Erlangga, J. Sci. Comput. 39 (2009),
doi:10.1007/s10915-009-9272-6, call DEF1. How the next space is chosen:
_search_directions.py.

Differs from the papers:
1. Directions are made A-orthogonal to W once, at the end, and not in each step: the
   iteration is CG itself, on a hermitian operator.
2. x₀ is projected twice, which removes what rounding leaves along W.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import (
    add,
    combine,
    recombine,
    select,
    subtract,
    zeros_like,
)
from ...operators._control_flow import cond, while_loop
from ...operators._field import Field, Structure
from ..core._inner_product import InnerProduct
from ..core._nullspace import complement_of
from ..core._recurrence import RecurrenceState, is_unconfirmed
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING
from ..core._stopping import as_max_steps, require_settings
from ..krylov._cg import CG
from ._conjugate_basis import ConjugateBasis, conjugate_basis
from ._recycle_space import (
    RecycleSpace,
    empty_space,
    orthonormalise_images,
    require_counts,
)
from ._search_directions import (
    Block,
    SearchDirections,
    gather,
    no_directions,
    record,
)


class _State(eqx.Module):
    """Between steps."""

    cg: RecurrenceState  # of the deflated system
    x: Field  # x₀ + W Wᴴr₀
    r: Field  # its residual
    basis: ConjugateBasis
    Y: Field | None  # M W; None without a preconditioner
    found: SearchDirections
    num_products: Int[Array, ""]  # that renewed the basis

    # `Any`: `Batched` replaces these, and `eqx.tree_at` puts markers in their place.
    @property
    def status(self) -> Any:
        """The status of CG."""
        return self.cg.status

    @property
    def num_steps(self) -> Any:
        """The number of steps of CG."""
        return self.cg.num_steps


class _DeflatedOperator(AbstractLinearOperator):
    """(I - Z Wᴴ) A, hermitian and positive semidefinite."""

    operator: AbstractLinearOperator
    basis: ConjugateBasis
    inner_product: InnerProduct

    @property
    @override
    def in_structure(self) -> Structure:
        return self.operator.in_structure

    @override
    def mv(self, x: Field) -> Field:
        return self.basis.project_residual(self.operator.mv(x), self.inner_product)


class DeflatedCG(AbstractSolver):
    """CG with a recycled subspace, for sequences of positive definite systems.

    Give each solve the `carry` of the one before: the directions that CG found hardest
    are then taken out of the next system. Without a carry it is CG, and gathers what it
    finds. It pays where few small eigenvalues slow CG down, and all the more the dearer
    a product or a call of the preconditioner is. A preconditioner must be linear and
    hermitian positive definite.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        num_recycled: k, the number of vectors handed on.
        num_directions: l, after how many steps it is chosen anew which vectors to keep.
        max_steps: bound on the number of steps.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: `carry`, a `RecycleSpace`, as that of `GCRODR` with as many
        vectors; status as from `CG`.

    Raises:
        ValueError: tolerances or counts out of range.

    Cost: per step that of CG, 2 passes over k vectors, and 3 (k + l)² / l inner
    products, made as products of matrices; per system k matvecs, none for the first of
    a sequence. 2 (2k + l) vectors, 3 (2k + l) with a preconditioner, for a moment twice
    as many, and those of CG.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((300,)), jnp.ones(300)
        >>> solver = kx.solvers.DeflatedCG(rtol=1e-8, num_recycled=10)
        >>> first = kx.solve(A, b, solver)
        >>> second = kx.solve(1.1 * A, b[::-1], solver, carry=first.carry)
        >>> bool(second.stats.num_steps < first.stats.num_steps)
        True

    References:
        Y. Saad, M. Yeung, J. Erhel, F. Guyomarc'h, SIAM J. Sci. Comput. 21 (2000),
        doi:10.1137/S1064829598339761.
        A. Stathopoulos, K. Orginos, SIAM J. Sci. Comput. 32 (2010),
        doi:10.1137/080725532.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    num_recycled: int = eqx.field(static=True, default=20)
    num_directions: int = eqx.field(static=True, default=40)
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        require_counts(self, "CG")

    @property
    @override
    def has_carry(self) -> bool:
        return True

    @override
    def initial_carry(self, structure: Structure) -> RecycleSpace:
        return empty_space(structure, self.num_recycled)

    @override
    def start(self, system: LinearSystem, carry: RecycleSpace) -> _State:
        basis, Y = self._renew(system, carry)
        x, r = system.x0, system.r0
        is_met = self.inner_product.norm(r) <= system.target
        for _ in range(2):
            along = self.inner_product.block_dot(basis.W, r)
            along = jnp.where(is_met, 0, along)
            x = add(x, combine(along, basis.W))
            r = subtract(r, combine(along, basis.Z))
        Y = None if system.preconditioner is None else Y
        kept = Block(basis.W, basis.Z, Y)
        return _State(
            cg=self._cg.start(self._deflated(system, basis, r), None),
            x=x,
            r=r,
            basis=basis,
            Y=Y,
            found=no_directions(kept, self.num_directions),
            num_products=jnp.where(carry.num_vectors > 0, self.num_recycled, 0),
        )

    @override
    def advance(self, system: LinearSystem, state: _State, until: Any) -> _State:
        deflated = self._deflated(system, state.basis, state.r)

        def is_stepping(s: _State) -> Bool[Array, ""]:
            is_running = (s.status == RUNNING) & (s.cg.norm > system.target)
            return is_running & (s.cg.num_steps < until)

        def is_open(s: _State) -> Bool[Array, ""]:
            return is_unconfirmed(deflated, s.cg)

        def has_room(s: _State) -> Bool[Array, ""]:
            return s.found.num_latest < self.num_directions

        def run_window(s: _State) -> _State:
            s = while_loop(
                lambda s: is_stepping(s) & has_room(s),
                lambda s: self._step(deflated, s),
                s,
            )
            # Without a step to take, CG confirms.
            cg = self._cg.advance(deflated, s.cg, s.cg.num_steps)
            found = cond(has_room(s), lambda: s.found, lambda: self._gather(s))
            return eqx.tree_at(lambda s: (s.cg, s.found), s, (cg, found))

        return while_loop(lambda s: is_stepping(s) | is_open(s), run_window, state)

    @override
    def finish(self, system: LinearSystem, state: _State) -> Outcome:
        deflated = self._deflated(system, state.basis, state.r)
        outcome = self._cg.finish(deflated, state.cg)
        e = state.basis.project_direction(outcome.value, self.inner_product)
        kept = self._gather(state).kept
        space = RecycleSpace(
            U=kept.S,
            C=kept.AS,
            Y=kept.S if kept.MS is None else kept.MS,
            num_vectors=state.basis.num_vectors,
        )
        return Outcome(
            value=add(state.x, e),
            residual=outcome.residual,
            # It is that of the deflated system.
            is_certified=jnp.zeros((), bool),
            status=outcome.status,
            num_steps=outcome.num_steps,
            num_matvecs=outcome.num_matvecs + state.num_products,
            num_preconditioner_calls=outcome.num_preconditioner_calls,
            history=outcome.history,
            carry=orthonormalise_images(space, space.C, self.inner_product),
        )

    @property
    def _cg(self) -> CG:
        # The tolerances are in the system's target.
        return CG(max_steps=self.max_steps, inner_product=self.inner_product)

    def _renew(
        self, system: LinearSystem, carry: RecycleSpace
    ) -> tuple[ConjugateBasis, Field]:
        """The basis of the carried space for this operator, and M times it."""
        zero = zeros_like(carry.U)
        empty = ConjugateBasis(zero, zero, jnp.zeros((), jnp.int32)), zero

        def renewed() -> tuple[ConjugateBasis, Field]:
            # Null vectors that rounding adds would look most worth keeping.
            complement = complement_of(system.operator, self.inner_product)
            U = complement.project_rows(carry.U)
            basis, T = conjugate_basis(system.operator, U, self.inner_product)
            # Of input that is not finite nothing may reach x.
            is_sound = jnp.all(jnp.isfinite(T))
            return select(is_sound, (basis, recombine(T, carry.Y)), empty)

        return cond(carry.num_vectors > 0, renewed, lambda: empty)

    def _deflated(
        self, system: LinearSystem, basis: ConjugateBasis, r: Field
    ) -> LinearSystem:
        """The system that CG solves, from zero."""
        A = _DeflatedOperator(system.operator, basis, self.inner_product)
        return eqx.tree_at(lambda s: s.operator, system, A).restarted(r)

    def _step(self, deflated: LinearSystem, state: _State) -> _State:
        """A step of CG, from zero, so that α p is known without rounding."""
        before = eqx.tree_at(lambda s: s.x, state.cg, zeros_like(state.r))
        after = self._cg._advance_once(deflated, before)
        found = record(state.found, before, after, self.inner_product)
        after = eqx.tree_at(lambda s: s.x, after, add(state.cg.x, after.x))
        return eqx.tree_at(lambda s: (s.cg, s.found), state, (after, found))

    def _gather(self, state: _State) -> SearchDirections:
        return gather(state.found, state.basis, state.Y, self.inner_product)
