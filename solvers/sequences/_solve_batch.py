"""The compiled driver: a batch of systems, given by their parameters, in one program.

The loop over systems is inside the program: a system of 64 x 64 cells that takes 0.6 ms
to solve takes longer than that to assemble and to call from Python.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._arguments import as_items, require_count, require_function, shown
from ...operators._control_flow import scan
from ...operators._field import Field, real_dtype, structure_of
from .._solve import Preconditioner, solve
from ..core._arguments import require_maker, require_solver
from ..core._compilation import compile_modules
from ..core._solution import Solution
from ..core._solver import AbstractSolver
from ..core._stopping import require_reachable
from ..wrappers._batched import Batched

Recycle: TypeAlias = Literal["chain", "frozen"]
Assemble: TypeAlias = Callable[[Any], tuple[AbstractLinearOperator, Field]]
Sources: TypeAlias = Int[Array, " systems"] | Int[np.ndarray, " systems"]
Start: TypeAlias = (
    Literal["zero", "previous"] | Callable[[Any, AbstractLinearOperator, Field], Field]
)


class Several(eqx.Module):
    """Several preconditioners, one for each cluster of systems, in `solve_batch`.

    Args:
        operators: one per cluster, of the same structure, such as those that a factory
            makes from the systems in the centres of the clusters. `Multigrid` needs a
            cycle that is given, since it may choose different ones.

    Raises:
        TypeError: something is no preconditioner.
        ValueError: preconditioners of different structures.
    """

    stacked: AbstractOperator

    def __init__(self, operators: Sequence[AbstractOperator]) -> None:
        made = as_items(operators, "operators", "preconditioners, one per cluster")
        if not made or not all(isinstance(M, AbstractOperator) for M in made):
            raise TypeError(
                "operators must be preconditioners, one per cluster, got "
                f"{shown(operators)}; make them first, such as Jacobi()(A)"
            )
        forms = [
            (jax.tree.structure(M), [jnp.shape(a) for a in jax.tree.leaves(M)])
            for M in made
        ]
        if any(form != forms[0] for form in forms):
            raise ValueError(
                "operators must be preconditioners of the same structure, got "
                "different ones; make them of operators of one kind and size, by one "
                'factory that chooses nothing itself, as Multigrid(cycle="robust")'
            )
        self.stacked = jax.tree.map(lambda *a: jnp.stack(a), *made)

    def of(self, source: Int[Array, ""]) -> AbstractOperator:
        """Return the preconditioner of a cluster."""
        return jax.tree.map(lambda a: a[source], self.stacked)


def solve_batch(
    system: Assemble,
    parameters: PyTree,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | Several | None = None,
    carry: PyTree = None,
    sources: Sources | None = None,
    recycle: Recycle = "chain",
    start: Start = "zero",
    num_lanes: int = 1,
) -> Solution:
    """Assemble and solve systems one after the other, in one compiled program.

    It is for related systems in a good order, see `greedy_order`. Under `jax.vmap` it
    solves several such sequences side by side.

    Args:
        system: parameters -> (A, b), such as the method of a family; hashable, since
            the compiled program is cached for it.
        parameters: arrays, stacked along a first axis.
        solver: the method and its tolerances.
        preconditioner: an operator for all systems, a factory that makes one from each
            A, or `Several`, one for each cluster of systems.
        carry: the initial recycle space, such as that of another solution. With
            `sources` and "frozen", one for each cluster, stacked along a first axis.
        sources: the cluster of each system, see `cluster`. It selects the
            preconditioner among `Several`, and the space among those of `carry`.
        recycle: "chain" hands the recycle space of each solve to the next one; "frozen"
            starts every solve from `carry`, so that the solves are independent.
        start: where a solve starts: at "zero", at the "previous" solution, or at the
            value of a function of (parameters, A, b), such as a `GalerkinStart` or the
            prediction of a learned operator. A start with a larger residual than zero
            is not used.
        num_lanes: number of systems that are iterated together: 1 on a CPU, on a GPU as
            many as fill it. A lane that has finished takes the next system, in a
            "chain" with the space of its last one.

    Returns:
        A `Solution` whose entries have the systems along their first axis, except for
        the carry, which is that of the last system, or `None` with several lanes.
        Failures are reported by the statuses, not raised.

    Raises:
        ValueError: parameters without a common first axis, an unknown option, or
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
    require_function(system, "system", "from parameters to (A, b)")
    require_solver(solver)
    if not isinstance(preconditioner, Several):
        require_maker(preconditioner)
    _require_space(solver, carry, recycle)
    _check_sources(sources, carry, recycle, preconditioner)
    num_systems = count_systems(parameters)
    if sources is not None and len(sources) != num_systems:
        raise ValueError(
            f"sources must hold a cluster for each of the {num_systems} systems, got "
            f"{len(sources)}"
        )
    if sources is not None:
        sources = jnp.asarray(sources)
    leaves = jax.tree.leaves(parameters)
    numbers = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if numbers:
        # In the compiled program the tolerance is a number like any other.
        require_reachable(solver, real_dtype(structure_of(numbers[0])))
    batch = _Batch(system, solver, preconditioner, recycle, start)
    if num_systems == 0:
        return _no_solutions(batch, parameters, carry, sources)
    if num_lanes == 1:
        return _one_by_one(batch, parameters, carry, sources)
    return _side_by_side(batch, parameters, carry, sources, min(num_lanes, num_systems))


