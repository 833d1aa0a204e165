"""From a symmetric stencil to ever coarser grids, one axis halved at a time."""

from collections.abc import Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import ratio
from ._coarse_inverse import CoarseInverse, inverse_matrix
from ._couplings import Couplings
from ._grid_level import Grid
from ._halving import halve
from ._level import AbstractLevel
from ._small_grids import SMALL, small_grids
from ._unlinked_cells import UnlinkedCells


def line_levels(
    A: AbstractLinearOperator,
    coarsest: int,
    steps: tuple[float, ...],
    small: Mapping[int, int] = SMALL,
) -> tuple[UnlinkedCells, tuple[AbstractLevel, ...], AbstractLinearOperator]:
    """Return the cells apart, the levels of the others, and the inverse below them.

    The longest axis is halved, so that on two axes the lines of one level are along the
    halved axis of the next.

    Args:
        A: with a stencil that is real and symmetric.
        coarsest: number of cells of the last grid at most.
        steps: of the Jacobi sweeps.
        small: number of cells up to which levels are made by a loop, per number of
            axes; they are the inverse then.

    Raises:
        ValueError: A has no such stencil.
    """
    stencil = A.stencil
    if stencil is None or not stencil.offsets:
        raise ValueError(
            "the robust cycle of Multigrid is for operators with a stencil, such as "
            f"Diffusion and MaskedPoisson, got {type(A).__name__}; use Jacobi, or "
            "AlgebraicMultigrid of a Sparse matrix"
        )
    if not stencil.is_symmetric or jnp.iscomplexobj(stencil.centre):
        raise ValueError(
            "the robust cycle of Multigrid is for real symmetric stencils, got a "
            f"{'complex' if stencil.is_symmetric else 'nonsymmetric'} one; use "
            'cycle="cheap", or declare a symmetric one by Stencil.of(..., '
            "is_symmetric=True)"
        )
    known = A.tags - {"singular"}
    couplings, shape = Couplings.of(stencil), stencil.shape
    levels: list[AbstractLevel] = []
    apart, couplings = UnlinkedCells.of(stencil, couplings, known)
    if len(shape) == 1:
        couplings = Couplings(
            couplings.slack[:, None],
            {(*offset, 0): w[:, None] for offset, w in couplings.links.items()},
            (*couplings.faces, ("neumann", "neumann")),
        )
    while np.prod(couplings.slack.shape) > coarsest:
        if np.prod(couplings.slack.shape) <= small[couplings.slack.ndim]:
            below = small_grids(couplings, coarsest, steps, known)
            if below is not None:
                return apart, tuple(levels), below
        order = _order(couplings.slack.shape)
        level, coarse = halve(couplings.transposed(order), steps)
        levels.append(replace(level, order=order, shape=shape, known=known))
        couplings, shape = coarse, coarse.slack.shape
    operator = couplings.stencil()
    last = Grid(operator, ratio(1, operator.centre), None, operator.shape)
    matrix = inverse_matrix(last, known)
    # That of A where there is no level, which on one axis is not that of the lines.
    return apart, tuple(levels), CoarseInverse(matrix, shape, known)


def _order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes in the order of lines, halved, other: the longest is halved.

    Of those the second, which is that of the last level and needs no transposition.
    """
    longest = [axis for axis, size in enumerate(shape) if size == max(shape)]
    halved = 1 if 1 in longest else longest[0]
    along, *others = [axis for axis in range(len(shape)) if axis != halved]
    return (along, halved, *others)
