"""Algebraic multigrid for sparse matrices: PyAMG's hierarchy, its cycle in JAX.

By default smoothed aggregation: P. Vaněk, J. Mandel, M. Brezina, Algebraic multigrid by
smoothed aggregation for second and fourth order elliptic problems, Computing 56 (1996),
doi:10.1007/BF02238511, as in N. Bell, L. N. Olson, J. Schroder, B. Southworth, PyAMG:
algebraic multigrid solvers in Python, J. Open Source Softw. 8 (2023),
doi:10.21105/joss.05495. On each level

    x ← S b,    x ← x + P M_c R (b - A x),    x ← x + Sᴴ (b - A x),

where M_c is the same on the level below and the inverse on the last.

Smoothing S is Jacobi with the steps of a Chebyshev polynomial on [ρ/4, ρ], where ρ =
‖D⁻¹A‖_∞ bounds the spectrum of D⁻¹A: for definite A it reduces every error, so that the
cycle is definite and CG may use it.

Differs from the sources:
1. PyAMG scales its Jacobi steps by a spectral radius that it estimates from a random
   start. Here, and in the default's prolongators, row sums bound it, so that the same
   matrix gives the same numbers.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.lax import Precision
from jaxtyping import Array, Float, Inexact

from ...operators import AbstractLinearOperator, Sparse
from ...operators._field import Structure, is_traced, on_device, real_dtype
from ...operators._materialise import materialise
from ...operators._sparse_product import rows_of_slots

RATIO = 4
"""ρ over the smallest eigenvalue that smoothing shall damp; PyAMG's default is 30, with
which PyAMG's CG took 14 steps for Poisson on 64 × 64 points instead of 9."""

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
        build: a function from a SciPy CSR matrix to a multilevel solver of PyAMG, of
            which the matrices are taken and the smoothers are not, such as
            `pyamg.ruge_stuben_solver`, or one that knows the near null space:
            `partial(pyamg.smoothed_aggregation_solver, B=B)`.

    Returns:
        When called with an operator: an `AlgebraicMultigridCycle`, hermitian positive
        definite if the operator is, and R = Pᴴ on every level.

    Raises:
        ImportError: when called without `build`: PyAMG is not installed.
        ValueError: num_sweeps below 1, or, when called, no `Sparse`, one that is
            traced, or one with a zero on its diagonal.

    Cost: per application 2 num_sweeps products with A, times the operator complexity
    (1.3 for Poisson, 3.4 where one direction is weak), and one product with each P and
    R. At set-up some hundred products, on the host.

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

    def __check_init__(self):
        if self.num_sweeps < 1:
            raise ValueError(f"num_sweeps must be at least 1, got {self.num_sweeps}")

    def __call__(self, A: AbstractLinearOperator) -> "AlgebraicMultigridCycle":
        """Return the preconditioner of A."""
        build = _aggregated if self.build is None else self.build
        dtype = jnp.result_type(*jax.tree.leaves(A.in_structure))
        *levels, last = build(_as_scipy(A)).levels
        is_hermitian = "hermitian" in A.tags
        coarse_inverse = np.linalg.pinv(last.A.toarray(), hermitian=is_hermitian)
        is_adjoint = all((level.R != level.P.conj().T).nnz == 0 for level in levels)
        promised = A.tags - {"singular"} if is_adjoint and is_hermitian else frozenset()
        return AlgebraicMultigridCycle(
            levels=tuple(_as_level(level, dtype, self.num_sweeps) for level in levels),
            coarse_inverse=on_device(coarse_inverse.astype(dtype)),
            promised=promised,
        )


class Level(eqx.Module):
    """A level above the last one.

    Attributes:
        A: the matrix.
        P: from the level below.
        R: to the level below.
        inverse_diagonal: of A.
        steps: of the Jacobi sweeps before the coarse correction; after it in reverse.
    """

    A: Sparse
    P: Sparse
    R: Sparse
    inverse_diagonal: Inexact[Array, " n"]
    steps: Float[Array, " sweeps"]

    @property
    def T(self) -> "Level":
        """The level of the transposed cycle."""
        return Level(self.A.T, self.R.T, self.P.T, self.inverse_diagonal, self.steps)


