"""The levels of geometric multigrid, from an operator on a grid.

Constant coefficients keep a few numbers per axis, others an array per conductance.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact

from ...operators._arithmetic import ratio
from ...operators._line import UniformLine
from ...operators.grids._network import Network
from ...operators.grids._stencil import Stencil
from ._conductances import Conductances, coarsen, conductances_of
from ._flow_levels import levels_of_stencil
from ._grid_level import Grid, axes_to_coarsen, left_ahead


def build_levels(A: Any, coarsest: int, ahead: Sequence[int] = ()) -> tuple[Grid, ...]:
    """Return the levels from A's grid to one of at most `coarsest` cells.

    Args:
        A: the operator.
        coarsest: number of cells.
        ahead: how many times each axis is halved before all are.

    Raises:
        ValueError: A is not an operator that multigrid supports.
    """
    if (lines := A.uniform_lines) is not None:
        return _levels_of_lines(A, lines, coarsest, ahead)
    stencil = A.stencil
    if stencil is None or not stencil.offsets:
        raise ValueError(
            "Multigrid knows Laplacian, Diffusion, Helmholtz, MaskedPoisson, "
            "ConvectionDiffusion, their multiples and sums, and operators with a "
            f"stencil, got {type(A).__name__}; use Jacobi, AlgebraicMultigrid of a "
            "Sparse matrix, or multigrid of a nearby operator: "
            "preconditioner=Multigrid()(nearby)"
        )
    if not stencil.is_axial:
        raise ValueError(
            "the cheap cycle of Multigrid coarsens couplings along the axes alone, got "
            'a stencil with diagonal ones; use Multigrid(cycle="robust") if it is real '
            "and symmetric, made by Stencil.of(..., is_symmetric=True), IncompleteLU, "
            "or multigrid of a nearby operator: "
            "preconditioner=Multigrid()(nearby)"
        )
    if not stencil.is_symmetric:
        return levels_of_stencil(stencil, coarsest, ahead)
    links = tuple(-high for high in stencil.high)
    network = Network(stencil.centre, links, stencil.faces)
    no_shift = jnp.zeros((), network.centre.dtype)
    shift = no_shift if stencil.shift is None else stencil.shift
    return _levels_of_network(network, shift, coarsest, ahead)


def _levels_of_network(
    network: Network,
    shift: Inexact[Array, "..."],
    coarsest: int,
    ahead: Sequence[int],
) -> tuple[Grid, ...]:
    parts = conductances_of(network, shift)
    is_linked = _is_linked(parts)
    found = parts.network()
    levels = [Grid(found, ratio(1, found.centre), is_linked, found.centre.shape)]
    parts = Conductances(
        parts.links,
        tuple(jnp.where(is_linked, wall, 0) for wall in parts.walls),
        jnp.where(is_linked, parts.shift, 0),
        parts.faces,
    )
    while axes := axes_to_coarsen(levels[-1].shape, coarsest, ahead):
        ahead = left_ahead(ahead, axes)
        for axis in axes:
            parts = coarsen(parts, axis)
        found = parts.network()
        levels.append(Grid(found, ratio(1, found.centre), None, found.centre.shape))
    return tuple(levels)


def _is_linked(parts: Conductances) -> Bool[Array, "..."]:
    linked = jnp.zeros(parts.links[0].shape, bool)
    for axis, link in enumerate(parts.links):
        linked = linked | (link != 0) | jnp.roll(link != 0, 1, axis)
    return linked


class _Line(eqx.Module):
    """An axis of a grid of constant coefficient, in units of the finest spacing."""

    positions: np.ndarray
    widths: np.ndarray
    finest: UniformLine

    def coarsened(self) -> "_Line":
        """Pairs merge into their middle."""
        means = np.add.reduceat(self.positions, np.arange(0, len(self.positions), 2))
        counts = np.add.reduceat(
            np.ones_like(self.positions), np.arange(0, len(self.positions), 2)
        )
        widths = np.add.reduceat(self.widths, np.arange(0, len(self.widths), 2))
        return _Line(means / counts, widths, self.finest)

    def weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights of the previous neighbour, the point and the next one."""
        inner = 1 / np.diff(self.positions)
        end, pair = self.finest.size, self.finest.faces
        wrap = 1 / (self.positions[0] + end - self.positions[-1])
        # Dirichlet walls are one spacing outside.
        walls = (1 / (self.positions[0] + 1), 1 / (end - self.positions[-1]))
        beyond = [
            {"dirichlet": wall, "neumann": 0.0, "periodic": wrap}[face]
            for wall, face in zip(walls, pair, strict=True)
        ]
        low, high = np.r_[beyond[0], inner], np.r_[inner, beyond[1]]
        centre = low + high
        if pair[0] != "periodic":
            low, high = np.r_[0.0, inner], np.r_[inner, 0.0]
        return low / self.widths, centre / self.widths, high / self.widths


def _levels_of_lines(
    A: Any, uniform: tuple[Any, ...], coarsest: int, ahead: Sequence[int]
) -> tuple[Grid, ...]:
    lines = [
        _Line(np.arange(line.size, dtype=float), np.ones(line.size), line)
        for line in uniform
    ]
    levels = [_level_of_lines(lines, A)]
    while axes := axes_to_coarsen(levels[-1].shape, coarsest, ahead):
        ahead = left_ahead(ahead, axes)
        lines = [
            line.coarsened() if axis in axes else line
            for axis, line in enumerate(lines)
        ]
        levels.append(_level_of_lines(lines))
    return tuple(levels)


def _level_of_lines(lines: list[_Line], operator: Any = None) -> Grid:
    num_axes = len(lines)
    low, centre, high = zip(
        *[
            [_scaled(w, line.finest.weight, axis, num_axes) for w in line.weights()]
            for axis, line in enumerate(lines)
        ],
        strict=True,
    )
    diagonal = reduce(jnp.add, centre)
    if operator is None:
        faces: Any = tuple(line.finest.faces for line in lines)
        operator = Stencil.along_axes(
            diagonal, [-w for w in low], [-w for w in high], faces
        )
    return Grid(
        operator,
        ratio(1, diagonal),
        None,
        tuple(len(line.positions) for line in lines),
        tuple(tuple(line.widths.tolist()) for line in lines),
    )


def _scaled(
    weights: np.ndarray, unit: Inexact[Array, ""], axis: int, num_axes: int
) -> Inexact[Array, "..."]:
    """Weights along an axis over h², of a shape that broadcasts."""
    if np.ptp(weights) == 0:
        weights = weights[:1]
    shape = [-1 if a == axis else 1 for a in range(num_axes)]
    return unit * jnp.asarray(weights.reshape(shape), unit.dtype)
