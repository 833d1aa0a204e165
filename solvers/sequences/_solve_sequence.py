"""The driver of a sequence, in which each solve hands its carry to the next one."""

from collections.abc import Iterable, Iterator

from jaxtyping import PyTree

from ...operators import AbstractLinearOperator
from ...operators._arguments import shown
from .._solve import Preconditioner, solve
from ..core._solution import Solution
from ..core._solver import AbstractSolver


def solve_sequence(
    systems: Iterable[tuple[AbstractLinearOperator, PyTree]],
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | None = None,
    carry: PyTree = None,
) -> Iterator[Solution]:
    """Solve systems one after the other, each from the carry of the one before.

    Put related systems next to each other, see `greedy_order`. Systems are taken from
    the iterable one by one, and all of one structure share one compiled program.

    Args:
        systems: pairs (A, b).
        solver: one with a carry, such as `GCRODR`; others work too.
        preconditioner: an operator, or a factory that makes one from each A.
        carry: the initial carry, for instance that of another sequence's last solution.

    Yields:
        A `Solution` per system. Failures are reported by its status, never raised.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((200,)), jnp.ones(200)
        >>> systems = [(A, b), (1.01 * A, b), (1.02 * A, b)]
        >>> solver = kx.solvers.GCRODR(rtol=1e-8, restart=30, num_recycled=10)
        >>> solutions = list(kx.solvers.sequences.solve_sequence(systems, solver))
        >>> [int(s.status) for s in solutions]
        [0, 0, 0]
    """
    if not isinstance(systems, Iterable):
        raise TypeError(f"systems must be pairs (A, b), got {shown(systems)}")
    for pair in systems:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"systems must be pairs (A, b), got {shown(pair)}")
        A, b = pair
        solution = solve(
            A, b, solver, preconditioner=preconditioner, carry=carry, throw=False
        )
        carry = solution.carry
        yield solution
