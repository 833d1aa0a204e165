"""One row per constructor and factory: how to build it, and the arrays that it takes.

The table in test_construction.py builds every row in every transformation of JAX. Some
rows take one argument as a tuple or a list, of which a part may be traced.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

import krylax as kx

ops: Any = kx.operators
S: Any = kx.solvers
GRID = (2, 3)
N = 6
_rng = np.random.default_rng(0)
K = np.exp(0.3 * _rng.standard_normal(GRID))
V = _rng.standard_normal((2, *GRID))
H = np.array([0.5, 0.25])
ONE = np.array(0.5)
LINE = 1 + _rng.random(N)
DEFINITE = np.diag(LINE + 2) + 0.5 * (np.eye(N, k=1) + np.eye(N, k=-1))
SMALL = np.array([[2.0, 0.5], [0.5, 1.0]])
BANDS = np.stack([np.full(N, -1.0), 2 + LINE, np.full(N, -1.0)])
CELLS = np.array([[2, 2, 3], [2, 1, 2]])
PATTERN = scipy.sparse.csr_array(DEFINITE)
VECTORS = _rng.standard_normal((2, N))
STRUCTURE = jax.ShapeDtypeStruct((N,), jnp.float64)
TAG = "positive_definite"


class Construction(NamedTuple):
    """Arrays to an operator, and whether its derivatives are those of its values."""

    build: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    has_derivative: bool = True


def sparse(data: Any) -> Any:
    """A matrix whose pattern is known."""
    place = (PATTERN.indices, PATTERN.indptr, PATTERN.shape)
    return ops.Sparse(data, *place, tags=TAG)


def dense(matrix: Any) -> Any:
    return ops.Dense(matrix, tags=TAG)


def banded(rows: Any) -> Any:
    return ops.Banded(rows, (-1, 0, 1), tags=TAG)


def function(matrix: Any) -> Any:
    return ops.Function(lambda x: matrix @ x, STRUCTURE, tags=TAG)


def jacobian(matrix: Any, point: Any) -> Any:
    return ops.Jacobian(lambda x: jnp.sin(matrix @ x), point)


def stencil(centre: Any, weight: Any) -> Any:
    return _OfStencil(ops.Stencil.of(centre, {(0, 1): weight}))


class _OfStencil(kx.operators.AbstractLinearOperator):
    """An operator that answers with its stencil."""

    answer: Any

    @property
    def in_structure(self) -> Any:
        return jax.ShapeDtypeStruct(self.answer.shape, self.answer.centre.dtype)

    @property
    def stencil(self) -> Any:
        return self.answer

    def mv(self, x: Any) -> Any:
        return self.answer.mv(x)


def of(factory: Any, build: Callable[..., Any]) -> Callable[..., Any]:
    """A preconditioner of what is built."""
    return lambda *arrays: factory(build(*arrays))


CLOSED = sparse(PATTERN.data)
"""Made outside of every transformation."""
FLOW = (K, V, H)
OPERATORS: dict[str, Construction] = {
    "laplacian": Construction(partial(ops.Laplacian, GRID), (H,)),
    "laplacian_of_a_tuple": Construction(
        lambda h: ops.Laplacian(GRID, (h, 0.25)), (ONE,)
    ),
    "diffusion": Construction(ops.Diffusion, (K, H)),
    "diffusion_of_a_list": Construction(
        lambda a, b, h: ops.Diffusion([a, b], [h, 2 * h]), (K[0], K[1], ONE)
    ),
    "helmholtz": Construction(ops.Helmholtz, (K, ONE, H)),
    "convection_diffusion": Construction(ops.ConvectionDiffusion, FLOW),
    "convection_diffusion_of_a_tuple": Construction(
        lambda k, v: ops.ConvectionDiffusion(k, (v, 1.0)), (K, ONE)
    ),
    "masked_poisson": Construction(ops.MaskedPoisson, (CELLS, H)),
    "stencil": Construction(stencil, (K, ONE)),
    "dense": Construction(ops.Dense, (DEFINITE,)),
    "dense_of_a_list": Construction(lambda a: ops.Dense([[a, 1.0], [1.0, a]]), (ONE,)),
    "dense_with_null_vectors": Construction(
        lambda A, vectors: ops.Dense(A, nullspace=vectors), (DEFINITE, VECTORS)
    ),
    "banded": Construction(lambda rows: banded(rows).T, (BANDS,)),
    "banded_of_a_list": Construction(
        lambda a, b: ops.Banded([a, b], (0, 1)), (BANDS[0], BANDS[1])
    ),
    "diagonal": Construction(lambda d: ops.Diagonal({"u": d, "v": 2 * d}), (LINE,)),
    "sparse": Construction(sparse, (PATTERN.data,)),
    "sparse_of_a_list": Construction(
        lambda a: ops.Sparse([a, 2.0], [1, 0], [0, 1, 2], (2, 2)).T, (ONE,)
    ),
    "sparse_closed_over": Construction(lambda c: c * CLOSED, (ONE,)),
    "identity": Construction(lambda c: c * ops.Identity(STRUCTURE), (ONE,)),
    "kronecker": Construction(
        lambda A, B: ops.Kronecker(dense(A), dense(B)), (SMALL, DEFINITE)
    ),
    "kronecker_sum": Construction(
        lambda A, h: ops.KroneckerSum(dense(A), ops.Laplacian((3,), h)), (SMALL, ONE)
    ),
    "block": Construction(
        lambda A: ops.Block([[dense(A), None], [sparse(PATTERN.data), dense(A)]]),
        (DEFINITE,),
    ),
    "function": Construction(function, (DEFINITE,)),
    "jacobian": Construction(jacobian, (DEFINITE, LINE)),
    "transpose_of_a_jacobian": Construction(
        lambda A, x: jacobian(A, x).T, (DEFINITE, LINE)
    ),
    "algebra": Construction(
        lambda k, d, c: (ops.Diffusion(k) - ops.Diagonal(d)) @ ops.Diagonal(k) / c,
        (K, K, ONE),
    ),
    "inverse": Construction(
        lambda A: ops.Inverse(dense(A), S.LU(rtol=1e-12)), (DEFINITE,)
    ),
}
FACTORIES: dict[str, Construction] = {
    "jacobi": Construction(of(S.Jacobi(), ops.Diffusion), (K, H)),
    "block_jacobi": Construction(of(S.BlockJacobi(4), ops.ConvectionDiffusion), FLOW),
    "ssor": Construction(lambda k, omega: S.SSOR(omega)(ops.Diffusion(k)), (K, ONE)),
    "ssor_of_sparse": Construction(of(S.SSOR(1.2), sparse), (PATTERN.data,)),
    "ssor_in_colours": Construction(
        of(S.SSOR(1.2, S.Multicolour()), sparse), (PATTERN.data,)
    ),
    "ssor_by_series": Construction(of(S.SSOR(1.2, S.Neumann()), banded), (BANDS,)),
    "incomplete_cholesky": Construction(
        of(S.IncompleteCholesky(), ops.Diffusion), (K, H), False
    ),
    "incomplete_cholesky_of_sparse": Construction(
        of(S.IncompleteCholesky(), sparse), (PATTERN.data,), False
    ),
    "incomplete_lu": Construction(
        of(S.IncompleteLU(), ops.ConvectionDiffusion), FLOW, False
    ),
    # Of cycles by name: "auto" looks at the numbers where it can.
    "multigrid": Construction(of(S.Multigrid(cycle="cheap"), ops.Diffusion), (K, H)),
    "robust_multigrid": Construction(
        of(S.Multigrid(cycle="robust"), ops.Diffusion), (K, H)
    ),
    "multigrid_of_flow": Construction(of(S.Multigrid(), ops.ConvectionDiffusion), FLOW),
    "fast_diagonalization": Construction(
        of(S.FastDiagonalization(), ops.Diffusion), (K, H)
    ),
    "cholesky": Construction(of(S.Cholesky(), sparse), (PATTERN.data,)),
    "lu": Construction(of(S.LU(), function), (DEFINITE,)),
    # The bound is an estimate, of which there is no derivative.
    "chebyshev_polynomial": Construction(
        of(S.ChebyshevPolynomial(2), dense), (DEFINITE,), False
    ),
    "chebyshev_polynomial_with_a_bound": Construction(
        lambda k, b: S.ChebyshevPolynomial(2, b)(ops.Diffusion(k)), (K, 4 * ONE)
    ),
    "deflation": Construction(
        lambda A, U: S.Deflation(U, S.Jacobi())(dense(A)), (DEFINITE, VECTORS), False
    ),
    "deflation_of_sparse": Construction(
        lambda U: S.Deflation(U)(CLOSED), (VECTORS,), False
    ),
}
CONSTRUCTIONS = OPERATORS | FACTORIES
