"""Algebraic multigrid for sparse matrices: a hierarchy by PyAMG, its cycle in JAX.

By default smoothed aggregation (_smoothed_aggregation.py); otherwise what a function of
PyAMG makes: N. Bell, L. N. Olson, J. Schroder, B. Southworth, PyAMG: algebraic
multigrid solvers in Python, J. Open Source Softw. 8 (2023), doi:10.21105/joss.05495.
The cycle is that of _cycle.py, the smoother that of _jacobi_sweeps.py, scaled by a
bound of D⁻¹A's spectrum (_spectral_radius.py): for definite A it reduces every error,
so that the cycle is definite and CG may use it.

Differs from the sources:
1. PyAMG's smoother is by default a symmetric Gauss-Seidel sweep on each side, five
   products with A for each application; this one is four, which CPUs and GPUs can split
   by rows. CG takes 0.95 to 1.15 times as many steps with the same levels.
2. PyAMG draws random starts; here their seed is fixed, so that the same matrix gives
   the same numbers.
3. Levels of 500 unknowns and fewer are inverted.
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
from ._cycle import MultigridCycle
from ._dense_inverse import DenseInverse, dense_inverse
from ._jacobi_sweeps import (
    JacobiSweeps,
    equal_steps,
    optimal_steps,
    require_sweeps,
)
from ._level import Level
from ._pyamg_hierarchy import make_levels
from ._spectral_radius import inverse_diagonal, spectral_radius


class AlgebraicMultigrid(eqx.Module):
    """The factory of an algebraic multigrid cycle, for `Sparse`.

    For hermitian positive definite matrices, by CG, and for others, of flows, by GMRES.
    The matrix must be known: make the preconditioner before the solve, as in
    `AlgebraicMultigrid()(A)`. It has derivative zero. Needs PyAMG (`pip install
    krylax[amg]`) above 500 unknowns; up to there it is the inverse.

    By default smoothed aggregation. Where the fields of a node, such as displacements,
    are consecutive unknowns, found by their couplings, nodes are aggregated.

    Args:
        num_sweeps: Jacobi sweeps before and after each coarse correction.
        build: a function from a SciPy CSR matrix to a multilevel solver of PyAMG, whose
            matrices are used and whose smoothers are not:
            `pyamg.ruge_stuben_solver` for classical coarsening, of M-matrices.
        near_nullspace: vectors in columns that A nearly takes to zero, for the default
            build, such as the rigid-body modes of an elastic body; if it is not given,
            a constant for each field. With it CG took 11 steps instead of 23 for an
            elastic cube, 10 instead of 13 for a square.

    Returns:
        When called with an operator: a `MultigridCycle`, hermitian positive definite if
        the operator is, and R = Pᴴ on every level; so far as the bound of the spectrum
        holds, for all but one in some 10⁵ random starts of its estimate.

    Raises:
        ImportError: when called without `build`: PyAMG is not installed.
        ValueError: num_sweeps below 1, a near null space that is not a matrix of finite
            numbers, or is given with `build`, or, when called, one of another number of
            rows, no `Sparse`, one that is traced, or one with a zero on its diagonal.

    Cost: per application 2 num_sweeps products with A, times the operator complexity
    (1.3 for Poisson, 3.4 where one direction is weak), and one product with each P and
    R. At set-up about a hundred products, on the host, and memory for the matrices of
    the coarser levels and the transfers. Each level adds about 0.4 s to the compilation
    of a solve.

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

    num_sweeps: int = eqx.field(static=True)
    build: Callable[[Any], Any] | None = eqx.field(static=True)
    near_nullspace: np.ndarray | None

    def __init__(
        self,
        num_sweeps: int = 2,
        build: Callable[[Any], Any] | None = None,
        *,
        near_nullspace: Any = None,
    ) -> None:
        require_sweeps(num_sweeps)
        if not (build is None or callable(build)):
            raise TypeError(
                "build must be a function of a SciPy matrix, such as "
                f"pyamg.ruge_stuben_solver, or None, got {shown(build)}"
            )
        self.num_sweeps, self.build = num_sweeps, build
        self.near_nullspace = None
        if near_nullspace is not None:
            self.near_nullspace = _as_candidates(near_nullspace, build)

    def __call__(self, A: AbstractLinearOperator) -> MultigridCycle:
        """Return the preconditioner of A."""
        require_operator(A)
        stored, is_hermitian = _known(A), "hermitian" in A.tags
        matrix = _as_scipy(stored)
        candidates = self.near_nullspace
        _require_rows(candidates, matrix.shape[0])
        *levels, last = make_levels(matrix, self.build, candidates, is_hermitian)
        finest = levels[0].A if levels else matrix
        # On the levels below they follow where all transfers are adjoint.
        is_adjoint = all(level.is_adjoint for level in levels)
        tags = A.tags - {"singular"} if is_adjoint else frozenset()
        if not is_real(A.in_structure):
            # Complex transfers that are adjoint are not transposed.
            tags -= {"symmetric"}
        inverse = dense_inverse(last.A.toarray(), is_hermitian)
        dtype = stored.values.dtype
        # To lay a matrix out anew takes as long as 50 products. Of a multiple less is
        # known.
        is_kept = stored.tags >= tags and _is_equal(finest, matrix)
        kept = [stored][: len(levels)] if is_kept else []
        rest = [_as_operator(level.A, dtype, tags) for level in levels[len(kept) :]]
        return MultigridCycle(
            [
                _as_level(level, operator, self.num_sweeps, tags)
                for level, operator in zip(levels, kept + rest, strict=True)
            ],
            DenseInverse(on_device(inverse.astype(dtype)), tags),
        )


