"""The driver over a tree: every system starts from the space of its parent.

Where a chain of N systems has N links, a tree of medians has log₂ N levels, and the
systems of a level wait for nobody.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Int, PyTree

from .._solve import Preconditioner, solve
from ..core._compilation import compile_modules
from ..core._solution import Solution
from ..core._solver import AbstractSolver
from ..wrappers._batched import Batched
from ._solve_batch import Assemble, count_systems, with_carry
from ._trees import SystemTree

_CHUNK = 16
"""Systems of a level that are solved in one call, so that all share one program."""


def solve_tree(
    system: Assemble,
    parameters: PyTree,
    tree: SystemTree,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | None = None,
    carry: Any = None,
    starts_from_parent: bool = False,
    num_lanes: int = 1,
) -> Solution:
    """Solve systems level by level, each from the recycle space of its parent.

    Args:
        system: parameters -> (A, b), hashable, as for `solve_batch`.
        parameters: arrays, stacked along a first axis.
        tree: over the systems, such as `median_tree` or `spanning_tree` of features.
        solver: one that recycles; others work too.
        preconditioner: an operator that serves all systems, or a factory that makes one
            from each A.
        carry: the space that the root starts from.
        starts_from_parent: whether solves start from their parent's solution, where
            that is nearer, instead of from zero.
        num_lanes: systems of a level that are iterated together, as in `solve_batch`.

    Returns:
        A `Solution` whose entries have the systems along their first axis, without
        carry. Failures are told by the statuses, not raised.

    Raises:
        ValueError: parameters of no or of different first axes, or of another number of
            systems than the tree has.

    Cost: as a chain; the spaces of two levels are held.

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
    # Before the root stands a system that was not solved.
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
    """What all systems have in common."""

    system: Assemble
    solver: AbstractSolver
    preconditioner: Preconditioner | None
    starts_from_parent: bool = eqx.field(static=True)
    num_lanes: int = eqx.field(static=True)

    def solve(self, p: Any, carry: Any, x0: Any) -> Solution:
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
    carries: Any,
    values: Any,
) -> Solution:
    """Solve some systems, each from the space of one of those above."""
    size = max(_CHUNK, level.num_lanes)
    parts = []
    for first in range(0, len(ids), size):
        # One program for all calls: the last one is filled up.
        count = min(size, len(ids) - first)
        rows = first + np.minimum(np.arange(size), count - 1)
        found = _solve_some(
            level,
            _take(parameters, ids[rows]),
            _take(carries, sources[rows]),
            _take(values, sources[rows]),
            np.arange(size) < count,
        )
        parts.append(_take(found, np.arange(count)))
    return jax.tree.map(lambda *a: jnp.concatenate(a), *parts)


@compile_modules
def _solve_some(
    level: _Level, parameters: Any, carries: Any, values: Any, is_asked: Any
) -> Solution:
    systems = (parameters, carries, values)
    if level.num_lanes > 1:
        return jax.vmap(level.solve)(*systems)
    one = jax.tree.map(lambda a: a[0], systems)
    nothing = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(level.solve, *one)
    )

    def solve_asked(arguments: Any) -> Solution:
        is_asked, system = arguments
        return lax.cond(is_asked, lambda: level.solve(*system), lambda: nothing)

    return lax.map(solve_asked, (is_asked, systems))


def _take(tree: Any, rows: Int[np.ndarray, " rows"]) -> Any:
    return jax.tree.map(lambda a: a[rows], tree)
