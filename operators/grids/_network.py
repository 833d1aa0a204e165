"""A grid of cells joined by conductances, the common form of second-order stencils.

(A u)_i = w_i u_i + Σ_neighbours c_ij (u_i - u_j): a conductance c to each neighbour
along an axis and w to the wall. `Diffusion` stores one, `Laplacian` can be seen as one,
and multigrid coarsens one.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ._boundary import Faces
from ._shift import edge_in_zeros, shift_in_zero
from ._stencil import Stencil


class Network(eqx.Module):
    """Conductances on a grid.

    Attributes:
        centre: the diagonal of A, Σ c + w, one entry per cell.
        links: per axis, the conductance to the next cell, one entry per cell; at the
            last cell that of the wrap of a periodic axis, else zero.
        faces: the boundary conditions, of which only "periodic" matters here.
    """

    centre: Inexact[Array, "..."]
    links: tuple[Inexact[Array, "..."], ...]
    faces: Faces = eqx.field(static=True)

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return A x."""
        y = self.centre * x
        for axis, link in enumerate(self.links):
            y = y - link * shift_in_zero(x, axis, "high")
            y = y - shift_in_zero(link * x, axis, "low")
            if self.faces[axis][0] == "periodic":
                wrap = edge_in_zeros(link, axis, "high", "high")
                y = y - wrap * edge_in_zeros(x, axis, "low", "high")
                y = y - edge_in_zeros(link * x, axis, "high", "low")
        return y

    def stencil(self, shift: Inexact[Array, "..."] | None = None) -> Stencil:
        """The same as a stencil, with what else the diagonal holds."""
        return Stencil.of_links(self.centre, self.links, self.faces, shift)


def make_network(
    walls: Inexact[Array, "..."],
    links: tuple[Inexact[Array, "..."], ...],
    faces: Faces,
) -> Network:
    """Return the network of wall and neighbour conductances."""
    centre = walls
    for axis, link in enumerate(links):
        centre = centre + link + shift_in_zero(link, axis, "low")
        if faces[axis][0] == "periodic":
            centre = centre + edge_in_zeros(link, axis, "high", "low")
    return Network(centre, links, faces)


def wall_conductances(network: Network) -> Inexact[Array, "..."]:
    """Return w, the diagonal minus the sum of links; rounding is set to zero."""
    inner = make_network(
        jnp.zeros_like(network.centre), network.links, network.faces
    ).centre
    walls = network.centre - inner
    eps = jnp.finfo(walls.dtype).eps
    return jnp.where(jnp.abs(walls) > 100 * eps * jnp.abs(network.centre), walls, 0)
