"""A grid halved along one axis: the planes between, their inverse, the grid below.

The weights of interpolation solve the rows of the planes between with each kept plane
lumped into the cell beside, as in J. E. Dendy, Black box multigrid, J. Comput. Phys. 48
(1982), all cells of a plane together, as in S. Schaffer, A semicoarsening multigrid
method for symmetric and nonsymmetric matrices with highly discontinuous coefficients,
SIAM J. Sci. Comput. 20 (1998). Constants are interpolated exactly where rows sum to
zero.

On two axes planes are lines, which are solved. On three axes a cycle of the same kind
stands for the inverse: planes are halved along their other axis until lines are left.
The weights are those of lines, other lines lumped, and one such cycle.
"""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._control_flow import scan
from ...operators._field import Structure, array_structure
from ...operators.grids._boundary import Faces
from ...operators.grids._offsets import along, negated
from ._couplings import Couplings, Links, ends, total
from ._cycle import MultigridCycle
from ._halved_grid import galerkin, parts_of
from ._line_level import LineLevel, PlaneSweeps
from ._lines import Lines, factorise
from ._looped_cycle import LoopedCycle, Shape, cut, padded
from ._planes import Field

KNOWN = frozenset({"symmetric", "hermitian", "positive_definite"})


LOOPED = 16
"""Lines per plane up to which planes are halved by one loop, padded to as many: for 64³
cells it halves what is compiled.
"""


class LineInverse(AbstractLinearOperator):
    """The inverse of lines, as an operator.

    Attributes:
        lines: along the first axis.
    """

    lines: Lines

    @property
    @override
    def in_structure(self) -> Structure:
        pivots = self.lines.inverse_pivots
        size = len(pivots) + (self.lines.border is not None)
        return array_structure((size, *pivots.shape[1:]), pivots.dtype)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return KNOWN

    @property
    @override
    def T(self) -> "LineInverse":
        return self

    @override
    def mv(self, x: Field) -> Field:
        return self.lines.solve(x)


class PlaneCycle(eqx.Module):
    """A cycle over planes, for their inverse.

    Attributes:
        cycle: on fields with lines along the first axis, planes along the last.
    """

    cycle: MultigridCycle

    def solve(self, b: Field) -> Field:
        """Return x for right-hand sides with planes along the second axis."""
        return jnp.swapaxes(self.cycle.mv(jnp.swapaxes(b, 1, 2)), 1, 2)


def halve(fine: Couplings, steps: tuple[float, ...]) -> tuple[LineLevel, Couplings]:
    """Halve the second axis of a grid, with lines along the first.

    Args:
        fine: the grid.
        steps: of the Jacobi sweeps.

    Returns:
        The level, whose fields have the axes of `fine`, and the grid below.
    """
    faces = fine.faces
    grid, slack, slack_left = parts_of(fine)
    at = grid.planes.at
    from_before = total((at(w, negated(t)) for t, w in grid.onward.items()), slack_left)
    from_after = total(grid.inward.values(), slack_left)
    held = slack_left + from_before + from_after
    diagonal = held + ends(grid.outer, faces, held)
    grid = eqx.tree_at(lambda g: g.left_diagonal, grid, diagonal)
    inverse: Any = _line_factors(grid.outer, held, faces)
    sums = jnp.stack([from_before, from_after, slack_left])
    weights = jax.vmap(inverse.solve)(sums)
    if grid.is_planar:
        inverse = plane_cycle(Couplings(held, grid.outer, faces), steps)
        rest = sums - jax.vmap(grid.mv_left)(weights)
        weights = weights + jax.vmap(inverse.solve)(rest)
    low, high, lack = weights
    grid = eqx.tree_at(lambda g: (g.low, g.high), grid, (low, high))
    coarse = galerkin(grid, slack, slack_left, lack)
    linked = grid.to_kept(jnp.ones_like(slack_left))
    diagonal = slack + linked + ends(grid.inner, faces, slack)
    grid = eqx.tree_at(lambda g: g.kept_diagonal, grid, diagonal)
    sweeps = PlaneSweeps.of(grid, inverse, steps)
    shape = fine.slack.shape
    return LineLevel(sweeps, grid, tuple(range(len(shape))), shape, KNOWN), coarse


