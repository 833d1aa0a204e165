"""A grid of which every second plane is kept: interpolation and the coarse operator.

A value of the planes between is interpolated from the two kept cells beside it,

    u = low u_before + high u_after.

The coarse operator is Pᵀ A P (Galerkin). As P is diagonal along the other axes, that of
a stencil of 3^d couplings has no more. Each of its links is written out here as a sum
of products of links and weights, so that row sums are kept.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from ...operators.grids._offsets import Offset, along, negated
from ._couplings import Couplings, Links, neighbours, total
from ._planes import Field, Planes, split


class HalvedGrid(eqx.Module):
    """A grid by parts.

    Attributes:
        planes: the kept planes, and the left ones between.
        kept_diagonal: the diagonal of A at kept cells.
        left_diagonal: that at left cells.
        inner: the links among kept cells.
        outer: those among left ones, which are within their planes.
        onward: per offset within the plane, the link from each kept cell that has a
            left plane after it to that plane.
        inward: the same from each left cell to the kept plane after it.
        low: per left cell, the weight of the kept cell before it.
        high: that of the kept cell after it.
    """

    planes: Planes
    kept_diagonal: Field
    left_diagonal: Field
    inner: Links
    outer: Links
    onward: Links
    inward: Links
    low: Field
    high: Field

    @property
    def is_planar(self) -> bool:
        """Whether left planes have links beside those along their lines."""
        return not set(self.outer) <= {along(0, 1, self.low.ndim)}

    def mv_kept(self, x: Field) -> Field:
        """Return the product with A among the kept cells."""
        return self.kept_diagonal * x - neighbours(self.inner, x, self.planes.faces)

    def mv_left(self, y: Field) -> Field:
        """Return the product with A among the left cells."""
        return self.left_diagonal * y - neighbours(self.outer, y, self.planes.faces)

    def to_left(self, x: Field) -> Field:
        """Return Σ link x over the kept neighbours of each left cell."""
        at = self.planes.at
        before, after = self.planes.before(x), self.planes.after(x)
        low = [at(link * before, negated(t)) for t, link in self.onward.items()]
        high = [link * at(after, t) for t, link in self.inward.items()]
        return total([*low, *high], self.low)

    def to_kept(self, y: Field) -> Field:
        """Return Σ link y over the left neighbours of each kept cell."""
        at = self.planes.at
        low = [link * at(y, t) for t, link in self.onward.items()]
        high = [at(link * y, negated(t)) for t, link in self.inward.items()]
        before, after = self.planes.to_before, self.planes.to_after
        return before(total(low, y)) + after(total(high, y))

    def interpolate(self, e: Field) -> Field:
        """Return the values of left cells from those of kept ones."""
        return self.low * self.planes.before(e) + self.high * self.planes.after(e)

    def collect(self, r: Field) -> Field:
        """The transpose of `interpolate`."""
        low, high = self.low * r, self.high * r
        return self.planes.to_before(low) + self.planes.to_after(high)


def parts_of(fine: Couplings) -> tuple[HalvedGrid, Field, Field]:
    """Return a grid by parts, its second axis halved, without diagonals and weights.

    Returns:
        The grid; the row sums of its kept cells; those of its left ones.
    """
    size = fine.slack.shape[1]
    planes = Planes(size - size // 2, size // 2, fine.faces)
    slack, slack_left = split(fine.slack)
    inner, outer, onward, inward, direct = {}, {}, {}, {}, {}
    for offset, link in fine.links.items():
        kept, left = split(link)
        t = (offset[0], 0, *offset[2:])
        if offset[1] == 0:
            inner[t], outer[t] = kept, left
            continue
        onward[t], inward[t] = planes.before(kept), left
        if planes.is_closed and planes.num_kept > planes.num_left:
            # The last plane and the first are neighbours, and both are kept.
            direct[offset] = _last_alone(kept)
    inner |= direct
    unknown = jnp.zeros_like(slack_left)
    parts = (inner, outer, onward, inward)
    return (
        HalvedGrid(planes, slack, unknown, *parts, unknown, unknown),
        slack,
        slack_left,
    )


def galerkin(
    grid: HalvedGrid, slack: Field, slack_left: Field, lack: Field
) -> Couplings:
    """Return Pᵀ A P.

    Args:
        grid: the grid by parts.
        slack: the row sums of kept cells.
        slack_left: those of left ones.
        lack: what the weights of each left cell lack to one.
    """
    return Couplings(
        _coarse_slack(grid, slack, slack_left, lack),
        _coarse_links(grid, slack_left, lack),
        grid.planes.faces,
    )


def _coarse_slack(
    grid: HalvedGrid, slack: Field, slack_left: Field, lack: Field
) -> Field:
    """Return Pᵀ A P 1 = Pᵀ A (1 - lack), where the rows of A 1 are the slack."""
    found = slack + grid.to_kept(lack)
    if grid.is_planar:
        return found + grid.collect(slack_left - grid.mv_left(lack))
    # The weights solve the whole rows of left cells.
    return found


def _coarse_links(grid: HalvedGrid, slack_left: Field, lack: Field) -> Links:
    """Return the links of Pᵀ A P."""
    planes, low, high = grid.planes, grid.low, grid.high
    at, zeros = planes.at, jnp.zeros_like(grid.low)
    zero = (0,) * low.ndim
    outer = grid.outer
    side = outer | {negated(t): at(link, negated(t)) for t, link in outer.items()}
    known = {zero, *side, *grid.onward, *grid.inward}
    links = dict(grid.inner)

    def put(t: Offset, link: Field) -> None:
        links[t] = links[t] + link if t in links else link

    for t in sorted(known | set(map(negated, known))):
        back = negated(t)
        forth, after = grid.onward.get(t, zeros), grid.inward.get(t, zeros)
        beside = side.get(t, zeros)
        low_t, high_t = at(low, t), at(high, t)
        if t > zero:
            # Within the kept planes, by the left plane after and by the one before.
            before = at(grid.onward.get(back, zeros), t)
            arriving = at(grid.inward.get(back, zeros), t)
            put(t, planes.to_before(before * low + (forth + beside * low) * low_t))
            put(t, planes.to_after(after * high + (arriving + beside * high) * high_t))
        if t != zero:
            across = after * low + (forth + beside * low) * high_t
        else:
            others = [at(link, negated(o)) for o, link in grid.onward.items() if o != t]
            others += [link for o, link in grid.inward.items() if o != t]
            rest = slack_left + total([*others, *side.values()], zeros)
            across = forth * high * (high + lack) + after * low * (low + lack)
            across = across - low * high * rest
        across = planes.to_before(across)
        if planes.num_kept > 1:
            put((t[0], 1, *t[2:]), across)
        elif planes.is_closed and t != zero:
            # The next plane is this one, whose cells are then neighbours.
            put(max(t, back), across if t > zero else at(across, back))
    return links


def _last_alone(link: Field) -> Field:
    last = lax.slice_in_dim(link, link.shape[1] - 1, None, axis=1)
    zeros = jnp.zeros_like(lax.slice_in_dim(link, 1, None, axis=1))
    return jnp.concatenate([zeros, last], axis=1)
