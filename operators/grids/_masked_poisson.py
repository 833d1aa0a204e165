"""The pressure equation of a fluid on a grid with solid and air cells.

Integrating -Δp over a fluid cell of a staggered (MAC) grid, (A p)_i = Σ_faces (p_i -
p_neighbour) / h², without the faces to solid cells, through which nothing flows, and
with p = 0 in air cells: the diagonal counts the neighbours that are not solid, and only
fluid neighbours stand off it (R. Bridson, Fluid Simulation for Computer Graphics, 2nd
ed., 2015, §5.3). These are the rows that the Deep Conjugate Direction Method of Kaneda
et al. (ICML 2023) uses, with h = 1.

Differs from theirs: rows and columns of cells that are not fluid, or that are walled in
on all sides, hold a one on the diagonal instead of zeros, so that the operator is
definite where there is air and no diagonal entry is zero.
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, DTypeLike, Float, Inexact
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from typing_extensions import override

from .._declared import AbstractDeclaredOperator, Declared, declare
from .._field import Structure, as_dtype, is_traced, on_device, structure_of
from ._boundary import BoundaryLike, Condition, Faces, as_faces, inverse_squares
from ._laplacian import grid_shape
from ._network import Network, make_network
from ._offsets import neighbour
from ._shift import Side, edge_in_zeros
from ._stencil import Stencil

SIDES: tuple[Side, Side] = ("low", "high")


class CellType(IntEnum):
    """The content of a cell of `MaskedPoisson`."""

    SOLID = 1
    FLUID = 2
    AIR = 3


class MaskedPoisson(AbstractDeclaredOperator):
    """The operator -Δ over the fluid cells of a 1-D, 2-D or 3-D grid.

    Solid cells are Neumann (no flux), air cells are Dirichlet (value zero at their
    centre, one spacing away). Fields cover the whole grid: on cells that are not fluid
    the operator is the identity, coupled to nothing, so that a right-hand side that is
    zero there gives a solution that is zero there. So it is on a fluid cell that is
    walled in on all sides, whose equation would be 0 p = 0.

    A connected region of two or more fluid cells that touches no air is closed: the
    operator is singular with the constants on each closed region as null vectors.

    Args:
        cells: integers of `CellType` (1 solid, 2 fluid, 3 air); 0 counts as solid.
            They may be traced; the operator is then tagged semidefinite only.
        spacing: h, one number or one per axis.
        boundary: what lies outside of the grid, "neumann" for solid, "dirichlet" for
            air (value zero one spacing outside), or "periodic"; for all faces, or per
            axis one of them or a (low, high) pair.
        nullspace: "constant" declares the null vectors, one per closed region, found by
            a search for connected cells; traced cells are taken for one closed region.
            Or null vectors, stacked along a first axis.
        dtype: of the fields; JAX's default floating type unless said.

    Raises:
        ValueError: bad cells, shape, spacing or boundary, no fluid, a declared null
            space where no region is closed, or 64 bits while x64 is off.

    Cost: per product 4d+1 operations per cell; d+1 numbers and a flag per cell are
    stored.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> cells = jnp.array([[1, 2, 2, 3]] * 2)
        >>> A = kx.operators.MaskedPoisson(cells)
        >>> A.diagonal()[0]
        Array([1., 2., 3., 1.], dtype=float64)
    """

    network: Network
    fluid: Bool[Array, "..."]
    declared: Declared

    def __init__(
        self,
        cells: Any,
        spacing: float | Sequence[float] | Float[Array, "..."] = 1.0,
        *,
        boundary: BoundaryLike = "neumann",
        nullspace: Any | Literal["constant"] | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        cells = _as_cells(cells)
        dtype = as_dtype(dtype)
        faces = as_faces(boundary, cells.ndim)
        weights = inverse_squares(spacing, cells.ndim, jnp.finfo(dtype).dtype)
        on_grid = on_device(cells) if isinstance(cells, np.ndarray) else cells
        self.network, self.fluid = _network(on_grid, weights, faces, dtype)
        regions = None if is_traced(cells) else _closed_regions(cells, faces)
        if isinstance(nullspace, str) and nullspace == "constant":
            nullspace = _constants(self.network, regions)
        self.declared = declare(_tags(regions), nullspace, self.in_structure)

    @property
    @override
    def in_structure(self) -> Structure:
        return structure_of(self.network.centre)

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.network.mv(x)

    @property
    @override
    def stencil(self) -> Stencil:
        return self.network.stencil()

    @property
    @override
    def is_fluid(self) -> Bool[Array, "..."]:
        """The cells that hold fluid."""
        return self.fluid

    def diagonal(self) -> Inexact[Array, "..."]:
        """The number of neighbours that are not solid, over h²; one if not fluid."""
        return self.network.centre


def _as_cells(cells: Any) -> Any:
    """Return the cells as NumPy's array, or as they are if traced."""
    is_known = not is_traced(cells)
    cells = np.asarray(cells) if is_known else cells
    if not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(
            f"cells must be integers of CellType, got dtype {cells.dtype}; for a mask "
            "of fluid cells use jnp.where(mask, CellType.FLUID, CellType.SOLID)"
        )
    grid_shape(cells.shape)
    found = set(np.unique(cells).tolist()) if is_known else {CellType.FLUID}
    if not found <= {0, *CellType} or CellType.FLUID not in found:
        raise ValueError(
            "cells must be 1 (solid), 2 (fluid) or 3 (air), or 0, which counts as "
            f"solid, and hold at least one fluid cell, got {sorted(found)}"
        )
    return cells


