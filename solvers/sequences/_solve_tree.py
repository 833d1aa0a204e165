"""The driver along a tree: every system starts from the space of its parent.

A chain of N systems is N solves long. A tree of medians has log₂ N levels, and the
systems of a level are independent of one another.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int, PyTree

from ...operators._arguments import require_function
from ...operators._control_flow import cond
from ...operators._field import Field
from .._solve import Preconditioner, solve
from ..core._arguments import require_maker, require_solver
from ..core._compilation import compile_modules
from ..core._solution import Solution
from ..core._solver import AbstractSolver
from ..wrappers._batched import Batched
from ._solve_batch import Assemble, count_systems, with_carry
from ._trees import SystemTree

_CHUNK = 16
"""Number of systems in a call, the same for all levels, which share one program."""


def solve_tree(
    system: Assemble,
    parameters: PyTree,
    tree: SystemTree,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | None = None,
    carry: PyTree = None,
    starts_from_parent: bool = False,
    num_lanes: int = 1,
) -> Solution:
    """Solve systems level by level, each from the recycle space of its parent.

    Args:
        system: parameters -> (A, b), hashable, as for `solve_batch`.
        parameters: arrays, stacked along a first axis.
        tree: over the systems, such as `median_tree` or `spanning_tree` of features.
        solver: one with a recycle space; others work too.
        preconditioner: an operator that serves all systems, or a factory that makes one
            from each A.
        carry: the recycle space from which the root starts.
        starts_from_parent: whether a solve starts from the solution of its parent
            instead of zero, if that has a smaller residual.
        num_lanes: number of systems of a level that are iterated together, as in
            `solve_batch`.

    Returns:
        A `Solution` whose entries have the systems along their first axis, without
        carry. Failures are reported by the statuses, not raised.

    Raises:
        ValueError: parameters without a common first axis, or with another number of
            systems than the tree has.

    Cost: that of a chain; the spaces of two levels are kept in memory.

    Examples:
        >>> import jax.numpy as jnp, numpy as np, krylax as kx
        >>> from krylax.solvers.sequences import median_tree, solve_tree
        >>> def system(k):
        ...     return kx.operators.Diffusion(k), jnp.ones(30)
        >>> k = np.outer(np.linspace(1.0, 1.4, 5), np.ones(30))
        >>> solver = kx.solvers.GCRODR(rtol=1e-8, restart=20, num_recycled=8)
        >>> solve_tree(system, k, median_tree(k), solver).status.tolist()
        [0, 0, 0, 0, 0]
    """
    require_function(system, "system", "from parameters to (A, b)")
    require_solver(solver)
    require_maker(preconditioner)
    num_systems = count_systems(parameters)
    if num_systems != len(tree.parents):
        raise ValueError(
            f"the tree has {len(tree.parents)} systems, but there are parameters of "
            f"{num_systems}"
        )
    one = jax.tree.map(lambda leaf: leaf[0], parameters)
    structure = jax.eval_shape(lambda p: system(p)[1], one)
    if carry is None and solver.has_carry:
        carry = solver.initial_carry(structure)
    # The carry and the start of the root stand for a parent that was not solved.
    carries = jax.tree.map(lambda a: jnp.asarray(a)[None], carry)
    values = jax.tree.map(lambda s: jnp.zeros((1, *s.shape), s.dtype), structure)
    level = _Level(system, solver, preconditioner, starts_from_parent, num_lanes)
    places, parts = np.zeros(num_systems, int), []
    for ids in tree.levels:
        parents = tree.parents[ids]
        sources = np.where(parents < 0, 0, places[parents])
        found = _solve_level(level, parameters, ids, sources, carries, values)
        carries, values = found.carry, found.value
        places[ids] = np.arange(len(ids))
        parts.append(with_carry(found, None))
    joined = jax.tree.map(lambda *a: jnp.concatenate(a), *parts)
    return _take(joined, np.argsort(tree.order))


class _Level(eqx.Module):
    """The settings that all systems of a tree share."""

    system: Assemble
    solver: AbstractSolver
    preconditioner: Preconditioner | None
    starts_from_parent: bool = eqx.field(static=True)
    num_lanes: int = eqx.field(static=True)

    def solve(self, p: PyTree, carry: PyTree, x0: Field) -> Solution:
        """Assemble and solve one system."""
        A, b = self.system(p)
        return solve(
            A,
            b,
            self.solver
            if self.num_lanes == 1
            else Batched(self.solver, self.num_lanes),
            preconditioner=self.preconditioner,
            x0=x0 if self.starts_from_parent else None,
            carry=carry,
            throw=False,
        )


def _solve_level(
    level: _Level,
    parameters: PyTree,
    ids: Int[np.ndarray, " systems"],
    sources: Int[np.ndarray, " systems"],
    carries: PyTree,
    values: Field,
) -> Solution:
    """Solve the systems of a level, each from the space of one of the level above."""
    size = max(_CHUNK, level.num_lanes)
    parts = []
    for first in range(0, len(ids), size):
        # The last call is padded, so that one program serves all calls.
        count = min(size, len(ids) - first)
        rows = first + np.minimum(np.arange(size), count - 1)
        found = _solve_some(
            level,
            _take(parameters, ids[rows]),
            _take(carries, sources[rows]),
            _take(values, sources[rows]),
            jnp.asarray(np.arange(size) < count),
        )
        parts.append(_take(found, np.arange(count)))
    return jax.tree.map(lambda *a: jnp.concatenate(a), *parts)


@compile_modules
def _solve_some(
    level: _Level,
    parameters: PyTree,
    carries: PyTree,
    values: Field,
    is_needed: Bool[Array, " systems"],
) -> Solution:
    systems = (parameters, carries, values)
    if level.num_lanes > 1:
        return jax.vmap(level.solve)(*systems)
    one = jax.tree.map(lambda a: a[0], systems)
    nothing = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(level.solve, *one)
    )

    def solve_needed(arguments: Any) -> Solution:
        is_needed, system = arguments
        return cond(is_needed, lambda: level.solve(*system), lambda: nothing)

    return lax.map(solve_needed, (is_needed, systems))


def _take(tree: PyTree, rows: Int[np.ndarray, " rows"]) -> PyTree:
    return jax.tree.map(lambda a: a[rows], tree)
