"""The compiled driver: a batch of systems, given by their parameters, in one program.

A loop over systems inside the program instead of around it: a system of 64 x 64 cells
that takes 0.6 ms to solve takes longer to assemble and to call outside of it.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from .._compilation import compile_modules
from .._solution import Solution
from .._solve import Preconditioner, solve
from .._solver import AbstractSolver

Recycle: TypeAlias = Literal["chain", "frozen"]
Start: TypeAlias = Literal["zero", "previous"]


def solve_batch(
    system: Callable[[Any], tuple[Any, Any]],
    parameters: PyTree,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | None = None,
    carry: Any = None,
    recycle: Recycle = "chain",
    start: Start = "zero",
) -> Solution:
    """Assemble and solve systems one after the other, in one compiled program.

    For related systems in a good order, see `greedy_order`. Under `jax.vmap` it solves
    several such sequences side by side.

    Args:
        system: parameters -> (A, b), such as the method of a family; hashable, as the
            program is kept for it.
        parameters: arrays, stacked along a first axis.
        solver: the method and its tolerances.
        preconditioner: an operator that serves all systems, or a factory that makes one
            from each A.
        carry: a recycle space to begin with, such as another solution's.
        recycle: "chain" hands what a solve learnt to the next one; "frozen" starts
            every solve from `carry`, so that no solve depends on another.
        start: each solve from zero, or from the previous solution, where that is
            nearer.

    Returns:
        A `Solution` whose entries have the systems along their first axis, but for the
        carry, which is the last one's. Failures are told by the statuses, not raised.

    Raises:
        ValueError: parameters of no or of different first axes, or an unknown option.

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
    for name, value, kind in (("recycle", recycle, Recycle), ("start", start, Start)):
        if value not in get_args(kind):
            raise ValueError(f"{name} must be one of {get_args(kind)}, got {value!r}")
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(parameters)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(
            "parameters must be arrays with the systems along their first axis, got "
            f"first axes {sorted(sizes)}"
        )
    return _compiled(system, parameters, solver, preconditioner, carry, recycle, start)


@compile_modules
def _compiled(
    system: Callable[[Any], tuple[Any, Any]],
    parameters: PyTree,
    solver: AbstractSolver,
    preconditioner: Preconditioner | None,
    carry: Any,
    recycle: Recycle,
    start: Start,
) -> Solution:
    one = jax.tree.map(lambda leaf: leaf[0], parameters)
    structure = jax.eval_shape(lambda p: system(p)[1], one)
    if carry is None and solver.has_carry:
        carry = solver.initial_carry(structure)

    def advance(state: tuple[Any, Any], p: Any) -> tuple[tuple[Any, Any], Solution]:
        carry, x = state
        A, b = system(p)
        found = solve(
            A,
            b,
            solver,
            preconditioner=preconditioner,
            x0=x if start == "previous" else None,
            carry=carry,
            throw=False,
        )
        after = found.carry if recycle == "chain" else carry
        return (after, found.value), _with_carry(found, None)

    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), structure)
    (carry, _), found = lax.scan(advance, (carry, zeros), parameters)
    return _with_carry(found, carry)


def _with_carry(solution: Solution, carry: Any) -> Solution:
    return eqx.tree_at(
        lambda s: s.carry, solution, carry, is_leaf=lambda leaf: leaf is None
    )
