"""A symmetric stencil as conductances between cells, and what is beside them.

(A u)_i = slack_i u_i + Σ_o link_oi (u_i - u_{i+o}) + Σ_o link_o,i-o (u_i - u_{i-o}).
Row sums are kept and not formed, so that a coarse grid that sums them is exact for the
constants, however large the links are.
"""

from collections.abc import Iterable
from functools import reduce

import equinox as eqx
import jax.numpy as jnp

from ...operators.grids._boundary import Faces
from ...operators.grids._offsets import Offset, at_offset, negated
from ...operators.grids._stencil import Stencil
from ._planes import Field, transposed

Links = dict[Offset, Field]
"""Per offset, the conductance from each cell to the one there."""


class Couplings(eqx.Module):
    """Conductances on a grid.

    Attributes:
        slack: per cell, the sum of its row.
        links: per offset, the conductance to the cell there, zero if that is outside;
            one offset of each opposite pair.
        faces: the boundary conditions, of which only "periodic" matters here.
    """

    slack: Field
    links: Links
    faces: Faces = eqx.field(static=True)

    @classmethod
    def of(cls, stencil: Stencil) -> "Couplings":
        """Return those of a symmetric stencil, with offsets that lead on."""
        pairs = zip(stencil.offsets, stencil.couplings, strict=True)
        links = {offset: -weight for offset, weight in pairs}
        centre = stencil.centre
        slack = centre - ends(links, stencil.faces, centre)
        eps = jnp.finfo(slack.dtype).eps
        is_rounding = jnp.abs(slack) <= 100 * eps * jnp.abs(centre)
        slack = jnp.where(is_rounding, 0, slack)
        if stencil.shift is not None:
            slack = slack + stencil.shift
        return cls(slack, links, stencil.faces)

    def stencil(self) -> Stencil:
        """Return A as a stencil."""
        return Stencil(
            self.slack + ends(self.links, self.faces, self.slack),
            tuple(-link for link in self.links.values()),
            tuple(self.links),
            self.faces,
            is_symmetric=True,
        )

    def transposed(self, order: tuple[int, ...]) -> "Couplings":
        """Return the same with its axes in another order.

        Offsets that lead on along the second axis or, within its planes, in row-major
        order.
        """
        faces = tuple(self.faces[axis] for axis in order)
        links = {}
        for offset, link in self.links.items():
            moved = tuple(offset[axis] for axis in order)
            link = transposed(link, order)
            if (moved[1], moved) < (0, negated(moved)):
                moved = negated(moved)
                link = at_offset(link, moved, faces)
            links[moved] = link
        return Couplings(transposed(self.slack, order), links, faces)


def neighbours(links: Links, x: Field, faces: Faces) -> Field:
    """Return Σ link x over the neighbours of each cell."""
    ahead = [link * at_offset(x, o, faces) for o, link in links.items()]
    back = [at_offset(link * x, negated(o), faces) for o, link in links.items()]
    return total([*ahead, *back], x)


def ends(
    links: Links,
    faces: Faces,
    like: Field,
) -> Field:
    """Return the sum of each cell's links, those that lead to it included."""
    return total(
        (
            link + at_offset(link, negated(offset), faces)
            for offset, link in links.items()
        ),
        like,
    )


def total(terms: Iterable[Field], like: Field) -> Field:
    """Return the sum of terms, zeros where there is none."""
    found = list(terms)
    return reduce(jnp.add, found) if found else jnp.zeros_like(like)
