"""The hierarchies of algebraic multigrid, made on the host with PyAMG."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from ._smoothed_aggregation import HostLevel, aggregated_levels

COARSEST = 500
"""Levels of no more unknowns are inverted: a product with 500² numbers takes 0.05 ms
and the inverse 12 ms, and each level takes about 0.4 s to compile.
"""


def make_levels(
    matrix: Any,
    build: Callable[[Any], Any] | None,
    candidates: np.ndarray | None,
    is_hermitian: bool,
) -> list[HostLevel]:
    """Return the levels down to the first one that is to be inverted.

    Args:
        matrix: a SciPy CSR array without zeros among its stored numbers.
        build: from it to a multilevel solver of PyAMG, `None` for smoothed aggregation.
        candidates: the near null space for smoothed aggregation, if known.
        is_hermitian: whether the matrix is.
    """
    if matrix.shape[0] <= COARSEST:
        return [HostLevel(matrix)]
    if build is None:
        _require_pyamg()
        if is_hermitian:
            return aggregated_levels(matrix, candidates, COARSEST)
        build = _two_sided(candidates)
    with _fixed_seed():
        *levels, last = build(matrix).levels
    made = [
        HostLevel(level.A, level.P, level.R, None, _is_adjoint(level))
        for level in levels
    ]
    sizes = [level.A.shape[0] for level in made]
    return [*made, HostLevel(last.A)][: 1 + sum(size > COARSEST for size in sizes)]


def _is_adjoint(level: Any) -> bool:
    return (level.R != level.P.conj().T).nnz == 0


def _require_pyamg() -> None:
    try:
        import_module("pyamg")
    except ImportError as error:
        raise ImportError(
            "AlgebraicMultigrid needs PyAMG; install it with pip install krylax[amg]"
        ) from error


def _two_sided(candidates: np.ndarray | None) -> Callable[[Any], Any]:
    """Smoothed aggregation of a flow: R is made of Aᴴ as P is of A.

    For a recirculating flow GMRES took 18 steps with these couplings, 39 with PyAMG's
    default.
    """
    build: Any = import_module("pyamg").smoothed_aggregation_solver
    return lambda matrix: build(
        matrix,
        B=candidates,
        symmetry="nonsymmetric",
        strength="evolution",
        presmoother=None,
        postsmoother=None,
    )


@contextmanager
def _fixed_seed() -> Iterator[None]:
    """Let PyAMG, which draws from NumPy's global state, draw the same each time."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