@partial(jax.jit, static_argnames=("faces", "dtype"), inline=True)
def _network(
    cells: Array, weights: Float[Array, " axes"], faces: Faces, dtype: jnp.dtype
) -> tuple[Network, Bool[Array, "..."]]:
    weights = weights.astype(dtype)
    is_fluid = cells == CellType.FLUID
    fluid = is_fluid.astype(dtype)
    air = (cells == CellType.AIR).astype(dtype)
    walls, links = 1 - fluid, []
    for axis, (weight, pair) in enumerate(zip(weights, faces, strict=True)):
        own = weight * fluid
        links.append(own * neighbour(fluid, axis, "high", faces))
        for side, condition in zip(SIDES, pair, strict=True):
            walls = walls + own * neighbour(air, axis, side, faces)
            if condition == "dirichlet":
                walls = walls + edge_in_zeros(own, axis, side, side)
    network = make_network(walls, tuple(links), faces)
    centre = jnp.where(network.centre == 0, 1, network.centre)
    return Network(centre, network.links, faces), is_fluid


def _closed_regions(cells: np.ndarray, faces: Faces) -> np.ndarray:
    """The number of each fluid cell's closed region from 0, -1 elsewhere."""
    index = np.arange(cells.size).reshape(cells.shape)
    is_fluid, pairs = cells == CellType.FLUID, []
    is_grounded, is_linked = ~is_fluid, np.zeros(cells.shape, bool)
    for axis, pair in enumerate(faces):
        before, after = _neighbours(cells, axis, pair)
        is_grounded |= (before == CellType.AIR) | (after == CellType.AIR)
        leads_on = is_fluid & (after == CellType.FLUID)
        is_linked |= leads_on | np.roll(leads_on, 1, axis)
        pairs.append([index[leads_on], np.roll(index, -1, axis)[leads_on]])
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), (cells.size,) * 2)
    _, labels = connected_components(graph, directed=False)
    # A cell that is walled in on all sides is a region without null vectors.
    grounds = np.bincount(labels, np.ravel(is_grounded | ~is_linked))
    is_closed = (grounds == 0)[labels]
    regions = np.full(cells.size, -1)
    regions[is_closed] = np.unique(labels[is_closed], return_inverse=True)[1]
    return regions.reshape(cells.shape)


def _neighbours(
    cells: np.ndarray, axis: int, pair: tuple[Condition, Condition]
) -> tuple[np.ndarray, np.ndarray]:
    """The cells before and after each cell, with what lies outside of the grid."""
    outside = {"dirichlet": CellType.AIR, "neumann": CellType.SOLID}
    low, high = (
        cells.take([end], axis)
        if condition == "periodic"
        else np.full_like(cells.take([0], axis), outside[condition])
        for end, condition in zip((-1, 0), pair, strict=True)
    )
    count = cells.shape[axis] - 1
    before = np.concatenate([low, cells.take(range(count), axis)], axis)
    return before, np.concatenate([cells.take(range(1, count + 1), axis), high], axis)


def _tags(regions: np.ndarray | None) -> list[str]:
    found = ["symmetric", "positive_semidefinite"]
    if regions is not None:
        found.append("singular" if np.any(regions >= 0) else "positive_definite")
    return found


def _constants(network: Network, regions: np.ndarray | None) -> Array:
    """The constant on each closed region, one region where the cells are traced."""
    dtype = network.centre.dtype
    if regions is None:
        without_walls = jnp.zeros_like(network.centre)
        linked = make_network(without_walls, network.links, network.faces)
        return (linked.centre != 0).astype(dtype)[None]
    numbers = np.arange(np.max(regions) + 1)
    if numbers.size == 0:
        raise ValueError(
            "every region of fluid touches air, which makes the operator nonsingular; "
            'leave out nullspace="constant"'
        )
    masks = regions == numbers.reshape(-1, *[1] * regions.ndim)
    return on_device(masks.astype(dtype))
