"""The compiled driver: a batch of systems, given by their parameters, in one program.

A loop over systems inside the program instead of around it: a system of 64 x 64 cells
that takes 0.6 ms to solve takes longer to assemble and to call outside of it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PyTree

from ...operators import AbstractOperator
from .._solve import Preconditioner, solve
from ..core._compilation import compile_modules
from ..core._solution import Solution
from ..core._solver import AbstractSolver
from ..wrappers._batched import Batched

Recycle: TypeAlias = Literal["chain", "frozen"]
Assemble: TypeAlias = Callable[[Any], tuple[Any, Any]]
Start: TypeAlias = Literal["zero", "previous"] | Callable[[Any, Any, Any], Any]


class Several(eqx.Module):
    """Preconditioners for a few clusters of systems, in `solve_batch`.

    Args:
        operators: one per cluster, alike in all but the numbers, such as those that one
            factory makes of the clusters' centres.
    """

    stacked: AbstractOperator

    def __init__(self, operators: Sequence[AbstractOperator]):
        self.stacked = jax.tree.map(lambda *a: jnp.stack(a), *operators)

    def of(self, source: Int[Array, ""]) -> AbstractOperator:
        """Return that of one cluster."""
        return jax.tree.map(lambda a: a[source], self.stacked)


def solve_batch(
    system: Assemble,
    parameters: PyTree,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | Several | None = None,
    carry: Any = None,
    sources: Int[Array, " systems"] | None = None,
    recycle: Recycle = "chain",
    start: Start = "zero",
    num_lanes: int = 1,
) -> Solution:
    """Assemble and solve systems one after the other, in one compiled program.

    For related systems in a good order, see `greedy_order`. Under `jax.vmap` it solves
    several such sequences side by side.

    Args:
        system: parameters -> (A, b), such as the method of a family; hashable, as the
            program is kept for it.
        parameters: arrays, stacked along a first axis.
        solver: the method and its tolerances.
        preconditioner: an operator that serves all systems, `Several` of which each
            serves those of its cluster, or a factory that makes one from each A.
        carry: a recycle space to begin with, such as another solution's.
        sources: the cluster of each system, see `cluster`: which of `Several`
            preconditioners it takes, and from which space it starts, if `carry` holds
            several, stacked along a first axis; the latter for "frozen" only.
        recycle: "chain" hands what a solve learnt to the next one; "frozen" starts
            every solve from `carry`, so that no solve depends on another.
        start: each solve from zero, from the "previous" solution, or from what a
            function of (parameters, A, b) returns, such as a `Galerkin` or a learned
            operator's prediction; where that is nearer than zero.
        num_lanes: systems that are iterated together, 1 on a CPU, on a GPU as many as
            fill it; a lane that has finished takes the next system, and in a "chain"
            the space of its last one.

    Returns:
        A `Solution` whose entries have the systems along their first axis, but for the
        carry, which is the last one's, and with several lanes `None`. Failures are told
        by the statuses, not raised.

    Raises:
        ValueError: parameters of no or of different first axes, an unknown option, or
            options that do not go together.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> def system(k):
        ...     return kx.operators.Diffusion(k), jnp.ones(30)
        >>> k = jnp.outer(jnp.linspace(1.0, 1.4, 5), jnp.ones(30))
        >>> solver = kx.solvers.GCRODR(rtol=1e-8, restart=20, num_recycled=8)
        >>> found = kx.solvers.sequences.solve_batch(system, k, solver)
        >>> found.value.shape, found.status.tolist()
        ((5, 30), [0, 0, 0, 0, 0])
    """
    _check(recycle, start, num_lanes)
    _check_sources(sources, carry, recycle, preconditioner)
    num_systems = count_systems(parameters)
    if sources is not None and len(sources) != num_systems:
        raise ValueError(
            f"sources must name a space for each of the {num_systems} systems, got "
            f"{len(sources)}"
        )
    batch = _Batch(system, solver, preconditioner, recycle, start)
    if num_lanes == 1:
        return _one_by_one(batch, parameters, carry, sources)
    return _side_by_side(batch, parameters, carry, sources, min(num_lanes, num_systems))


def count_systems(parameters: PyTree) -> int:
    """Return the length of the first axis of all parameters.

    Raises:
        ValueError: there is none, or they differ.
    """
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(parameters)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(
            "parameters must be arrays with the systems along their first axis, got "
            f"first axes {sorted(sizes)}"
        )
    return sizes.pop()[0]


def _check(recycle: Any, start: Any, num_lanes: int) -> None:
    if recycle not in get_args(Recycle):
        raise ValueError(f"recycle must be one of {get_args(Recycle)}, got {recycle!r}")
    if not callable(start) and start not in ("zero", "previous"):
        raise ValueError(
            'start must be one of "zero", "previous" or a function of (parameters, A, '
            f"b), got {start!r}"
        )
    if num_lanes < 1:
        raise ValueError(f"num_lanes must be at least 1, got {num_lanes}")
    if num_lanes > 1 and start == "previous":
        raise ValueError(
            'start="previous" needs systems one after the other, num_lanes=1'
        )


def _check_sources(sources: Any, carry: Any, recycle: Any, preconditioner: Any) -> None:
    has_several = isinstance(preconditioner, Several)
    if sources is None and has_several:
        raise ValueError("Several preconditioners need sources: which one for which")
    if sources is None:
        return
    if carry is None and not has_several:
        raise ValueError(
            "sources choose among the spaces of a carry or Several preconditioners: "
            "give one of them"
        )
    if carry is not None and recycle != "frozen":
        raise ValueError(
            'sources choose among spaces that stay as they are: recycle="frozen"'
        )


class _Batch(eqx.Module):
    """What all systems have in common."""

    system: Assemble
    solver: AbstractSolver
    preconditioner: Preconditioner | Several | None
    recycle: Recycle = eqx.field(static=True)
    start: Start

    def solve(self, p: Any, previous: Any, carry: Any, source: Any) -> Solution:
        """Assemble and solve one system."""
        A, b = self.system(p)
        M = self.preconditioner
        x0 = {"zero": None, "previous": previous}.get(str(self.start))
        if callable(self.start):
            x0 = self.start(p, A, b)
        return solve(
            A,
            b,
            self.solver,
            preconditioner=M.of(source) if isinstance(M, Several) else M,
            x0=x0,
            carry=carry,
            throw=False,
        )


@compile_modules
def _one_by_one(
    batch: _Batch, parameters: PyTree, carry: Any, sources: Any
) -> Solution:
    one = jax.tree.map(lambda leaf: leaf[0], parameters)
    structure = jax.eval_shape(lambda p: batch.system(p)[1], one)
    spaces = sources if carry is not None else None
    if carry is None and batch.solver.has_carry:
        carry = batch.solver.initial_carry(structure)

    def advance(
        state: tuple[Any, Any], inputs: tuple[Any, Any, Any]
    ) -> tuple[tuple[Any, Any], Solution]:
        (carry, x), (p, source, space) = state, inputs
        found = batch.solve(p, x, _take(carry, space), source)
        after = found.carry if batch.recycle == "chain" else carry
        return (after, found.value), with_carry(found, None)

    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), structure)
    inputs = (parameters, sources, spaces)
    (carry, _), found = lax.scan(advance, (carry, zeros), inputs)
    return with_carry(found, carry)


@compile_modules
def _side_by_side(
    batch: _Batch, parameters: PyTree, carry: Any, sources: Any, num_lanes: int
) -> Solution:
    hands_on = batch.recycle == "chain" and batch.solver.has_carry
    lanes = Batched(batch.solver, num_lanes=num_lanes, hands_on=hands_on)
    batch = eqx.tree_at(lambda b: b.solver, batch, lanes)

    def one(p: Any, source: Any) -> Solution:
        space = carry if carry is None else _take(carry, source)
        return with_carry(batch.solve(p, None, space, source), None)

    return jax.vmap(one)(parameters, sources)


def _take(carry: Any, source: Any) -> Any:
    """One of several spaces."""
    return carry if source is None else jax.tree.map(lambda a: a[source], carry)


def with_carry(solution: Solution, carry: Any) -> Solution:
    """The solution with another carry."""
    return eqx.tree_at(
        lambda s: s.carry, solution, carry, is_leaf=lambda leaf: leaf is None
    )
