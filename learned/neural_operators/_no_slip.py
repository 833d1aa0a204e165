"""Velocities that vanish on walls: multiplied by a function of the distance to them.

    u ← u Π φ(d / (width L)),    φ(t) = 1 - (1 - t)³ below t = 1, and 1 beyond,

over the two walls of each axis of length L that is not periodic, at the distances d. φ
grows linearly from the wall, as the velocity of a viscous fluid does, so that a model
with a smooth output can have any wall shear stress, and has two continuous derivatives.

I. E. Lagaris, A. Likas, D. I. Fotiadis, Artificial neural networks for solving ordinary
and partial differential equations, IEEE Trans. Neural Netw. 9 (1998),
doi:10.1109/72.712178, section II (boundary conditions by the form of the solution).
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...operators._arguments import require_number
from ..training import register
from ._grid import Grid
from ._walls import along, as_channels, fitted, wall_distances


class NoSlip(eqx.Module):
    """Velocity that vanishes on the walls, and is left as it is away from them.

    A constraint for `training.train(..., constraint=)`. The ends of all axes that are
    not periodic are walls. They are the first and the last point, where the result is
    exactly zero, unless the weights of the grid say that its cells go further, as those
    of points at the centres of cells do: the walls are then where the cells end.

    Args:
        width: of the layer at a wall in which the velocity is changed, as a part of the
            distance between the two walls, in (0, 0.5].
        channels: those that are velocities, by number; by default all.

    Raises:
        ValueError: a width or channels out of range; on use, no grid, a grid that is
            periodic along all axes, or fields that do not fit.

    Cost: a product per point.

    Examples:
        >>> import jax.numpy as jnp
        >>> from krylax.learned import neural_operators as no
        >>> grid = no.Grid.uniform((6,))
        >>> no.NoSlip(width=0.4)(jnp.ones((1, 6)), grid).round(3)
        Array([[0.   , 0.875, 1.   , 1.   , 0.875, 0.   ]], dtype=float64)
    """

    width: float = eqx.field(static=True)
    channels: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self, width: float = 0.1, channels: Sequence[int] | None = None
    ) -> None:
        wanted = "a part of the distance between two walls, in (0, 0.5]"
        require_number(width, "width", 0, np.nextafter(0.5, 1), wanted)
        self.width, self.channels = float(width), as_channels(channels)

    def __call__(
        self, fields: Float[Array, "..."], grid: Grid | None
    ) -> Float[Array, "..."]:
        """Return the field without slip.

        Args:
            fields: (channels, *shape).
            grid: that it is on.
        """
        fields, channels = fitted(fields, grid, self.channels, "NoSlip")
        assert grid is not None
        if all(grid.periodic):
            raise ValueError(
                "NoSlip is for grids with walls, and all axes of this one are "
                "periodic; say which are not, Grid(..., periodic=(True, False, True)), "
                "or leave it out"
            )
        return _lifted(fields, grid, channels, self.width)


register(NoSlip)


@eqx.filter_jit
def _lifted(
    fields: Float[Array, "..."], grid: Grid, channels: tuple[int, ...], width: float
) -> Float[Array, "..."]:
    chosen, shape = np.asarray(channels), fields.shape[1:]
    factor = jnp.ones(shape, fields.dtype)
    for axis, is_periodic in enumerate(grid.periodic):
        if not is_periodic:
            lift = _lift(grid, axis, width).astype(fields.dtype)
            factor = factor * along(lift, axis, len(shape))
    return fields.at[chosen].multiply(factor[None])


def _lift(grid: Grid, axis: int, width: float) -> Float[Array, " n"]:
    """The factor along an axis."""
    low, high = wall_distances(grid, axis)
    t = jnp.minimum(jnp.stack([low, high]) / (width * (low[0] + high[0])), 1)
    first, last = 1 - (1 - t) ** 3
    return first * last
