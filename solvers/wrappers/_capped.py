"""A solver that is cut off after a number of steps which may be traced."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from typing_extensions import override

from ...operators._arguments import require_count, shown
from ...operators._field import is_traced
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status
from ..core._stopping import as_max_steps
from ..core._wrapper import AbstractWrapper


class Capped(AbstractWrapper):
    """A solver with a bound on its steps that can change from solve to solve.

    `max_steps` is a constant of the compiled program; the cap is data. Methods that
    work in cycles may finish the one that they are in.

    Args:
        solver: the method and its tolerances.
        cap: steps after which it is cut off with `max_steps_reached`; may be traced.

    Raises:
        ValueError: a cap that is no integer, or negative.
        TypeError: `solver` is not a solver.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((200,)), jnp.ones(200)
        >>> solver = kx.solvers.Capped(kx.solvers.CG(rtol=1e-8), cap=5)
        >>> int(kx.solve(A, b, solver, throw=False).stats.num_steps)
        5
    """

    solver: AbstractSolver
    cap: Int[Array, ""]

    def __init__(self, solver: AbstractSolver, cap: Any):
        if not isinstance(solver, AbstractSolver):
            raise TypeError(
                f"Capped wraps a solver, such as Capped(CG(), 5), got {shown(solver)}"
            )
        self.solver = solver
        self.cap = _as_cap(cap)

    @override
    def advance(self, system: LinearSystem, state: Any, until: Any) -> Any:
        """Iterate up to the cap, where the solve ends."""
        state = self.solver.advance(system, state, jnp.minimum(self.cap, until))
        is_cut_off = (state.status == RUNNING) & (state.num_steps >= self.cap)
        end = jnp.asarray(Status.max_steps_reached.value, jnp.int32)
        status = jnp.where(is_cut_off, end, state.status)
        return eqx.tree_at(lambda s: s.status, state, status)

    @override
    def run(self, system: LinearSystem, carry: Any) -> Outcome:
        return AbstractSolver.run(self, system, carry)


def _as_cap(cap: Any) -> Int[Array, ""]:
    is_array = isinstance(cap, jax.Array | np.ndarray)
    if is_array and jnp.issubdtype(cap.dtype, jnp.integer) and jnp.ndim(cap) == 0:
        known = 0 if is_traced(cap) else int(cap)
    else:
        known = cap
    require_count(known, "cap", 0)
    return jnp.asarray(cap if is_array else as_max_steps(cap), jnp.int32)