def _no_solutions(
    batch: "_Batch", parameters: PyTree, carry: PyTree, sources: Any
) -> Solution:
    """The solution of no system, of the shapes that one would have."""

    def one_for_none(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype)

    parameters, sources = jax.tree.map(one_for_none, (parameters, sources))
    found = jax.eval_shape(
        lambda p, s: with_carry(_one_by_one(batch, p, carry, s), None),
        parameters,
        sources,
    )
    empty = jax.tree.map(lambda s: jnp.zeros((0, *s.shape[1:]), s.dtype), found)
    return with_carry(empty, carry)


def count_systems(parameters: PyTree) -> int:
    """Return the length of the first axis of all parameters.

    Raises:
        ValueError: an array has no axis, or the lengths differ.
    """
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(parameters)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(
            "parameters must be arrays with the systems along their first axis, got "
            f"first axes {sorted(sizes)}"
        )
    return sizes.pop()[0]


def _check(recycle: Recycle, start: Start, num_lanes: int) -> None:
    if not isinstance(recycle, str) or recycle not in get_args(Recycle):
        raise ValueError(f"recycle must be one of {get_args(Recycle)}, got {recycle!r}")
    if not callable(start) and start not in ("zero", "previous"):
        raise ValueError(
            'start must be one of "zero", "previous" or a function of (parameters, A, '
            f"b), got {start!r}"
        )
    require_count(num_lanes, "num_lanes")
    if num_lanes > 1 and start == "previous":
        raise ValueError(
            'start="previous" needs num_lanes=1, since systems are then solved one '
            f"after the other, got {num_lanes}"
        )


def _require_space(solver: AbstractSolver, carry: PyTree, recycle: Recycle) -> None:
    if recycle == "frozen" and solver.has_carry and carry is None:
        raise ValueError(
            'recycle="frozen" starts every system from one space, got no carry; give '
            "carry=learned_space(A, solver), or leave recycle out"
        )


def _check_sources(
    sources: Sources | None,
    carry: PyTree,
    recycle: Recycle,
    preconditioner: Preconditioner | Several | None,
) -> None:
    has_several = isinstance(preconditioner, Several)
    if sources is None and has_several:
        raise ValueError(
            "Several preconditioners need sources=, the cluster of each system"
        )
    if sources is None:
        return
    if carry is None and not has_several:
        raise ValueError(
            "sources choose among the spaces of a carry or Several preconditioners: "
            "give carry= or preconditioner=Several(...)"
        )
    if carry is not None and recycle != "frozen":
        raise ValueError(
            "sources choose among spaces that do not change: with a carry they need "
            f'recycle="frozen", got {recycle!r}'
        )


class _Batch(eqx.Module):
    """The settings that all systems of a batch share."""

    system: Assemble
    solver: AbstractSolver
    preconditioner: Preconditioner | Several | None
    recycle: Recycle = eqx.field(static=True)
    start: Start

    def solve(
        self,
        p: PyTree,
        previous: Field | None,
        carry: PyTree,
        source: Int[Array, ""] | None,
    ) -> Solution:
        """Assemble and solve one system."""
        A, b = self.system(p)
        M = self.preconditioner
        if isinstance(M, Several):
            assert source is not None
            M = M.of(source)
        x0 = previous if self.start == "previous" else None
        if callable(self.start):
            x0 = self.start(p, A, b)
        return solve(
            A,
            b,
            self.solver,
            preconditioner=M,
            x0=x0,
            carry=carry,
            throw=False,
        )


@compile_modules
def _one_by_one(
    batch: _Batch,
    parameters: PyTree,
    carry: PyTree,
    sources: Int[Array, " systems"] | None,
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
    (carry, _), found = scan(advance, (carry, zeros), inputs)
    return with_carry(found, carry)


@compile_modules
def _side_by_side(
    batch: _Batch,
    parameters: PyTree,
    carry: PyTree,
    sources: Int[Array, " systems"] | None,
    num_lanes: int,
) -> Solution:
    hands_on = batch.recycle == "chain" and batch.solver.has_carry
    lanes = Batched(batch.solver, num_lanes=num_lanes, hands_on=hands_on)
    batch = eqx.tree_at(lambda b: b.solver, batch, lanes)

    def one(p: PyTree, source: Int[Array, ""] | None) -> Solution:
        space = carry if carry is None else _take(carry, source)
        return with_carry(batch.solve(p, None, space, source), None)

    return jax.vmap(one)(parameters, sources)


def _take(carry: PyTree, source: Int[Array, ""] | None) -> PyTree:
    """Return the space of one cluster."""
    return carry if source is None else jax.tree.map(lambda a: a[source], carry)


def with_carry(solution: Solution, carry: PyTree) -> Solution:
    """Return the solution with another carry."""
    return eqx.tree_at(
        lambda s: s.carry, solution, carry, is_leaf=lambda leaf: leaf is None
    )
