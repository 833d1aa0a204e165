"""What the training of a direction of search can make small.

With z = f(r), r = A e and α = z·r / z·Az, the step along z:

    residual      ‖r - α A z‖² / ‖r‖², the published loss; α makes another norm least,
                  so that it may exceed 1
    contraction   ‖e - α z‖²_A / ‖e‖²_A = 1 - (z·r)² / (z·Az e·r), what one step does
    unrolled      ‖e_k‖²_A / ‖e‖²_A after k steps of a solver

A. Kaneda et al., ICML 2023, PMLR 202:15720-15736, and the authors' published code.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import add_scaled, dot, subtract
from ...operators._field import Field
from ...solvers import AbstractSolver, FlexibleCG, solve

Direction = Callable[[Any], Any]


def residual_loss(
    f: Direction, A: AbstractLinearOperator, r: Field
) -> Float[Array, ""]:
    """Return ‖r - α A f(r)‖² / ‖r‖², the published loss.

    Args:
        f: the map of residuals.
        A: hermitian, positive semidefinite.
        r: a residual, not zero.

    Cost: a product and a call of f.
    """
    z = f(r)
    Az = A.mv(z)
    left = add_scaled(r, -_quotient(dot(z, r), dot(z, Az)), Az)
    return jnp.real(dot(left, left)) / jnp.real(dot(r, r))


def contraction_loss(
    f: Direction, A: AbstractLinearOperator, e: Field
) -> Float[Array, ""]:
    """Return 1 - (z·r)² / (z·Az e·r) with r = A e: what a step makes of ‖e‖²_A.

    Between 0 and 1, and the same for all multiples of f.

    Args:
        f: the map of residuals.
        A: hermitian, positive semidefinite.
        e: an error, not in the null space.

    Cost: two products and a call of f.
    """
    r = A.mv(e)
    z = f(r)
    gain = jnp.abs(dot(z, r)) ** 2
    return 1 - _quotient(gain, jnp.real(dot(z, A.mv(z)) * dot(e, r)))


def unrolled_loss(
    f: Any,
    A: AbstractLinearOperator,
    e: Field,
    num_steps: int,
    solver: AbstractSolver | None = None,
) -> Float[Array, ""]:
    """Return ‖e_k‖²_A / ‖e‖²_A after k steps of a solver, from the error e.

    Args:
        f: the preconditioner, or a factory of one.
        A: hermitian, positive semidefinite.
        e: an error, not in the null space.
        num_steps: k.
        solver: by default the method of the paper, `FlexibleCG(truncation=2)`.

    Cost: k steps, all of whose vectors are kept for the derivative.
    """
    solver = FlexibleCG(truncation=2) if solver is None else solver
    r = A.mv(e)
    x = solve(A, r, solver, preconditioner=f, unroll=num_steps).value
    left = subtract(e, x)
    return jnp.real(dot(left, A.mv(left))) / jnp.real(dot(e, r))


def _quotient(above: Array, below: Array) -> Array:
    """Zero where nothing is gained, as by f = 0."""
    is_positive = jnp.real(below) > 0
    return jnp.where(is_positive, above / jnp.where(is_positive, below, 1), 0)
