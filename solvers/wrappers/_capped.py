"""A solver that is cut off after a number of steps which may be traced."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int
from typing_extensions import override

from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status
from ..core._wrapper import AbstractWrapper


class Capped(AbstractWrapper):
    """A solver with a bound on its steps that can change from solve to solve.

    `max_steps` is a constant of the compiled program; the cap is data. Methods that
    work in cycles may finish the one that they are in.

    Args:
        solver: the method and its tolerances.
        cap: steps after which it is cut off with `max_steps_reached`.

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
        self.solver = solver
        self.cap = jnp.asarray(cap, jnp.int32)

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
