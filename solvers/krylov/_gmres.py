"""Restarted GMRES, and FGMRES whose preconditioner may change from step to step.

Both minimise the residual over the search directions of a cycle. Y. Saad and M. H.
Schultz, SIAM J. Sci. Stat. Comput. 7 (1986), doi:10.1137/0907058; Y. Saad, A flexible
inner-outer preconditioned GMRES algorithm, SIAM J. Sci. Comput. 14 (1993),
doi:10.1137/0914028.

Differs from the papers:
1. Right preconditioning in both, so that residuals are true ones.
2. Classical Gram-Schmidt twice, and a scaled small problem: _arnoldi_cycle.py.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int
from typing_extensions import override

from ...operators._arguments import require_count
from ...operators._arithmetic import add, select
from ...operators._control_flow import while_loop
from ...operators._field import Field
from ..core._history import History, history_from
from ..core._inner_product import InnerProduct
from ..core._residual import true_residual
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status, first_of
from ..core._stopping import as_max_steps, require_settings
from ._arnoldi_cycle import (
    Cycle,
    correction,
    extend_rows,
    is_stuck,
    measure_unit,
    run_cycle,
    start_cycle,
    unroll_cycle,
)


class _State(eqx.Module):
    """Between cycles."""

    x: Field
    r: Field
    norm: Float[Array, ""]
    unit: Float[Array, ""]  # in which A M⁻¹ is measured, a power of two
    num_steps: Int[Array, ""]
    num_cycles: Int[Array, ""]
    status: Int[Array, ""]
    history: History


class GMRES(AbstractSolver):
    """GMRES(m), for general square systems.

    Minimises the residual over a Krylov space of m dimensions, then starts again from
    the result. The preconditioner is linear and acts from the right, so that residuals
    are true ones. For a sequence of systems, or where restarts stall, use `GCRODR`; for
    a preconditioner that is not linear, `FGMRES`.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        restart: m, the number of steps between restarts.
        max_steps: bound on the number of steps, over all cycles.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `breakdown`, or one of the general ones.

    Raises:
        ValueError: a setting out of range.

    Cost: per step 1 matvec, 1 preconditioner call and 4 products with a block of m+1
    vectors; per cycle, and once per solve, 1 matvec and 1 preconditioner call more.
    m + 5 vectors besides b.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Dense(jnp.array([[1.0, 2.0], [-3.0, 1.0]]))
        >>> kx.solve(A, jnp.array([3.0, -2.0]), kx.solvers.GMRES(rtol=1e-12)).value
        Array([1., 1.], dtype=float64)

    References:
        Y. Saad, M. H. Schultz, SIAM J. Sci. Stat. Comput. 7 (1986),
        doi:10.1137/0907058.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    restart: int = eqx.field(static=True, default=30)
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        require_restart(self)

    @override
    def start(self, system: LinearSystem, carry: Any) -> _State:
        return _start(self, system)

    @override
    def advance(self, system: LinearSystem, state: _State, until: Any) -> _State:
        return _advance(self, system, state, until)

    @override
    def finish(self, system: LinearSystem, state: _State) -> Outcome:
        """Count the work: one call more per cycle, on the correction as a whole."""
        return _finish(system, state, state.num_steps + state.num_cycles + 1)

    @override
    def unroll(self, system: LinearSystem, carry: Any, num_steps: int) -> Outcome:
        """Take whole cycles of m steps and a last one of what is left."""
        return self.finish(system, _unroll(self, system, num_steps))


class FGMRES(AbstractSolver):
    """Flexible GMRES(m): the preconditioner may be nonlinear or change between steps.

    As `GMRES`, but it keeps the preconditioned directions, so that an iterative solve
    or a learned map may precondition, and a cycle ends without another call.

    Args:
        rtol: relative tolerance on the true residual, in units of ‖b‖.
        atol: absolute tolerance on the true residual.
        restart: m, the number of steps between restarts.
        max_steps: bound on the number of steps, over all cycles.
        inner_product: how fields are reduced to numbers.

    Returns:
        Through `solve`: status `converged`, `max_steps_reached`, `stagnated`,
        `breakdown`, or one of the general ones.

    Raises:
        ValueError: a setting out of range.

    Cost: per step 1 matvec, 1 preconditioner call and 4 products with a block of m+1
    vectors; per cycle 1 matvec more; once per solve 1 matvec and 1 call more. 2m + 5
    vectors besides b.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((20,))
        >>> inner = kx.operators.Inverse(A, kx.solvers.CG(rtol=0.1))
        >>> solver = kx.solvers.FGMRES(rtol=1e-10)
        >>> sol = kx.solve(A, jnp.ones(20), solver, preconditioner=inner)
        >>> bool(sol.stats.num_steps < 12)
        True

    References:
        Y. Saad, SIAM J. Sci. Comput. 14 (1993), doi:10.1137/0914028.
    """

    rtol: float = 1e-5
    atol: float = 0.0
    restart: int = eqx.field(static=True, default=30)
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    def __check_init__(self):
        require_settings(self)
        require_restart(self)

    @property
    @override
    def is_flexible(self) -> bool:
        """True, since M⁻¹V is stored."""
        return True

    @override
    def start(self, system: LinearSystem, carry: Any) -> _State:
        return _start(self, system)

    @override
    def advance(self, system: LinearSystem, state: _State, until: Any) -> _State:
        return _advance(self, system, state, until)

    @override
    def finish(self, system: LinearSystem, state: _State) -> Outcome:
        return _finish(system, state, state.num_steps + 1)

    @override
    def unroll(self, system: LinearSystem, carry: Any, num_steps: int) -> Outcome:
        """Take whole cycles of m steps and a last one of what is left."""
        return self.finish(system, _unroll(self, system, num_steps))


