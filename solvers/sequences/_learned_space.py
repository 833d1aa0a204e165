"""A recycle space that serves a whole family: what one operator finds hard.

The space that a solve leaves behind depends on its right-hand side and on how far it
went. Solves of the same operator with random right-hand sides, each from the space of
the one before, bring it near to the invariant space of the smallest singular values.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...operators import AbstractLinearOperator
from .._solve import Preconditioner, solve
from ..core._solver import AbstractSolver


def learned_space(
    A: AbstractLinearOperator,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | None = None,
    num_solves: int = 4,
    seed: int = 0,
) -> Any:
    """Return the carry of a few solves of one operator, such as the mean of a family.

    It is what `solve_batch(..., recycle="frozen")` starts every system from, and what
    a chain begins with instead of nothing.

    Args:
        A: the operator.
        solver: one that recycles.
        preconditioner: as in `solve`.
        num_solves: how many right-hand sides.
        seed: of their entries, which are normal.

    Raises:
        ValueError: a solver that recycles nothing, or num_solves below 1.

    Cost: num_solves solves.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> from krylax.solvers.sequences import learned_space
        >>> A = kx.operators.Laplacian((300,))
        >>> solver = kx.solvers.GCRODR(rtol=1e-8, restart=30, num_recycled=10)
        >>> space = learned_space(A, solver)
        >>> warm = kx.solve(A, jnp.ones(300), solver, carry=space).stats.num_steps
        >>> bool(warm < kx.solve(A, jnp.ones(300), solver).stats.num_steps)
        True
    """
    if not solver.has_carry:
        raise ValueError(
            f"{type(solver).__name__} recycles nothing; use GCRODR, RecycledMINRES or "
            "DeflatedCG"
        )
    if num_solves < 1:
        raise ValueError(f"num_solves must be at least 1, got {num_solves}")
    generator, carry = np.random.default_rng(seed), None
    for _ in range(num_solves):
        b = jax.tree.map(
            lambda s: jnp.asarray(generator.standard_normal(s.shape), s.dtype),
            A.out_structure,
        )
        carry = solve(
            A, b, solver, preconditioner=preconditioner, carry=carry, throw=False
        ).carry
    return carry
