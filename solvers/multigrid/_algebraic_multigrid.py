"""Algebraic multigrid for sparse matrices: PyAMG's hierarchy, its cycle in JAX.

By default smoothed aggregation: P. Vaněk, J. Mandel, M. Brezina, Algebraic multigrid by
smoothed aggregation for second and fourth order elliptic problems, Computing 56 (1996),
doi:10.1007/BF02238511, as in N. Bell, L. N. Olson, J. Schroder, B. Southworth, PyAMG:
algebraic multigrid solvers in Python, J. Open Source Softw. 8 (2023),
doi:10.21105/joss.05495. The cycle is that of _cycle.py, the smoother that of
_jacobi_sweeps.py on [ρ/4, ρ], where ρ = ‖D⁻¹A‖_∞ bounds the spectrum of D⁻¹A: for
definite A it reduces every error, so that the cycle is definite and CG may use it.

Differs from the sources:
1. PyAMG scales its Jacobi steps by a spectral radius that it estimates from a random
   start. Here, and in the default's prolongators, row sums bound it, so that the same
   matrix gives the same numbers.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import equinox as eqx
import jax
import numpy as np
import scipy.sparse

from ...operators import AbstractLinearOperator, Sparse
from ...operators._arguments import shown
from ...operators._field import is_traced, on_device
from ...operators._operator import require_operator
from ...operators._sparse_layout import known_rows
from ...operators._tags import is_real
from ._coarse_inverse import CoarseInverse
from ._cycle import MultigridCycle
from ._jacobi_sweeps import JacobiSweeps, chebyshev_steps, require_sweeps
from ._level import Level

THRESHOLD = 0.08
"""Couplings below it are weak on the finest level, half of it on the next, as Vaněk
et al. have it. PyAMG's default is 0, with which CG took 37 steps instead of 7 where one
direction of 64 × 64 points is 100 times weaker, and 24 instead of 10 for jumps of 10⁴.
"""

LEVELS = range(10)
"""More than PyAMG makes by default."""


class AlgebraicMultigrid(eqx.Module):
    """The factory of an algebraic multigrid cycle, for `Sparse`.

    For hermitian positive definite matrices, by CG. The matrix must be known: make the
    preconditioner before the solve, as in `AlgebraicMultigrid()(A)`. It has derivative
    zero. Needs PyAMG (`pip install krylax[amg]`).

    Args:
        num_sweeps: Jacobi sweeps before and after each coarse correction.
        build: a function from a SciPy CSR matrix to a multilevel solver of PyAMG, whose
            matrices are used and whose smoothers are not, such as
            `pyamg.ruge_stuben_solver`, or one that knows the near null space:
            `partial(pyamg.smoothed_aggregation_solver, B=B)`.

    Returns:
        When called with an operator: a `MultigridCycle`, hermitian positive
        definite if the operator is, and R = Pᴴ on every level.

    Raises:
        ImportError: when called without `build`: PyAMG is not installed.
        ValueError: num_sweeps below 1, or, when called, no `Sparse`, one that is
            traced, or one with a zero on its diagonal.

    Cost: per application 2 num_sweeps products with A, times the operator complexity
    (1.3 for Poisson, 3.4 where one direction is weak), and one product with each P and
    R. At set-up about a hundred products, on the host.

    Examples:
        >>> import numpy as np, scipy.sparse, krylax as kx
        >>> line = scipy.sparse.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1],
        ...     shape=(900, 900))
        >>> A = kx.operators.Sparse.from_scipy(line, tags=["positive_definite"])
        >>> M = kx.solvers.AlgebraicMultigrid()(A)
        >>> solver = kx.solvers.CG(rtol=1e-8)
        >>> sol = kx.solve(A, np.ones(900), solver, preconditioner=M)
        >>> bool(sol.stats.num_steps < 10)
        True
    """

    num_sweeps: int = eqx.field(static=True, default=2)
    build: Callable[[Any], Any] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        require_sweeps(self.num_sweeps)
        if not (self.build is None or callable(self.build)):
            raise TypeError(
                "build must be a function of a SciPy matrix, such as "
                f"pyamg.ruge_stuben_solver, or None, got {shown(self.build)}"
            )

    def __call__(self, A: AbstractLinearOperator) -> MultigridCycle:
        """Return the preconditioner of A."""
        require_operator(A)
        build = _aggregated if self.build is None else self.build
        *levels, last = build(_as_scipy(A)).levels
        # On the levels below they follow where all transfers are adjoint.
        tags = A.tags - {"singular"} if all(map(_is_adjoint, levels)) else frozenset()
        if not is_real(A.in_structure):
            # Complex transfers that are adjoint are not transposed.
            tags -= {"symmetric"}
        is_hermitian = "hermitian" in A.tags
        inverse = np.linalg.pinv(last.A.toarray(), hermitian=is_hermitian)
        fields: Any = A.in_structure
        return MultigridCycle(
            [_as_level(level, self.num_sweeps, fields, tags) for level in levels],
            CoarseInverse(
                on_device(inverse.astype(fields.dtype)), last.A.shape[:1], tags
            ),
        )


AlgebraicMultigridCycle = MultigridCycle
"""What `AlgebraicMultigrid` makes."""


def _aggregated(matrix: Any) -> Any:
    """Return the default hierarchy, which is deterministic."""
    try:
        import pyamg
    except ImportError as error:
        raise ImportError(
            "AlgebraicMultigrid needs PyAMG; install it with pip install krylax[amg]"
        ) from error
    build: Any = pyamg.smoothed_aggregation_solver
    return build(
        matrix,
        strength=[("symmetric", {"theta": THRESHOLD / 2**level}) for level in LEVELS],
        smooth=("jacobi", {"omega": 4 / 3, "weighting": "local"}),
        presmoother=None,
        postsmoother=None,
    )


def _as_scipy(A: Any) -> scipy.sparse.csr_array:
    """The matrix of a `Sparse` in double precision, in which PyAMG works."""
    # Inside of a program the numbers of a multiple of a constant are known too.
    with nullcontext() if is_traced(A) else jax.ensure_compile_time_eval():
        stored = A.sparse
    if stored is None:
        raise ValueError(
            f"AlgebraicMultigrid knows Sparse, got {type(A).__name__}; build the "
            "matrix with Sparse.from_scipy, or use Multigrid for Diffusion"
        )
    if is_traced(A):
        raise ValueError(
            "AlgebraicMultigrid needs a matrix whose numbers are known, got a traced "
            "one; make it before the solve and outside of jit: "
            "preconditioner=AlgebraicMultigrid()(A)"
        )
    values = np.asarray(stored.values)
    wide = np.result_type(values.dtype, np.float64)
    places = (known_rows(stored.layout), np.asarray(stored.layout.columns))
    shape = (A.out_structure.shape[0], A.in_structure.shape[0])
    matrix = scipy.sparse.coo_array((values.astype(wide), places), shape).tocsr()
    matrix.eliminate_zeros()  # slots that are padding
    if np.any(matrix.diagonal() == 0):
        raise ValueError(
            "AlgebraicMultigrid divides by the diagonal, got a matrix with a zero on "
            "it; it is for positive definite matrices"
        )
    return matrix


def _as_level(level: Any, num_sweeps: int, fields: Any, tags: frozenset[str]) -> Level:
    inverse = 1 / level.A.diagonal()
    bound = np.max(abs(level.A).sum(axis=1) * abs(inverse))
    weights = (2 / bound * inverse).astype(fields.dtype)

    def as_operator(matrix: Any, tags: frozenset[str] = frozenset()) -> Sparse:
        return Sparse.from_scipy(matrix.tocsr().astype(fields.dtype), tags=tags)

    return Level(
        as_operator(level.A, tags),
        JacobiSweeps(on_device(weights), chebyshev_steps(num_sweeps)),
        as_operator(level.R),
        as_operator(level.P),
        is_adjoint=_is_adjoint(level),
    )


def _is_adjoint(level: Any) -> bool:
    return (level.R != level.P.conj().T).nnz == 0
