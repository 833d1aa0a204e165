"""Batches that stop paying for finished systems: a queue of systems and a few lanes.

A loop under `jax.vmap` runs until its slowest lane has ended, and every step works on
all of them. Here a fixed number of lanes works through the queue: every `chunk` steps
the lanes that have ended hand over their results and take the next systems. One
compiled program, static shapes, no host.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int, PyTree
from typing_extensions import override

from ...operators._arguments import require_count, require_flag
from ...operators._control_flow import cond, while_loop
from ..core._solver import AbstractSolver, LinearSystem, Outcome
from ..core._status import RUNNING, Status
from ..core._wrapper import AbstractWrapper


class Batched(AbstractWrapper):
    """A solver whose batches, made by `jax.vmap`, refill lanes that have finished.

    Outside of `vmap` it is the solver itself. What differs from system to system must
    be an array in the operator or the preconditioner, b or x0, not one that a function
    closes over.

    Args:
        solver: the method and its tolerances.
        num_lanes: systems that are iterated together; 1 solves one after the other,
            which suits a CPU, a GPU wants as many as fill it.
        chunk: steps between looks at which lanes have finished.
        hands_on: whether a lane starts each system from the carry of its last one,
            instead of that which was given.

    Returns:
        Through `solve`: as the solver.

    Raises:
        ValueError: num_lanes or chunk below 1.

    Cost: as the solver, but its vectors are kept for num_lanes systems only, and
    idle work is bounded by chunk steps per system and the tail of the queue.

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> solver = kx.solvers.Batched(kx.solvers.CG(rtol=1e-8), num_lanes=2)
        >>> def steps(shift):
        ...     A = kx.operators.Helmholtz(jnp.ones(30), -shift)
        ...     return kx.solve(A, jnp.ones(30), solver).stats.num_steps
        >>> jax.vmap(steps)(jnp.array([0.0, 1.0, 10.0, 100.0])).tolist()
        [15, 15, 8, 4]
    """

    solver: AbstractSolver
    num_lanes: int = eqx.field(static=True)
    chunk: int = eqx.field(static=True)
    hands_on: bool = eqx.field(static=True)

    def __init__(
        self,
        solver: AbstractSolver,
        num_lanes: int = 16,
        chunk: int = 8,
        hands_on: bool = False,
    ):
        if not isinstance(solver, AbstractSolver):
            raise TypeError(
                f"Batched wraps a solver, such as Batched(CG()), got {solver!r}"
            )
        self.solver = solver
        self.num_lanes = num_lanes
        self.chunk = chunk
        self.hands_on = hands_on
        require_count(num_lanes, "num_lanes")
        require_count(chunk, "chunk")
        require_flag(hands_on, "hands_on")

    @override
    def run(self, system: LinearSystem, carry: Any) -> Outcome:
        """Run the solver; under `vmap`, run the queue."""
        arrays, static = eqx.partition((self.solver, system, carry), eqx.is_array)

        @custom_vmap
        def run_one(arrays: PyTree) -> Outcome:
            solver, system, carry = eqx.combine(arrays, static)
            return solver.run(system, carry)

        @run_one.def_vmap
        def run_batch(
            size: int, is_batched: list[PyTree], arrays: PyTree
        ) -> tuple[Outcome, PyTree]:
            batch = _Batch(
                arrays, is_batched[0], static, size, self.chunk, self.hands_on
            )
            outcome = _work_through(batch, min(self.num_lanes, size))
            return outcome, jax.tree.map(lambda _: True, outcome)

        return run_one(arrays)


class _Batch(eqx.Module):
    """Solver, systems and carries: what differs between systems has a first axis."""

    arrays: PyTree
    is_batched: PyTree = eqx.field(static=True)
    static: PyTree = eqx.field(static=True)
    size: int = eqx.field(static=True)
    chunk: int = eqx.field(static=True)
    hands_on: bool = eqx.field(static=True)

    def take(self, ids: Int[Array, " lanes"]) -> PyTree:
        """The arrays of some systems, and the carry that each begins with."""
        *fixed, carry = jax.tree.map(
            lambda a, batched: a[ids] if batched else a, self.arrays, self.is_batched
        )
        if self.hands_on:
            carry = jax.tree.map(
                lambda a, batched: (
                    a if batched else jnp.broadcast_to(a, (len(ids), *a.shape))
                ),
                carry,
                self.is_batched[-1],
            )
        return *fixed, carry

    def hand_on(self, arrays: PyTree, before: PyTree, found: Outcome) -> PyTree:
        """The arrays with the carries that lanes found; an unsound one is left out."""
        if not self.hands_on:
            return arrays
        found = eqx.filter(found.carry, eqx.is_array)
        is_sound = jnp.stack(
            [
                jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim)))
                for leaf in jax.tree.leaves(found)
            ]
        )
        carry = _where(jnp.all(is_sound, axis=0), found, before[-1])
        return *arrays[:-1], carry

    def start(self, arrays: PyTree) -> Any:
        """The states of lanes before their first step."""
        return self._over_lanes(
            lambda solver, system, carry: solver.start(system, carry)
        )(arrays)

    def advance(self, arrays: PyTree, states: Any) -> Any:
        """The states of lanes after a chunk of steps."""
        return self._over_lanes(
            lambda solver, system, _, state: solver.advance(
                system, state, state.num_steps + self.chunk
            )
        )(arrays, states)

    def finish(self, arrays: PyTree, states: Any) -> Outcome:
        """The outcomes of lanes."""
        return self._over_lanes(
            lambda solver, system, _, state: solver.finish(system, state)
        )(arrays, states)

    def _over_lanes(self, function: Callable) -> Callable:
        is_batched = self.is_batched
        if self.hands_on:
            is_batched = *is_batched[:-1], jax.tree.map(lambda _: True, is_batched[-1])
        axes = jax.tree.map(lambda batched: 0 if batched else None, is_batched)

        def lanes(arrays: PyTree, *states: Any) -> Any:
            return function(*eqx.combine(arrays, self.static), *states)

        return lambda arrays, *states: jax.vmap(lanes, (axes, *[0] * len(states)))(
            arrays, *states
        )


class _Queue(eqx.Module):
    """What the lanes work on; a lane whose id is not below the batch's size is idle."""

    ids: Int[Array, " lanes"]
    next_id: Int[Array, ""]
    arrays: PyTree
    states: PyTree
    outcomes: Outcome


