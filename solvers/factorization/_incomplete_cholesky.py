"""The incomplete Cholesky factorisation without fill, IC(0).

M = (P + L) P⁻¹ (P + Lᴴ) with L strictly lower triangular and P diagonal, both zero
where A is, and M = A where A is not zero: in order of the columns,

    s_ij = a_ij - Σ_{k<j} s_ik conj(s_jk) / s_kk,    i ≥ j,

over the k for which both are stored (J. A. Meijerink, H. A. van der Vorst, An iterative
solution method for linear systems of which the coefficient matrix is a symmetric
M-matrix, Math. Comp. 31, 1977, doi:10.1090/S0025-5718-1977-0438681-4). Off the diagonal
s is L and on it P. On a grid no three cells are neighbours of each other, so that L is
that of A, and the pivots P are a recurrence along wavefronts.

It is computed as ILU(0), which finds U = Lᴴ. A pivot can fail to be positive where A is
no M-matrix: see `_incomplete_inverse`.

Differs from the sources:
1. On a periodic axis of three cells, whose cells are all neighbours of each other, L is
   that of A all the same.
2. No square roots are taken.
"""

import equinox as eqx
import jax.numpy as jnp

from ...operators import AbstractLinearOperator
from ...operators._operator import require_operator
from ...operators._tags import require_complete
from ..sweeps._swept_inverse import SweptInverse
from ._incomplete_inverse import incomplete_inverse


class IncompleteCholesky(eqx.Module):
    """The factory of the incomplete Cholesky factorisation without fill.

    For hermitian positive definite operators: `Sparse`, in the order of its rows, and
    operators on grids (`Laplacian`, `Diffusion`, `Helmholtz`, `MaskedPoisson`, and
    multiples and sums of these with diagonals, as far as they are tagged) in row-major
    order. On a Poisson problem CG takes about a third of its steps. The pattern of a
    `Sparse` must be known: make the preconditioner before the solve. The factor has
    derivative zero.

    Returns:
        When called: an operator that is hermitian positive definite. If no shift makes
        the pivots positive, A is not definite, and a solve reports it by its status.

    Raises:
        ValueError: when called: an operator without the tag `positive_definite` or
            `positive_semidefinite`, of another kind, or with a traced pattern.

    Cost: per application the two triangular sweeps of `SSOR` in natural order; at
    set-up about as much, for `Sparse` also a pass over the pattern on the host.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((64, 64)), jnp.ones((64, 64))
        >>> M = kx.solvers.IncompleteCholesky()
        >>> sol = kx.solve(A, b, kx.solvers.CG(rtol=1e-8), preconditioner=M)
        >>> bool(sol.stats.num_steps < 60)
        True
    """

    def __call__(self, A: AbstractLinearOperator) -> SweptInverse:
        """Return the preconditioner of A."""
        require_operator(A)
        require_complete(A)
        if "positive_semidefinite" not in A.tags:
            raise ValueError(
                "IncompleteCholesky needs an operator tagged positive_definite, got a "
                f"{type(A).__name__} tagged {sorted(A.tags)}; promise it where the "
                "operator is made (of a sum, for each summand; a multiple loses it), "
                "or use SSOR"
            )
        return incomplete_inverse(
            A,
            sizes=jnp.real,
            # A singular A has a pivot of zero, give or take a rounding.
            first_try=0 if "positive_definite" in A.tags else 1,
            promised=A.tags - {"singular"},
            wanted_by="IncompleteCholesky",
        )