class AlgebraicMultigridCycle(AbstractLinearOperator):
    """One V-cycle from zero, as a linear operator; made by `AlgebraicMultigrid`."""

    levels: tuple[Level, ...]
    coarse_inverse: Inexact[Array, "m m"]
    promised: frozenset[str] = eqx.field(static=True)

    @property
    def in_structure(self) -> Structure:
        """A vector of the finest level."""
        if self.levels:
            return self.levels[0].A.in_structure
        return jax.eval_shape(lambda: self.coarse_inverse[0])

    @property
    def tags(self) -> frozenset[str]:
        """Those of the matrix, if P and R are adjoint."""
        return self.promised

    @property
    def T(self) -> "AlgebraicMultigridCycle":
        """The cycle of the transposed matrices, of which it is the transpose."""
        if "symmetric" in self.tags:
            return self
        levels = tuple(level.T for level in self.levels)
        return AlgebraicMultigridCycle(levels, self.coarse_inverse.T, self.promised)

    def mv(self, x: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """Return the result of a V-cycle for the right-hand side x, from zero."""
        return self._cycle(0, x)

    def _cycle(self, depth: int, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        if depth == len(self.levels):
            return jnp.matmul(self.coarse_inverse, b, precision=Precision.HIGHEST)
        level = self.levels[depth]
        A, weight = level.A, level.inverse_diagonal
        first, *others = level.steps.astype(b.dtype)
        x = materialise(first * (weight * b))
        for step in others:
            x = materialise(x + step * (weight * (b - A.mv(x))))
        r = materialise(b - A.mv(x))
        e = self._cycle(depth + 1, materialise(level.R.mv(r)))
        x = materialise(x + level.P.mv(e))
        for step in (*reversed(others), first):
            x = materialise(x + step * (weight * (b - A.mv(x))))
        return x


def _aggregated(matrix: Any) -> Any:
    """The default hierarchy, in which nothing is random."""
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
    if not isinstance(A, Sparse):
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
    values = np.asarray(A.values)
    wide = np.result_type(values.dtype, np.float64)
    places = (np.asarray(rows_of_slots(A.layout)), np.asarray(A.layout.columns))
    shape = (A.out_structure.shape[0], A.in_structure.shape[0])
    matrix = scipy.sparse.coo_array((values.astype(wide), places), shape).tocsr()
    matrix.eliminate_zeros()  # slots that are padding
    if np.any(matrix.diagonal() == 0):
        raise ValueError(
            "AlgebraicMultigrid divides by the diagonal, got a matrix with a zero on "
            "it; it is for positive definite matrices"
        )
    return matrix


def _as_level(level: Any, dtype: np.dtype, num_sweeps: int) -> Level:
    inverse = 1 / level.A.diagonal()
    bound = np.max(abs(level.A).sum(axis=1) * abs(inverse))
    A, P, R = (
        Sparse.from_scipy(matrix.tocsr().astype(dtype))
        for matrix in (level.A, level.P, level.R)
    )
    steps = _chebyshev_steps(num_sweeps) / bound
    return Level(
        A,
        P,
        R,
        on_device(inverse.astype(dtype)),
        on_device(steps.astype(real_dtype(A.in_structure))),
    )


def _chebyshev_steps(num_sweeps: int) -> np.ndarray:
    """Inverse roots of the Chebyshev polynomial on [1/RATIO, 1]."""
    angles = np.pi * (np.arange(num_sweeps) + 0.5) / num_sweeps
    centre, radius = (1 + 1 / RATIO) / 2, (1 - 1 / RATIO) / 2
    return 1 / (centre + radius * np.cos(angles))
