"""Which of the two cycles suits an operator, where its numbers are known.

The cheap cycle ties cells together without a look at their links. It is slow where
many cells are linked to some neighbours far more strongly than to others. For 256²
cells, cheap and robust, milliseconds with set-up: constant 6 and 12, 12:3 in two phases
7 and 13, each cell random within a factor of 10, 7 and 13, of 100, 11 and 15; two
phases 1:30, 13 and 14, 1:100, 18 and 14; spacings 1:2, 12 and 12, 1:3, 23 and 12.

In three dimensions a robust cycle takes twenty times as long as a cheap one, which pays
for larger jumps alone. For 64³ cells: constant 41 and 400, spacings 1:1:0.1, 191 and
580, each cell random within 10⁴, 295 and 670, layers of one cell 1:10⁴, 272 and 430, a
log-normal field with spacings 20:10:2, 550 and 660, islands 1:10⁶, never and 1500.
"""

from functools import lru_cache, reduce
from typing import Literal

import jax
import numpy as np

from ...operators import AbstractLinearOperator
from ...operators._field import is_traced
from ...operators.grids._offsets import Offset
from ...operators.grids._stencil import Stencil

JUMP = {1: 4.0, 2: 4.0, 3: 100.0}
"""How much stronger the strongest link of a cell is than the weakest, at a jump, by
number of axes."""

SHARE = 0.03
"""Of the cells, which may be at jumps: a single interface costs few steps, since it
adds few eigenvalues that are far from the others.
"""

SAMPLED = 4096
"""Cells that are looked at, which takes 0.1 ms."""


def suited_cycle(A: AbstractLinearOperator) -> Literal["cheap", "robust"]:
    """Return "robust" where many cells are at jumps.

    Where that is not known, "robust" on two axes and "cheap" on three, for which a
    robust cycle takes a minute to compile. "cheap" for what the robust cycle does not
    take: operators without a stencil, and stencils that are complex or not symmetric.
    """
    if is_traced(A):
        stencil = A.stencil
        is_planar = stencil is not None and len(stencil.shape) < 3
        return "robust" if is_planar and _is_robust_kind(stencil) else "cheap"
    # The numbers of a constant are known inside of a program too.
    with jax.ensure_compile_time_eval():
        if A.uniform_lines is not None:
            # The largest, as one operator has one; a batch of them is refused later.
            weights = [float(np.max(np.abs(line.weight))) for line in A.uniform_lines]
            jump = JUMP[len(weights)] * min(weights)
            return "robust" if max(weights) > jump else "cheap"
        stencil = A.stencil
        if not _is_robust_kind(stencil):
            return "cheap"
        if not stencil.is_axial or share_of_jumps(stencil) > SHARE:
            return "robust"
    return "cheap"


def _is_robust_kind(stencil: Stencil | None) -> bool:
    if stencil is None or not stencil.offsets:
        return False
    if len(stencil.shape) != len(stencil.faces):
        # Operators in a batch, of which no cycle is made: what is wrong is said later.
        return False
    return stencil.is_symmetric and not np.issubdtype(
        stencil.centre.dtype, np.complexfloating
    )


def share_of_jumps(stencil: Stencil) -> float:
    """Return the share of inner cells at jumps, of those that have links at all."""
    links = []
    for offset, coupling in zip(stencil.offsets, stencil.couplings, strict=True):
        weights = np.asarray(coupling).reshape(-1)
        links += [np.abs(weights[c]) for c in _sampled(stencil.shape, offset)]
    strongest, weakest = reduce(np.maximum, links), reduce(np.minimum, links)
    jumps = strongest > JUMP[len(stencil.shape)] * weakest
    return float(np.sum(jumps) / max(np.sum(strongest > 0), 1))


@lru_cache
def _sampled(shape: tuple[int, ...], offset: Offset) -> tuple[np.ndarray, np.ndarray]:
    """Return flat indices of inner cells, and of the cells that they are ahead of."""
    inner = tuple(max(size - 2, 0) for size in shape)
    cells = np.arange(np.prod(inner))
    if cells.size > SAMPLED:
        cells = np.sort(np.random.default_rng(0).integers(cells.size, size=SAMPLED))
    places = [index + 1 for index in np.unravel_index(cells, inner)]
    back = [index - step for index, step in zip(places, offset, strict=True)]
    return np.ravel_multi_index(places, shape), np.ravel_multi_index(back, shape)
