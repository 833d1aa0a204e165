"""A recycle space for a whole family, learned from one of its operators.

The space that a solve leaves behind depends on its right-hand side and on its number of
steps. Solves of the same operator with random right-hand sides, each from the space of
the one before, bring it near to the invariant space of the smallest singular values.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ...operators import AbstractLinearOperator
from ...operators._arguments import require_count
from ...operators._operator import require_operator
from .._solve import Preconditioner, solve
from ..core._arguments import require_maker, require_solver
from ..core._nullspace import complement_of
from ..core._solver import AbstractSolver


def learned_space(
    A: AbstractLinearOperator,
    solver: AbstractSolver,
    *,
    preconditioner: Preconditioner | None = None,
    num_solves: int = 4,
    seed: int = 0,
) -> PyTree:
    """Return the carry after a few solves of one operator, such as a family's mean.

    `solve_batch(..., recycle="frozen")` starts every system from it, and a chain can
    begin with it instead of an empty space.

    Args:
        A: the operator.
        solver: one that recycles.
        preconditioner: as in `solve`.
        num_solves: number of right-hand sides.
        seed: of their entries, which are normally distributed.

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
    require_operator(A)
    require_solver(solver)
    require_maker(preconditioner)
    if not solver.has_carry:
        raise ValueError(
            f"{type(solver).__name__} recycles nothing; use GCRODR, RecycledMINRES or "
            "DeflatedCG"
        )
    require_count(num_solves, "num_solves")
    require_count(seed, "seed", 0)
    complement = complement_of(A, solver.inner_product)
    generator, carry = np.random.default_rng(seed), None
    for _ in range(num_solves):
        b = jax.tree.map(
            lambda s: jnp.asarray(generator.standard_normal(s.shape), s.dtype),
            A.out_structure,
        )
        b = complement.project(b)
        carry = solve(
            A, b, solver, preconditioner=preconditioner, carry=carry, throw=False
        ).carry
    return carry