def require_restart(solver: GMRES | FGMRES) -> None:
    """Check the length of a cycle.

    Raises:
        ValueError: it is no integer, or below 1.
    """
    require_count(solver.restart, "restart")


def _start(solver: GMRES | FGMRES, system: LinearSystem) -> _State:
    norm = solver.inner_product.norm(system.r0)
    zero = jnp.zeros((), jnp.int32)
    return _State(
        x=system.x0,
        r=system.r0,
        norm=norm,
        unit=measure_unit(system, norm, solver.inner_product),
        num_steps=zero,
        num_cycles=zero,
        status=first_of((norm <= system.target, Status.converged)),
        history=history_from(lax.stop_gradient(norm / system.scale), solver.max_steps),
    )


def _advance(
    solver: GMRES | FGMRES, system: LinearSystem, state: _State, until: Any
) -> _State:
    def cycle_once(s: _State) -> _State:
        cycle = _start_cycle(solver, s, solver.restart)
        cycle = run_cycle(system, cycle, solver.max_steps, solver.inner_product)
        return _end_cycle(solver, system, s, cycle)

    return while_loop(
        lambda s: (s.status == RUNNING) & (s.num_steps < until), cycle_once, state
    )


def _unroll(solver: GMRES | FGMRES, system: LinearSystem, num_steps: int) -> _State:
    state = _start(solver, system)
    num_cycles, rest = divmod(num_steps, solver.restart)
    for length in [solver.restart] * num_cycles + [rest] * (rest > 0):
        cycle = _start_cycle(solver, state, length)
        cycle = unroll_cycle(system, cycle, length, solver.inner_product)
        state = _end_cycle(solver, system, state, cycle)
    return state


def _start_cycle(solver: GMRES | FGMRES, state: _State, length: int) -> Cycle:
    r = state.r
    none = jax.tree.map(lambda a: jnp.zeros((0, *a.shape), a.dtype), r)
    return start_cycle(
        r,
        W=extend_rows(none, length + 1),
        S=extend_rows(none, length) if solver.is_flexible else None,
        diagonal=jnp.zeros((length,), jnp.result_type(*jax.tree.leaves(r))),
        first=jnp.zeros((), jnp.int32),
        unit=state.unit,
        num_steps=state.num_steps,
        history=state.history,
        inner_product=solver.inner_product,
    )


def _end_cycle(
    solver: GMRES | FGMRES, system: LinearSystem, state: _State, cycle: Cycle
) -> _State:
    """Update x, and trust only the residual that is recomputed from it."""
    x = add(state.x, correction(system, cycle))
    r = true_residual(system, x)
    norm = solver.inner_product.norm(r)
    stuck = is_stuck(norm, state.norm, cycle.residual)
    return _State(
        x=select(jnp.isfinite(norm), x, state.x),
        r=r,
        norm=norm,
        unit=state.unit,
        num_steps=cycle.num_steps,
        num_cycles=state.num_cycles + 1,
        status=first_of(
            (norm <= system.target, Status.converged),
            (~jnp.isfinite(norm), Status.nonfinite),
            (cycle.num_steps >= solver.max_steps, Status.max_steps_reached),
            (stuck & cycle.is_exhausted, Status.breakdown),
            (stuck, Status.stagnated),
        ),
        history=cycle.history,
    )


def _finish(system: LinearSystem, state: _State, num_calls: Int[Array, ""]) -> Outcome:
    return Outcome(
        value=state.x,
        residual=state.norm,
        is_certified=state.status == Status.converged,
        status=state.status,
        num_steps=state.num_steps,
        num_matvecs=state.num_steps + state.num_cycles + 1,
        num_preconditioner_calls=num_calls * int(system.preconditioner is not None),
        history=state.history,
    )
