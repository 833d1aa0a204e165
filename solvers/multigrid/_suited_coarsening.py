"""Which coarsening suits an operator, where its numbers are known.

The cheap cycle ties pairs of cells together without a look at their links. One axis
whose links are stronger throughout is halved alone until they are as weak as the
others: for 256² cells with spacings 1:3, 1:10 and 1:100, 9, 10 and 12 steps take 8, 8
and 11 ms with set-up, where the cheap cycle takes 23, 52 and 190 without, and the
robust one 11, 15 and 14.

Beyond that it is slow where many cells are linked to some neighbours far more strongly
than to others. For 256² cells, cheap and robust, milliseconds: constant 6 and 11, 12:3
in two phases 7 and 12, each cell random within a factor of 10, 7 and 13, of 100, 11 and
15; two phases 1:30, 13 and 14, 1:100, 18 and 14. In three dimensions a robust cycle
takes twenty times as long as a cheap one, which pays for larger jumps alone. For 64³
cells: constant 41 and 400, each cell random within 10⁴, 295 and 670, layers of one cell
1:10⁴, 272 and 430, islands 1:10⁶, never and 1500.
"""

import operator
import weakref
from functools import lru_cache
from typing import Any, Literal

import jax
import numpy as np

from ...operators import AbstractLinearOperator
from ...operators._field import is_traced
from ...operators.grids._stencil import Stencil

JUMP = {1: 4.0, 2: 4.0, 3: 100.0}
"""How much stronger the strongest link of a cell is than the weakest, at a jump, by
number of axes."""

SHARE = 0.03
"""Of the cells, which may be at jumps: a single interface costs few steps, since it
adds few eigenvalues that are far from the others.
"""

MOST = 20
"""Halvings of one axis, which is more than an axis of a million cells has."""

SAMPLED = 1024
"""Cells that are looked at, of which 3 % are known to 0.5 %."""


Coarsening = tuple[Literal["cheap", "robust"], tuple[int, ...]]

_last: list[tuple[Any, list[Any], Coarsening]] = []
"""The operator that was looked at last, by its arrays, and what suits it: to look takes
0.4 ms, which is as long as a solve of 32² cells takes.
"""


def suited_coarsening(A: AbstractLinearOperator) -> Coarsening:
    """Return the cycle, and how many times each axis is halved before all are.

    "robust" where many cells are at jumps. Where that is not known, "robust" on two
    axes and "cheap" on three, for which a robust cycle takes a minute to compile.
    "cheap" for what the robust cycle does not take: operators without a stencil, and
    stencils that are complex or not symmetric.
    """
    if is_traced(A):
        stencil = A.stencil
        is_planar = stencil is not None and len(stencil.shape) < 3
        return "robust" if is_planar and _is_robust_kind(stencil) else "cheap", ()
    leaves, kind = jax.tree.flatten(A)
    for known_kind, references, coarsening in _last:
        known = [reference() for reference in references]
        if kind == known_kind and all(map(operator.is_, leaves, known)):
            return coarsening
    # The numbers of a constant are known inside of a program too.
    with jax.ensure_compile_time_eval():
        coarsening = _suited_to_numbers(A)
    # Other arrays may be written to.
    if all(isinstance(leaf, jax.Array) for leaf in leaves):
        _last[:] = [(kind, [weakref.ref(leaf) for leaf in leaves], coarsening)]
    return coarsening


def _suited_to_numbers(A: AbstractLinearOperator) -> Coarsening:
    if A.uniform_lines is not None:
        # The largest, as one operator has one; a batch of them is refused later.
        weights = [float(np.max(np.abs(line.weight))) for line in A.uniform_lines]
        return "cheap", _halvings(weights)
    stencil = A.stencil
    if not _is_robust_kind(stencil):
        return "cheap", ()
    if not stencil.is_axial:
        return "robust", ()
    return _suited_to_links(_sampled_links(stencil))


def _suited_to_links(links: list[np.ndarray]) -> Coarsening:
    """Return what suits the links of some cells, both ways per axis."""
    halvings = _halvings([_mean_of(axis) for axis in links])
    strengths = links
    if halvings:
        # A halving makes the links along an axis weaker by 4 beside the others.
        pairs = zip(links, halvings, strict=True)
        strengths = [axis / 4.0**count for axis, count in pairs]
    both = np.concatenate(strengths)
    strongest, weakest = np.max(both, axis=0), np.min(both, axis=0)
    jumps = np.sum(strongest > JUMP[len(links)] * weakest)
    if jumps > SHARE * np.sum(strongest > 0):
        return "robust", ()
    return "cheap", halvings


def _mean_of(links: np.ndarray) -> float:
    """The geometric mean of those that are not zero."""
    found = links[(links > 0) & np.isfinite(links)]
    return float(np.exp(np.mean(np.log(found)))) if found.size else 0.0


def _halvings(weights: list[float]) -> tuple[int, ...]:
    """Return how many times to halve each axis for links of about one strength."""
    known = [w for w in weights if 0 < w < np.inf]
    if len(known) < len(weights):
        return ()
    logs = np.log(weights) / np.log(4)
    counts = [min(round(log - min(logs)), MOST) for log in logs]
    return tuple(counts) if any(counts) else ()


def _is_robust_kind(stencil: Stencil | None) -> bool:
    if stencil is None or not stencil.offsets:
        return False
    if len(stencil.shape) != len(stencil.faces):
        # Operators in a batch, of which no cycle is made: what is wrong is said later.
        return False
    return stencil.is_symmetric and not np.issubdtype(
        stencil.centre.dtype, np.complexfloating
    )


def _sampled_links(stencil: Stencil) -> list[np.ndarray]:
    """Return the sizes of some inner cells' links, per axis both ways."""
    links = []
    for axis, weights in enumerate(stencil.high):
        places = _sampled(stencil.shape, axis)
        links.append(np.abs(np.asarray(weights).reshape(-1)[places]))
    return links


@lru_cache
def _sampled(shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Return flat indices of inner cells, and of those before them along an axis."""
    inner = tuple(max(size - 2, 0) for size in shape)
    cells = np.arange(np.prod(inner))
    if cells.size > SAMPLED:
        cells = np.sort(np.random.default_rng(0).integers(cells.size, size=SAMPLED))
    places = np.stack(np.unravel_index(cells, inner)) + 1
    before = places.copy()
    before[axis] -= 1
    return np.stack([np.ravel_multi_index(p, shape) for p in (places, before)])
