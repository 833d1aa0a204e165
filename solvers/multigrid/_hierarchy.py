"""The levels of multigrid: from an operator on a grid to ever coarser ones.

Constant coefficients keep a few numbers per axis, others an array per conductance.
"""

from functools import reduce
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact

from ...operators import Diffusion, Helmholtz, Laplacian, MaskedPoisson
from ...operators._arithmetic import ratio
from ...operators.grids._grid_stencil import stencil_of
from ...operators.grids._network import Network
from ...operators.grids._stencil import Stencil
from ._conductances import Conductances, coarsen, conductances_of
from ._flow_levels import levels_of_stencil
from ._level import Level, axes_to_coarsen


def build_levels(A: Any, coarsest: int) -> tuple[Level, ...]:
    """Return the levels from A's grid to one of at most `coarsest` cells.

    Raises:
        ValueError: A is of another kind.
    """
    if isinstance(A, Laplacian):
        return _levels_of_lines(A, coarsest)
    if isinstance(A, Diffusion | MaskedPoisson):
        return _levels_of_network(
            A.network, jnp.zeros((), A.network.centre.dtype), coarsest
        )
    if isinstance(A, Helmholtz):
        return _levels_of_network(A.diffusion.network, -A.wavenumber_squared, coarsest)
    stencil = stencil_of(A)
    if stencil is not None:
        return levels_of_stencil(stencil, coarsest)
    raise ValueError(
        "Multigrid knows Laplacian, Diffusion, Helmholtz, MaskedPoisson, "
        "ConvectionDiffusion, their multiples and sums, got "
        f"{type(A).__name__}; use Jacobi, AlgebraicMultigrid of a Sparse matrix, or "
        "multigrid of a nearby operator: preconditioner=Multigrid()(nearby)"
    )


def _levels_of_network(
    network: Network, shift: Inexact[Array, "..."], coarsest: int
) -> tuple[Level, ...]:
    parts = conductances_of(network, shift)
    is_linked = _is_linked(parts)
    found = parts.network()
    levels = [Level(found, ratio(1, found.centre), is_linked, found.centre.shape)]
    parts = Conductances(
        parts.links,
        tuple(jnp.where(is_linked, wall, 0) for wall in parts.walls),
        jnp.where(is_linked, parts.shift, 0),
        parts.faces,
    )
    while axes := axes_to_coarsen(levels[-1].shape, coarsest):
        for axis in axes:
            parts = coarsen(parts, axis)
        found = parts.network()
        levels.append(Level(found, ratio(1, found.centre), None, found.centre.shape))
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
    end: int
    pair: tuple[str, str]

    def coarsened(self) -> "_Line":
        """Pairs merge into their middle."""
        means = np.add.reduceat(self.positions, np.arange(0, len(self.positions), 2))
        counts = np.add.reduceat(
            np.ones_like(self.positions), np.arange(0, len(self.positions), 2)
        )
        widths = np.add.reduceat(self.widths, np.arange(0, len(self.widths), 2))
        return _Line(means / counts, widths, self.end, self.pair)

    def weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights of the previous neighbour, the point and the next one."""
        inner = 1 / np.diff(self.positions)
        wrap = 1 / (self.positions[0] + self.end - self.positions[-1])
        # Dirichlet walls are one spacing outside.
        walls = (1 / (self.positions[0] + 1), 1 / (self.end - self.positions[-1]))
        beyond = [
            {"dirichlet": wall, "neumann": 0.0, "periodic": wrap}[face]
            for wall, face in zip(walls, self.pair, strict=True)
        ]
        low, high = np.r_[beyond[0], inner], np.r_[inner, beyond[1]]
        centre = low + high
        if self.pair[0] != "periodic":
            low, high = np.r_[0.0, inner], np.r_[inner, 0.0]
        return low / self.widths, centre / self.widths, high / self.widths


def _levels_of_lines(A: Laplacian, coarsest: int) -> tuple[Level, ...]:
    lines = [
        _Line(np.arange(size, dtype=float), np.ones(size), size, pair)
        for size, pair in zip(A.shape, A.faces, strict=True)
    ]
    levels = [_level_of_lines(A, lines, A)]
    while axes := axes_to_coarsen(levels[-1].shape, coarsest):
        lines = [
            line.coarsened() if axis in axes else line
            for axis, line in enumerate(lines)
        ]
        levels.append(_level_of_lines(A, lines))
    return tuple(levels)


def _level_of_lines(A: Laplacian, lines: list[_Line], operator: Any = None) -> Level:
    low, centre, high = zip(
        *[
            [_scaled(w, A, axis) for w in line.weights()]
            for axis, line in enumerate(lines)
        ],
        strict=True,
    )
    diagonal = reduce(jnp.add, centre)
    if operator is None:
        operator = Stencil(
            diagonal, tuple(-w for w in low), tuple(-w for w in high), A.faces
        )
    return Level(
        operator,
        ratio(1, diagonal),
        None,
        tuple(len(line.positions) for line in lines),
        tuple(tuple(line.widths.tolist()) for line in lines),
    )


def _scaled(weights: np.ndarray, A: Laplacian, axis: int) -> Inexact[Array, "..."]:
    """Weights along an axis over h², of a shape that broadcasts."""
    if np.ptp(weights) == 0:
        weights = weights[:1]
    shape = [-1 if a == axis else 1 for a in range(len(A.shape))]
    return A.weights[axis].astype(A.dtype) * jnp.asarray(
        weights.reshape(shape), A.dtype
    )
