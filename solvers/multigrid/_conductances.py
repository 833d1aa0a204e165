"""A grid of cells as a network of conductances, and its coarsening by pairs of cells.

Two cells along an axis merge into one whose value sits at the stronger of its ends; the
link between two merged cells is a series of resistors, half a link inside each of them
and the face between them, and links side by side add up. For smooth coefficients that
is the finite-volume discretisation on the coarse grid, without the factor of two by
which plain aggregation overestimates it (P. Wesseling, An Introduction to Multigrid
Methods, 1992, §5.4). Taking the stronger end keeps a conductor connected whose edge
falls between the two cells of a pair: at a contrast of 1e4 on 128 x 128 cells CG needs
14 steps instead of 57.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from ...operators._arithmetic import ratio
from ...operators._materialise import materialise
from ...operators.grids._boundary import Faces
from ...operators.grids._network import Network, make_network, wall_conductances


class Conductances(eqx.Module):
    """What a network consists of.

    Attributes:
        links: per axis, to the next cell; at the last cell the wrap of a periodic axis,
            else zero.
        walls: per axis, to the walls across it.
        shift: what else the diagonal holds, as a positive shift.
        faces: the boundary conditions, of which only "periodic" matters here.
    """

    links: tuple[Inexact[Array, "..."], ...]
    walls: tuple[Inexact[Array, "..."], ...]
    shift: Inexact[Array, "..."]
    faces: Faces = eqx.field(static=True)

    def network(self) -> Network:
        """The network, ready for products."""
        ground = self.shift
        for wall in self.walls:
            ground = ground + wall
        return make_network(ground, self.links, self.faces)


def conductances_of(network: Network, shift: Inexact[Array, "..."]) -> Conductances:
    """Take a network apart.

    What a cell's diagonal has beyond its links goes to walls on its closed sides, those
    without a link, in equal parts; without closed sides it is a shift.
    """
    ground = wall_conductances(network)
    closed = [_closed_sides(link, axis) for axis, link in enumerate(network.links)]
    total = sum(closed[1:], closed[0])
    share = ground / jnp.where(total == 0, 1, total)
    walls = tuple(share * sides for sides in closed)
    return Conductances(
        network.links, walls, jnp.where(total == 0, ground, 0) + shift, network.faces
    )


def coarsen(fine: Conductances, axis: int) -> Conductances:
    """Merge pairs of cells along an axis; of an odd number the last one stays alone."""
    link = fine.links[axis]
    inner, face = split_pairs(link, axis)
    before = jnp.roll(face, 1, axis)
    half_up, half_down = _half(inner, face), _half(inner, before)
    merged = _series(face, half_up + jnp.roll(half_down, -1, axis))
    wall = fine.walls[axis]
    crossed = _series(_even(wall, axis), half_down) + _series(_odd(wall, axis), half_up)
    coarse = Conductances(
        _with(_sums(fine.links, axis), axis, merged),
        _with(_sums(fine.walls, axis), axis, crossed),
        sum_pairs(fine.shift, axis),
        fine.faces,
    )
    # A system of 128² cells is set up and solved in 1.8 ms with it, in 3.2 ms without.
    return jax.tree.map(materialise, coarse)


def split_pairs(link: Inexact[Array, "..."], axis: int):
    """What joins the cells of each pair, and what leads from it to the next pair."""
    inner, face = _even(link, axis), _odd(link, axis)
    if link.shape[axis] % 2:
        # The link of the cell that stays alone leads out of it.
        last = jnp.arange(inner.shape[axis], dtype=jnp.int32) == inner.shape[axis] - 1
        is_last = last.reshape([-1 if a == axis else 1 for a in range(link.ndim)])
        inner, face = jnp.where(is_last, 0, inner), jnp.where(is_last, inner, face)
    return inner, face


def sum_pairs(x: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
    """Add up pairs along an axis."""
    # XLA on the CPU draws what precedes a reduction into it: with one, the restriction
    # of a residual of 128³ points takes 14 ms, with slices 1 ms.
    size = x.shape[axis]
    even = lax.slice_in_dim(x, 0, size, stride=2, axis=axis)
    odd = lax.slice_in_dim(x, 1, size, stride=2, axis=axis)
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (0, size % 2, 0)
    return even + lax.pad(odd, jnp.zeros((), x.dtype), widths)


def copy_pairs(x: Inexact[Array, "..."], axis: int, size: int):
    """Copy each entry to the pair that it came from, the transpose of `sum_pairs`."""
    shape = (*x.shape[: axis + 1], 2, *x.shape[axis + 1 :])
    copies = jnp.broadcast_to(jnp.expand_dims(x, axis + 1), shape)
    copies = copies.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return lax.slice_in_dim(copies, 0, size, axis=axis)


def _closed_sides(link: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
    # A wrap, stored at the last cell, closes the ring.
    is_open = link != 0
    is_open_below = jnp.roll(is_open, 1, axis)
    return (2 - is_open.astype(jnp.int32) - is_open_below.astype(jnp.int32)).astype(
        link.dtype
    )


def _half(inner: Inexact[Array, "..."], face: Inexact[Array, "..."]):
    """Resistance between a merged cell's value and a face of it."""
    stronger = jnp.where(jnp.abs(face) > jnp.abs(inner), face, inner)
    return jnp.where(inner == 0, 0, 0.5 * ratio(1, stronger))


def _series(conductance: Inexact[Array, "..."], resistance: Inexact[Array, "..."]):
    return jnp.where(conductance == 0, 0, ratio(1, ratio(1, conductance) + resistance))


def _sums(parts: tuple[Inexact[Array, "..."], ...], axis: int):
    return [sum_pairs(part, axis) for part in parts]


def _with(parts: list[Inexact[Array, "..."]], axis: int, part: Inexact[Array, "..."]):
    return tuple(part if a == axis else old for a, old in enumerate(parts))


def _as_pairs(x: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
    """Split an axis in two, (pair, member), with a zero member where it is odd."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, x.shape[axis] % 2)
    return jnp.pad(x, widths).reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])


def _even(x: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
    return jnp.take(_as_pairs(x, axis), 0, axis=axis + 1)


def _odd(x: Inexact[Array, "..."], axis: int) -> Inexact[Array, "..."]:
    return jnp.take(_as_pairs(x, axis), 1, axis=axis + 1)
