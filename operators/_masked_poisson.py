"""The pressure equation of a fluid on a grid with solid and air cells.

Integrating -Δp over a fluid cell of a staggered (MAC) grid, (A p)_i = Σ_faces (p_i -
p_neighbour) / h², without the faces to solid cells, through which nothing flows, and
with p = 0 in air cells: the diagonal counts the neighbours that are not solid, and only
fluid neighbours stand off it (R. Bridson, Fluid Simulation for Computer Graphics, 2nd
ed., 2015, §5.3). These are the rows that the Deep Conjugate Direction Method of Kaneda
et al. (ICML 2023) uses, with h = 1.

Differs from theirs: rows and columns of cells that are not fluid hold a one on the
diagonal instead of zeros, so that the operator is definite where there is air.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Inexact
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ._boundary import BoundaryLike, Condition, Faces, as_faces, inverse_squares
from ._field import Structure, is_traced, require_x64, structure_of
from ._laplacian import grid_shape
from ._network import Network, make_network
from ._nullspace import as_nullspace
from ._operator import AbstractLinearOperator
from ._shift import Side, edge_in_zeros
from ._stencil import neighbour
from ._tags import as_tags

SIDES: tuple[Side, Side] = ("low", "high")


class CellType(IntEnum):
    """What fills a cell of `MaskedPoisson`."""

    SOLID = 1
    FLUID = 2
    AIR = 3


class MaskedPoisson(AbstractLinearOperator):
    """The operator -Δ over the fluid cells of a 1-D, 2-D or 3-D grid.

    Solid cells are Neumann (no flux), air cells are Dirichlet (value zero at their
    centre, one spacing away). Fields cover the whole grid: on cells that are not fluid
    the operator is the identity, coupled to nothing, so that a right-hand side that is
    zero there gives a solution that is zero there.

    A connected region of fluid that touches no air is closed: the operator is singular
    with the constants on each closed region as null vectors.

    Args:
        cells: integers of `CellType` (1 solid, 2 fluid, 3 air); 0 counts as solid.
            They may be traced: then nothing but semidefiniteness is promised.
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

    Cost: per product 4d+1 operations per cell; d+1 numbers per cell are stored.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> cells = jnp.array([[1, 2, 2, 3]] * 2)
        >>> A = kx.operators.MaskedPoisson(cells)
        >>> A.diagonal()[0]
        Array([1., 2., 3., 1.], dtype=float64)
    """

    network: Network
    null_vectors: Inexact[Array, "k ..."] | None
    promised: frozenset[str] = eqx.field(static=True)

    def __init__(
        self,
        cells: Any,
        spacing: float | Sequence[float] | Float[Array, "..."] = 1.0,
        *,
        boundary: BoundaryLike = "neumann",
        nullspace: Any | Literal["constant"] | None = None,
        dtype: DTypeLike | None = None,
    ):
        cells = _as_cells(cells)
        dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise ValueError(f"dtype must be floating or complex, got {dtype}")
        require_x64(dtype, "dtype")
        faces = as_faces(boundary, cells.ndim)
        weights = inverse_squares(spacing, cells.ndim, jnp.finfo(dtype).dtype)
        self.network = _network(jnp.asarray(cells), weights.astype(dtype), faces)
        regions = None if is_traced(cells) else _closed_regions(cells, faces)
        self.promised = _tags(self.in_structure, regions)
        if isinstance(nullspace, str) and nullspace == "constant":
            nullspace = _constants(cells, regions, dtype)
        self.null_vectors = as_nullspace(nullspace, self.in_structure)

    @property
    def in_structure(self) -> Structure:
        """An array with one entry per cell."""
        return structure_of(self.network.centre)

    @property
    def out_structure(self) -> Structure:
        """An array with one entry per cell."""
        return structure_of(self.network.centre)

    @property
    def tags(self) -> frozenset[str]:
        """Symmetric semidefinite; definite or singular where the cells are known."""
        return self.promised

    @property
    def nullspace(self) -> Inexact[Array, "k ..."] | None:
        """The declared null vectors, orthonormal."""
        return self.null_vectors

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return -Δx in fluid cells, x in the others."""
        return self.network.mv(x)

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


def _network(cells: Array, weights: Inexact[Array, " axes"], faces: Faces) -> Network:
    is_fluid = cells == CellType.FLUID
    fluid = is_fluid.astype(weights.dtype)
    air = (cells == CellType.AIR).astype(weights.dtype)
    walls, links = 1 - fluid, []
    for axis, (weight, pair) in enumerate(zip(weights, faces, strict=True)):
        own = weight * fluid
        links.append(own * neighbour(fluid, axis, "high", faces))
        for side, condition in zip(SIDES, pair, strict=True):
            walls = walls + own * neighbour(air, axis, side, faces)
            if condition == "dirichlet":
                walls = walls + edge_in_zeros(own, axis, side, side)
    return make_network(walls, tuple(links), faces)


def _closed_regions(cells: np.ndarray, faces: Faces) -> np.ndarray:
    """The number of each fluid cell's closed region from 0, -1 elsewhere."""
    fluid, air = cells == CellType.FLUID, cells == CellType.AIR
    index = np.arange(cells.size).reshape(cells.shape)
    has_air, pairs = ~fluid, []
    for axis, pair in enumerate(faces):
        is_linked = fluid & _neighbour(fluid, axis, "high", pair)
        pairs.append([index[is_linked], np.roll(index, -1, axis)[is_linked]])
        for side, condition in zip(SIDES, pair, strict=True):
            is_air_outside = condition == "dirichlet"
            has_air = has_air | _neighbour(air, axis, side, pair, is_air_outside)
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), (cells.size,) * 2)
    _, labels = connected_components(graph, directed=False)
    is_open = np.bincount(labels, has_air.ravel()) > 0
    is_closed = ~is_open[labels]
    regions = np.full(cells.size, -1)
    regions[is_closed] = np.unique(labels[is_closed], return_inverse=True)[1]
    return regions.reshape(cells.shape)


def _neighbour(
    mask: np.ndarray,
    axis: int,
    side: Side,
    pair: tuple[Condition, Condition],
    outside: bool = False,
) -> np.ndarray:
    """Whether the mask holds in each cell's neighbour, wrapped if periodic."""
    is_high = side == "high"
    rolled = np.roll(mask, -1 if is_high else 1, axis)
    if pair[0] != "periodic":
        edge = [slice(None)] * mask.ndim
        edge[axis] = slice(-1, None) if is_high else slice(0, 1)
        rolled[tuple(edge)] = outside
    return rolled


def _tags(structure: Structure, regions: np.ndarray | None) -> frozenset[str]:
    found = ["symmetric", "positive_semidefinite"]
    if regions is not None:
        found.append("singular" if np.any(regions >= 0) else "positive_definite")
    return as_tags(found, structure, structure)


def _constants(cells: Any, regions: np.ndarray | None, dtype: DTypeLike) -> Array:
    """The constant on each closed region, one region where the cells are traced."""
    if regions is None:
        return (cells == CellType.FLUID).astype(dtype)[None]
    numbers = np.arange(np.max(regions) + 1)
    if numbers.size == 0:
        raise ValueError(
            "every region of fluid touches air, which makes the operator nonsingular; "
            'leave out nullspace="constant"'
        )
    masks = regions == numbers.reshape(-1, *[1] * regions.ndim)
    return jnp.asarray(masks, dtype)
