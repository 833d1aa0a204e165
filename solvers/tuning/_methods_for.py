"""Methods that are worth trying on an operator, chosen by its tags."""

from dataclasses import replace
from typing import Any

import jax

from ...operators import AbstractLinearOperator, AbstractOperator
from ...operators._field import real_dtype
from ...operators._operator import require_operator
from .._solve import Preconditioner
from ..core._solver import AbstractSolver
from ..core._stopping import suited_rtol
from ..factorization._incomplete_cholesky import IncompleteCholesky
from ..krylov._bicgstab import BiCGStab
from ..krylov._cg import CG
from ..krylov._gmres import GMRES
from ..krylov._minres import MINRES
from ..multigrid._algebraic_multigrid import AlgebraicMultigrid
from ..multigrid._multigrid import Multigrid
from ..relaxation._jacobi import Jacobi
from ..relaxation._ssor import SSOR
from ._method import Method


def methods_for(
    A: AbstractLinearOperator, *, rtol: float | None = None, max_steps: int = 10_000
) -> dict[str, Method]:
    """Return methods for systems like A by name, the one that is likely best first.

    Methods whose preconditioner does not support the operator are left out.

    Args:
        A: an operator of this kind.
        rtol: tolerance on the true residual, by default 1e-6 in 64 bits and 1e-5 in 32.
        max_steps: bound on the number of steps.

    Raises:
        TypeError: A is no linear operator.
        ValueError: rtol or max_steps out of range.

    Examples:
        >>> import krylax as kx
        >>> list(kx.solvers.tuning.methods_for(kx.operators.Laplacian((8, 8))))[:2]
        ['CG with Multigrid', 'CG with Multigrid of one sweep']
    """
    require_operator(A)
    if rtol is None:
        rtol = max(1e-6, suited_rtol(real_dtype(A.in_structure)))
    settings: dict[str, Any] = {"rtol": rtol, "max_steps": max_steps}
    found = {
        name: Method(solver, preconditioner)
        for name, solver, preconditioner in _candidates(A.tags, settings)
    }
    return {name: method for name, method in found.items() if _is_supported(method, A)}


def _candidates(
    tags: frozenset[str], settings: dict[str, Any]
) -> list[tuple[str, AbstractSolver, Preconditioner | None]]:
    cg, bicgstab = CG(**settings), BiCGStab(**settings)
    if "positive_definite" in tags:
        cheap = Multigrid(cycle="cheap")
        return [
            ("CG with Multigrid", cg, cheap),
            ("CG with Multigrid of one sweep", cg, replace(cheap, num_sweeps=1)),
            ("CG with Multigrid in 32 bits", cg, replace(cheap, single_precision=True)),
            ("CG with robust Multigrid", cg, Multigrid(cycle="robust")),
            ("CG with AlgebraicMultigrid", cg, AlgebraicMultigrid()),
            ("CG with IncompleteCholesky", cg, IncompleteCholesky()),
            ("CG with Jacobi", cg, Jacobi()),
        ]
    gmres = [
        (f"GMRES({restart}) with Jacobi", GMRES(restart=restart, **settings), Jacobi())
        for restart in (30, 100)
    ]
    if "hermitian" in tags:
        minres = ("MINRES", MINRES(**settings), None)
        return [minres, ("BiCGStab with Jacobi", bicgstab, Jacobi()), *gmres]
    return [
        ("BiCGStab with Multigrid", bicgstab, Multigrid()),
        ("BiCGStab with SSOR", bicgstab, SSOR()),
        ("BiCGStab with Jacobi", bicgstab, Jacobi()),
        *gmres,
    ]


def preconditioner_for(
    method: Method, A: AbstractLinearOperator
) -> Preconditioner | None:
    """Return the preconditioner as `solve` takes it outside of a compiled program."""
    M = method.preconditioner
    if M is None or isinstance(M, AbstractOperator) or A.sparse is None:
        return M
    # The pattern of A must be concrete when the preconditioner is made.
    return M(A)


def _is_supported(method: Method, A: AbstractLinearOperator) -> bool:
    """Return whether the preconditioner supports the operator."""
    M = method.preconditioner
    if M is None or isinstance(M, AbstractOperator):
        return True
    try:
        if A.sparse is None:
            jax.eval_shape(M, A)
        else:
            M(A)
    except ValueError:
        return False
    return True
