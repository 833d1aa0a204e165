r"""The levels of multigrid for convection and diffusion: any stencil on a grid.

The two weights across a face, a_ij and a_ji, are split into a link and a flow,

    link s = -(a_ij + a_ji) / 2,    flow f = a_ij - a_ji.

Links coarsen as in _conductances.py, flows through faces side by side add up, and what
the rows' centres have beyond the links is kept: so totals are conserved on every grid.
On each a link is raised to |f|/2, by which the scheme is central where the grid is fine
enough and upwind elsewhere, and its matrix an M-matrix: D. B. Spalding, A novel finite
difference formulation for differential expressions involving both first and second
derivatives, Int. J. Numer. Methods Eng. 4 (1972). Without that the coarse grids are
unstable: U. Trottenberg, C. W. Oosterlee, A. Schüller, Multigrid, 2001, §7. The finest
grid is treated alike, so that its smoothing is stable where A is central and
oscillates; an upwind A is unchanged.
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ...operators._arithmetic import ratio
from ...operators._materialise import materialise
from ...operators.grids._boundary import Faces as Boundary
from ...operators.grids._network import Network, make_network, wall_conductances
from ...operators.grids._offsets import neighbour
from ...operators.grids._stencil import Stencil
from ._conductances import (
    Conductances,
    coarsen,
    conductances_of,
    link_pairs,
    sum_pairs,
)
from ._grid_level import Grid, axes_to_coarsen, left_ahead

Faces: TypeAlias = tuple[Inexact[Array, "..."], ...]
"""Per axis, what belongs to the face to the next cell."""


def levels_of_stencil(
    stencil: Stencil, coarsest: int, ahead: Sequence[int] = ()
) -> tuple[Grid, ...]:
    """Return the levels from a stencil's grid to one of at most `coarsest` cells.

    Args:
        stencil: axial.
        coarsest: number of cells.
        ahead: how many times each axis is halved before all are.
    """
    links, flows = _links_and_flows(stencil)
    ground = wall_conductances(Network(stencil.diagonal(), links, stencil.faces))
    # Where the flow brings in more than it takes away there is no wall.
    gain = jnp.where(jnp.real(ground) < 0, ground, 0)
    parts = conductances_of(make_network(ground - gain, links, stencil.faces), gain)
    levels = [_level(parts, flows)]
    while axes := axes_to_coarsen(levels[-1].shape, coarsest, ahead):
        ahead = left_ahead(ahead, axes)
        for axis in axes:
            parts, flows = (
                coarsen(parts, axis),
                _coarsen_flows(flows, axis, stencil.faces),
            )
        levels.append(_level(parts, flows))
    return tuple(levels)


def _links_and_flows(stencil: Stencil) -> tuple[Faces, Faces]:
    # What each cell is to its next neighbour: a_ji.
    back = [
        neighbour(low, axis, "high", stencil.faces)
        for axis, low in enumerate(stencil.low)
    ]
    pairs = list(zip(stencil.high, back, strict=True))
    return tuple(-(a + b) / 2 for a, b in pairs), tuple(a - b for a, b in pairs)


def _coarsen_flows(flows: Faces, along: int, boundary: Boundary) -> Faces:
    """The flows between merged cells: those inside of a pair are lost."""
    is_periodic = boundary[along][0] == "periodic"
    return tuple(
        materialise(
            link_pairs(flow, axis, is_periodic)[1]
            if axis == along
            else sum_pairs(flow, along)
        )
        for axis, flow in enumerate(flows)
    )


def _level(parts: Conductances, flows: Faces) -> Grid:
    links = tuple(map(_raised, parts.links, flows))
    network = Conductances(links, parts.walls, parts.shift, parts.faces).network()
    low, high = [], []
    for axis, (link, flow) in enumerate(zip(links, flows, strict=True)):
        low.append(-neighbour(link + flow / 2, axis, "low", parts.faces))
        high.append(flow / 2 - link)
    stencil = Stencil.along_axes(network.centre, low, high, parts.faces)
    stencil = jax.tree.map(materialise, stencil)
    return Grid(stencil, ratio(1, stencil.centre), None, stencil.centre.shape)


def _raised(
    link: Inexact[Array, "..."], flow: Inexact[Array, "..."]
) -> Inexact[Array, "..."]:
    """The link, at least half the flow in size."""
    factor = jnp.maximum(1, jnp.abs(flow) * ratio(1, 2 * jnp.abs(link)))
    return factor.astype(link.dtype) * link
