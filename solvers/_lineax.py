"""Our solvers for lineax, and through it for Optimistix and Diffrax."""

from typing import Any

import equinox as eqx
from jax import lax

from ..operators._lineax import require_lineax
from ._solve import Preconditioner
from .core._arguments import require_maker, require_solver
from .core._solver import AbstractSolver


def as_lineax_solver(
    solver: AbstractSolver, preconditioner: Preconditioner | None = None
) -> Any:
    """Return a solver as a `lineax.AbstractLinearSolver`.

    Optimistix and Diffrax hand a linear solver nothing but the Jacobian and the
    right-hand side, so the preconditioner travels inside: a factory is called with each
    new operator, once where the root finder keeps the Jacobian (a chord method). Their
    Jacobians are functions: make the preconditioner from what is known about the
    problem, since `diagonal` of a function costs its whole matrix.

    The carry of a sequence does not come out of lineax, so every solve starts afresh.
    Derivatives are lineax's, by solves with the same solver and the preconditioner,
    transposed where need be; the preconditioner has derivative zero. A system that
    lineax calls negative semidefinite is solved, with its preconditioner, with all
    signs changed, so that `CG` takes it; fields of several precisions are solved in the
    widest one. Of lineax's options, `y0` is the start and
    `preconditioner` replaces the one given here.

    Args:
        solver: the method and its tolerances.
        preconditioner: an approximate inverse of A, or a factory that makes one from A.

    Returns:
        A lineax solver for square systems. Its stats are those of `Statistics`, the
        `status`, and `max_steps`. Its results are

        - `successful`: `converged`, `attained`;
        - `max_steps_reached`, `nonfinite_input`: our status of that name;
        - `stagnation`: `stagnated`, `diverged`;
        - `breakdown`: `breakdown`, `indefinite_operator`, `indefinite_preconditioner`;
        - `singular`: `nonfinite`, `incompatible_rhs`.

    Raises:
        ImportError: lineax is not installed.
        TypeError: not a solver.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx, lineax as lx
        >>> A = lx.MatrixLinearOperator(jnp.array([[1.0, 2.0], [-3.0, 1.0]]))
        >>> solver = kx.solvers.as_lineax_solver(kx.solvers.GMRES(rtol=1e-12))
        >>> lx.linear_solve(A, jnp.array([3.0, -2.0]), solver).value
        Array([1., 1.], dtype=float64)
    """
    require_lineax()
    from ._lineax_solver import LineaxSolver

    require_solver(solver)
    require_maker(preconditioner)
    # lineax refuses solvers that are being differentiated.
    arrays, rest = eqx.partition(preconditioner, eqx.is_array)
    return LineaxSolver(solver, eqx.combine(lax.stop_gradient(arrays), rest))
