"""Operators on grids seen as one stencil, and the two triangles of a stencil.

Numbered row-major, the neighbours before a cell make the strictly lower triangle L and
those after it the strictly upper one U, A = D + L + U. On a periodic axis the last cell
has the first one before it, so that each triangle has a wrap.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .._diagonal import Diagonal
from .._identity import Identity
from .._operator import Scaled, Sum
from ._convection_diffusion import ConvectionDiffusion
from ._diffusion import Diffusion
from ._helmholtz import Helmholtz
from ._laplacian import Laplacian
from ._masked_poisson import MaskedPoisson
from ._network import Network
from ._shift import Side, edge_in_zeros, opposite, shift_in_zero
from ._stencil import Stencil, StencilOperator, neighbour


class GridTriangle(eqx.Module):
    """One strict triangle of a stencil.

    Attributes:
        weights: per axis, the weight of the neighbour on `side`.
        wraps: per axis, the weight of the neighbour across a periodic wrap, zero but on
            the edge; `None` on other axes.
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


def stencil_of(A: Any) -> Stencil | None:
    """Return the stencil that an operator is, `None` if it is none that we know."""
    if isinstance(A, Laplacian):
        return _of_network(A.network())
    if isinstance(A, Diffusion | MaskedPoisson):
        return _of_network(A.network)
    if isinstance(A, Helmholtz):
        return _with_centre(_of_network(A.diffusion.network), A.diagonal())
    if isinstance(A, ConvectionDiffusion | StencilOperator):
        return A.stencil
    if isinstance(A, Scaled):
        return _scaled(A)
    if isinstance(A, Sum):
        return _sum(A.left, A.right) or _sum(A.right, A.left)
    return None


def triangles_of(stencil: Stencil) -> tuple[GridTriangle, GridTriangle]:
    """Return L and U."""
    return _triangle(stencil, "low"), _triangle(stencil, "high")


def unit_triangles(
    stencil: Stencil, pivots: Inexact[Array, "..."]
) -> tuple[GridTriangle, GridTriangle]:
    """Return P⁻¹L and P⁻¹U."""
    triangles = triangles_of(stencil)
    return jax.tree.map(lambda weight: weight / pivots, triangles)


def _of_network(network: Network) -> Stencil:
    faces = network.faces
    low = [-neighbour(link, a, "low", faces) for a, link in enumerate(network.links)]
    high = [-link for link in network.links]
    return Stencil(network.centre, tuple(low), tuple(high), faces)


def _with_centre(stencil: Stencil, centre: Inexact[Array, "..."]) -> Stencil:
    return Stencil(centre, stencil.low, stencil.high, stencil.faces)


def _scaled(A: Scaled) -> Stencil | None:
    stencil = stencil_of(A.operator)
    if stencil is None:
        return None
    factor = A.factor.astype(stencil.centre.dtype)
    low = tuple(factor * weight for weight in stencil.low)
    high = tuple(factor * weight for weight in stencil.high)
    return Stencil(factor * stencil.centre, low, high, stencil.faces)


def _sum(left: Any, right: Any) -> Stencil | None:
    """The sum of a stencil and of a stencil or a diagonal, in this order."""
    stencil = stencil_of(left)
    if stencil is None:
        return None
    unscaled = right.operator if isinstance(right, Scaled) else right
    if isinstance(unscaled, Diagonal | Identity):
        return _with_centre(stencil, stencil.centre + right.diagonal())
    other = stencil_of(right)
    if other is None or _periodic(other) != _periodic(stencil):
        return None
    low = [a + b for a, b in zip(stencil.low, other.low, strict=True)]
    high = [a + b for a, b in zip(stencil.high, other.high, strict=True)]
    centre = stencil.centre + other.centre
    return Stencil(centre, tuple(low), tuple(high), stencil.faces)


def _periodic(stencil: Stencil) -> list[bool]:
    return [pair[0] == "periodic" for pair in stencil.faces]


def _triangle(stencil: Stencil, side: Side) -> GridTriangle:
    near, far = (stencil.low, stencil.high)[:: 1 if side == "low" else -1]
    weights, wraps = [], []
    for axis, is_periodic in enumerate(_periodic(stencil)):
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