def _work_through(batch: _Batch, num_lanes: int) -> Outcome:
    """Solve all systems of a batch, `num_lanes` at a time."""
    ids = jnp.arange(num_lanes, dtype=jnp.int32)
    arrays = batch.take(ids)
    states = batch.start(arrays)
    shapes = jax.eval_shape(batch.finish, arrays, states)
    outcomes = jax.tree.map(
        lambda s: jnp.zeros((batch.size, *s.shape[1:]), s.dtype), shapes
    )
    queue = _Queue(ids, jnp.asarray(num_lanes, jnp.int32), arrays, states, outcomes)

    def work(queue: _Queue) -> _Queue:
        states = batch.advance(queue.arrays, queue.states)
        queue = eqx.tree_at(lambda q: q.states, queue, states)
        has_ended = (states.status != RUNNING) & (queue.ids < batch.size)
        return cond(
            jnp.any(has_ended),
            lambda q: _refill(batch, q, has_ended),
            lambda q: q,
            queue,
        )

    return while_loop(lambda q: jnp.any(q.ids < batch.size), work, queue).outcomes


def _refill(batch: _Batch, queue: _Queue, has_ended: Bool[Array, " lanes"]) -> _Queue:
    """Store the outcomes of lanes that have ended, and give them the next systems."""
    found = batch.finish(queue.arrays, queue.states)
    rows = jnp.where(has_ended, queue.ids, batch.size)
    outcomes = jax.tree.map(
        lambda stored, new: stored.at[rows].set(new, mode="drop"), queue.outcomes, found
    )
    rank = jnp.cumsum(has_ended, dtype=jnp.int32) - 1
    ids = jnp.where(has_ended, queue.next_id + rank, queue.ids)
    arrays = batch.take(jnp.minimum(ids, batch.size - 1))
    arrays = batch.hand_on(arrays, queue.arrays, found)
    # At the end of the queue there is nothing to start.
    fresh = cond(
        queue.next_id < batch.size,
        lambda: batch.start(arrays),
        lambda: queue.states,
    )
    fresh = _idle_where(ids >= batch.size, fresh)
    return _Queue(
        ids=ids,
        next_id=queue.next_id + jnp.sum(has_ended, dtype=jnp.int32),
        arrays=arrays,
        states=_where(has_ended, fresh, queue.states),
        outcomes=outcomes,
    )


def _idle_where(is_idle: Bool[Array, " lanes"], states: Any) -> Any:
    status = jnp.where(is_idle, Status.converged.value, states.status)
    return eqx.tree_at(lambda s: s.status, states, status.astype(jnp.int32))


def _where(condition: Bool[Array, " lanes"], x: PyTree, y: PyTree) -> PyTree:
    def choose(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, x, y)