AlgebraicMultigridCycle = MultigridCycle
"""What `AlgebraicMultigrid` makes."""


def _as_candidates(values: Any, build: Any) -> np.ndarray:
    """Return the near null space in double precision, in which PyAMG works."""
    if build is not None:
        raise ValueError(
            "near_nullspace is for the default build; give it to yours instead, as in "
            "build=functools.partial(pyamg.smoothed_aggregation_solver, B=B)"
        )
    if is_traced(values):
        raise ValueError("near_nullspace must be known, got a traced array")
    columns = np.asarray(values)
    columns = columns.astype(np.result_type(columns.dtype, np.float64))
    if columns.ndim != 2 or not np.all(np.isfinite(columns)):
        raise ValueError(
            "near_nullspace must hold finite vectors in its columns, got an array of "
            f"shape {columns.shape}"
        )
    return columns


def _require_rows(candidates: np.ndarray | None, num_rows: int) -> None:
    if candidates is not None and len(candidates) != num_rows:
        raise ValueError(
            f"near_nullspace must have a row for each of the {num_rows} unknowns, got "
            f"{len(candidates)}"
        )


def _known(A: Any) -> Sparse:
    """The matrix of an operator, not traced."""
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
    return stored


def _as_scipy(stored: Sparse) -> Any:
    """The matrix in double precision, in which PyAMG works."""
    values = np.asarray(stored.values)
    wide = np.result_type(values.dtype, np.float64)
    places = (known_rows(stored.layout), np.asarray(stored.layout.columns))
    shape = (stored.layout.extent.num_rows, stored.layout_of_T.extent.num_rows)
    matrix = scipy.sparse.coo_array((values.astype(wide), places), shape).tocsr()
    matrix.eliminate_zeros()  # slots that are padding
    if np.any(matrix.diagonal() == 0):
        raise ValueError(
            "AlgebraicMultigrid divides by the diagonal, got a matrix with a zero on "
            "it; it is for positive definite matrices"
        )
    return matrix


def _is_equal(found: Any, matrix: Any) -> bool:
    return found is matrix or (found.tocsr() != matrix).nnz == 0


def _as_operator(matrix: Any, dtype: Any, tags: frozenset[str] = frozenset()) -> Sparse:
    rows = matrix.tocsr().astype(dtype)
    rows.eliminate_zeros()  # what blocks hold
    return Sparse.from_scipy(rows, tags=tags)


def _as_level(
    level: Any, operator: Sparse, num_sweeps: int, tags: frozenset[str]
) -> Level:
    is_hermitian = "hermitian" in tags
    radius = level.radius or spectral_radius(level.A, is_hermitian)
    dtype = operator.values.dtype
    weights = (2 / radius.bound * inverse_diagonal(level.A)).astype(dtype)
    steps = optimal_steps(num_sweeps) if is_hermitian else equal_steps(num_sweeps)
    P = _as_operator(level.P, dtype)
    R = _adjoint(P) if level.is_adjoint else _as_operator(level.R, dtype)
    sweeps = JacobiSweeps(on_device(weights), steps)
    return Level(operator, sweeps, R, P, is_adjoint=level.is_adjoint)


def _adjoint(P: Sparse) -> Sparse:
    """Return Pᴴ in the layout that P has of it; another would take as long as P's."""
    order = np.asarray(P.layout_of_T.order)
    values = np.append(np.asarray(P.values), 0)[order].conj()
    return eqx.tree_at(
        lambda A: (A.values, A.layout, A.layout_of_T),
        P,
        (on_device(values.astype(P.values.dtype)), P.layout_of_T, P.layout),
    )
