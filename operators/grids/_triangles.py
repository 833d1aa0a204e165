"""The two triangles of a stencil along the axes of a grid.

Numbered row-major, the neighbours before a cell make the strictly lower triangle L and
those after it the strictly upper one U, A = D + L + U. On a periodic axis the last cell
has the first one before it, so that each triangle has a wrap.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ._shift import Side, edge_in_zeros, opposite, shift_in_zero
from ._stencil import Stencil


class GridTriangle(eqx.Module):
    """One strict triangle of a stencil.

    Attributes:
        weights: per axis, the weight of the neighbour on `side`.
        wraps: per axis, the weight of the neighbour across a periodic wrap, zero except
            on the edge; `None` on other axes.
        side: "low" for L, "high" for U.
    """

    weights: tuple[Inexact[Array, "..."], ...]
    wraps: tuple[Inexact[Array, "..."] | None, ...]
    side: Side = eqx.field(static=True)

    def __call__(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return L x or U x."""
        y = jnp.zeros_like(x)
        for axis, (weight, wrap) in enumerate(
            zip(self.weights, self.wraps, strict=True)
        ):
            y = y + weight * shift_in_zero(x, axis, self.side)
            if wrap is not None:
                far = edge_in_zeros(x, axis, self.side, opposite(self.side))
                y = y + wrap * far
        return y


def triangles_of(stencil: Stencil) -> tuple[GridTriangle, GridTriangle]:
    """Return L and U."""
    return _triangle(stencil, "low"), _triangle(stencil, "high")


def unit_triangles(
    stencil: Stencil, pivots: Inexact[Array, "..."]
) -> tuple[GridTriangle, GridTriangle]:
    """Return P⁻¹L and P⁻¹U."""
    triangles = triangles_of(stencil)
    return jax.tree.map(lambda weight: weight / pivots, triangles)


def _triangle(stencil: Stencil, side: Side) -> GridTriangle:
    near, far = (stencil.low, stencil.high)[:: 1 if side == "low" else -1]
    weights, wraps = [], []
    for axis, is_periodic in enumerate(stencil.periodic):
        weight, wrap = near[axis], None
        if is_periodic:
            weight = weight - edge_in_zeros(weight, axis, side, side)
            wrap = edge_in_zeros(far[axis], axis, opposite(side), opposite(side))
            if weight.shape[axis] == 2:
                # The wrap leads to the neighbour itself: one entry of the matrix.
                weight, wrap = weight + wrap, None
        weights.append(weight)
        wraps.append(wrap)
    return GridTriangle(tuple(weights), tuple(wraps), side)
