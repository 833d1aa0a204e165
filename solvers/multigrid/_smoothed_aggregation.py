"""Smoothed aggregation of hermitian matrices, on the host, of PyAMG's parts.

P. Vaněk, J. Mandel, M. Brezina, Algebraic multigrid by smoothed aggregation for second
and fourth order elliptic problems, Computing 56 (1996), doi:10.1007/BF02238511. On a
level with A and near-null vectors B, of which Q R = S B by aggregates,

    P = (I - 4/3 ρ⁻¹ D⁻¹A) Q,    Pᴴ A P and R below,

ρ the estimate of _spectral_radius.py and S two sweeps of the smoother.

Differs from the sources: PyAMG's `smoothed_aggregation_solver` has four symmetric
Gauss-Seidel sweeps for S, and estimates ρ from random starts. CG took as many steps
with it, and the set-up twice the time: 0.27 s for 80 000 unknowns of elasticity.
"""

from typing import Any, NamedTuple

import numpy as np

from ._jacobi_sweeps import optimal_steps
from ._node_blocks import num_fields
from ._spectral_radius import SpectralRadius, inverse_diagonal, spectral_radius

THRESHOLD = 0.08
"""Couplings below it are weak on the finest level, half of it on the next, as Vaněk
et al. have it. PyAMG's default is 0, with which CG took 41 steps instead of 8 where one
direction of 128 × 128 points is 100 times weaker, and 72 instead of 12 for jumps of
10⁴.
"""

MAX_LEVELS = 10


class HostLevel(NamedTuple):
    """A level on the host.

    Attributes:
        A: a sparse array of SciPy, as the transfers are.
        P: the prolongation from the level below, `None` on the last.
        R: the restriction to it.
        radius: of D⁻¹A, if known.
        is_adjoint: whether R = Pᴴ.
    """

    A: Any
    P: Any = None
    R: Any = None
    radius: SpectralRadius | None = None
    is_adjoint: bool = True


def aggregated_levels(
    matrix: Any, candidates: np.ndarray | None, coarsest: int
) -> list[HostLevel]:
    """Return the levels down to one of no more than `coarsest` unknowns.

    Args:
        matrix: a SciPy CSR array without zeros among its stored numbers.
        candidates: the near null space; `None` is a constant for each field of a node.
        coarsest: the size of a level that needs none below.
    """
    size = num_fields(matrix)
    if candidates is None:
        nodes = matrix.shape[0] // size
        candidates = np.tile(np.eye(size, dtype=matrix.dtype), (nodes, 1))
    A = _of_nodes(matrix, size if candidates.shape[1] >= size else 1)
    levels: list[HostLevel] = []
    while A.shape[0] > coarsest and len(levels) < MAX_LEVELS:
        radius = spectral_radius(A, is_hermitian=True)
        threshold = THRESHOLD / 2 ** len(levels)
        P, candidates = _prolongation(A, candidates, radius, threshold)
        R = P.conj().T.asformat(P.format)
        levels.append(HostLevel(A, P, R, radius))
        # A node below is an aggregate, its fields are the candidates.
        A = _of_nodes(R @ (A @ P), candidates.shape[1])
    return [*levels, HostLevel(A)]


def _of_nodes(matrix: Any, size: int) -> Any:
    return matrix.tocsr() if size == 1 else matrix.tobsr((size, size))


def _prolongation(
    A: Any, candidates: Any, radius: SpectralRadius, threshold: float
) -> tuple[Any, np.ndarray]:
    """Return P and the candidates of the level below."""
    from pyamg.aggregation import fit_candidates, standard_aggregation
    from pyamg.strength import symmetric_strength_of_connection
    from pyamg.util.utils import scale_rows

    inverse = inverse_diagonal(A)
    for step in optimal_steps(2):
        weights = 2 / radius.bound * step * inverse[:, None]
        candidates = candidates - weights * (A @ candidates)
    strength: Any = symmetric_strength_of_connection
    strong = strength(A, theta=threshold)
    aggregates, _ = standard_aggregation(strong)
    Q, coarse = fit_candidates(aggregates, candidates)
    return Q - scale_rows(A @ Q, 4 / 3 / radius.estimate * inverse), coarse