def plane_cycle(planes: Couplings, steps: tuple[float, ...]) -> PlaneCycle:
    """Return a cycle over planes that are linked within themselves.

    Args:
        planes: along the second of three axes.
        steps: of the Jacobi sweeps.
    """
    grid, levels = planes.transposed((0, 2, 1)), []
    while (size := grid.slack.shape[1]) > 1:
        if size <= LOOPED and (below := _looped_planes(grid, steps)) is not None:
            return PlaneCycle(MultigridCycle(levels, below))
        level, grid = halve(grid, steps)
        levels.append(level)
    return PlaneCycle(MultigridCycle(levels, _line_inverse(grid)))


def _looped_planes(grid: Couplings, steps: tuple[float, ...]) -> LoopedCycle | None:
    shape = grid.slack.shape
    lines, size, *others = shape
    shapes = [shape]
    while size > 1:
        size -= size // 2
        shapes.append((lines, size, *others))
    order = tuple(range(len(shape)))
    found = looped_levels(grid, shapes, order, steps)
    if found is None:
        return None
    levels, last = found
    return LoopedCycle(levels, _line_inverse(last), shape, order, order)


def looped_levels(
    finest: Couplings,
    shapes: list[Shape],
    turn: tuple[int, ...],
    steps: tuple[float, ...],
) -> tuple[LineLevel, Couplings] | None:
    """Return levels stacked, made by one loop, and the last grid.

    `None` if there is one grid only, if a later one has more cells along an axis than
    the first, or if an end closes that would not be next to the start of its axis.

    Args:
        finest: the first grid, its second axis that which is halved.
        shapes: of all grids.
        turn: the axes of a level in the order of the next one.
        steps: of the Jacobi sweeps.
    """
    room = (shapes[0][0], shapes[0][1] + shapes[0][1] % 2, *shapes[0][2:])
    linked = [any(t[axis] for t in finest.links) for axis in range(len(room))]
    is_closed = any(
        is_linked and low == "periodic"
        for is_linked, (low, _) in zip(linked, finest.faces, strict=True)
    )
    has_room = all(n <= there for s in shapes for n, there in zip(s, room, strict=True))
    if is_closed or not has_room or len(shapes) == 1:
        return None

    def coarsen(fine: Couplings, _: None) -> tuple[Couplings, LineLevel]:
        level, coarse = halve(fine, steps)
        return _in_room(coarse.transposed(turn), room, linked), level

    first = _in_room(finest, room, linked)
    last, levels = scan(coarsen, first, length=len(shapes) - 1)
    links = {t: cut(link, shapes[-1]) for t, link in last.links.items()}
    return levels, Couplings(cut(last.slack, shapes[-1]), links, last.faces)


def _in_room(couplings: Couplings, room: Shape, linked: list[bool]) -> Couplings:
    """Return links to all neighbours along axes, up to a shape."""
    slack = padded(couplings.slack, room)
    zero = (0,) * len(room)
    steps = [(-1, 0, 1) if is_linked else (0,) for is_linked in linked]
    links = {
        t: padded(couplings.links[t], room)
        if t in couplings.links
        else jnp.zeros_like(slack)
        for t in itertools.product(*steps)
        # Those that lead on, as `Couplings` of a level has them.
        if t[1] > 0 or (t[1] == 0 and t > zero)
    }
    # What the walls hold is in the slack, so that they are alike when axes are turned.
    walls: Any = (("neumann", "neumann"),) * len(room)
    return Couplings(slack, links, walls)


def _line_inverse(grid: Couplings) -> LineInverse:
    return LineInverse(_line_factors(grid.links, grid.slack, grid.faces))


def _line_factors(links: Links, excess: Field, faces: Faces) -> Lines:
    """Return the factors of lines along the first axis, other lines lumped.

    Args:
        links: within the planes.
        excess: what the diagonal holds beside them.
        faces: the boundary conditions.
    """
    link = links.get(along(0, 1, excess.ndim), jnp.zeros_like(excess))
    return factorise(link, excess, faces[0][0] == "periodic")
