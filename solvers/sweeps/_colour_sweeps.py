"""Sweeps over a grid, one colour of cells after another."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int32
from typing_extensions import override

from ...operators._materialise import materialise
from ...operators.grids._boundary import Faces
from ...operators.grids._stencil import Stencil
from ...operators.grids._triangles import GridTriangle, unit_triangles
from ._sweeps import AbstractSweeps


class ColourSweeps(AbstractSweeps):
    """Sweeps of a stencil in which L leads to cells of lower colour, U of higher."""

    before: GridTriangle
    after: GridTriangle
    colours: Int32[Array, "..."]
    num_colours: int = eqx.field(static=True)

    @override
    def forward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self._sweep(b, self.colours)

    @override
    def backward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self._sweep(b, self.num_colours - 1 - self.colours)

    @override
    def upper(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        y = jnp.zeros_like(x)
        for colour in range(self.num_colours - 1):
            given = self._neighbour_sum(x, self.colours > colour)
            y = jnp.where(self.colours == colour, given, y)
        return y

    def _sweep(
        self, x: Inexact[Array, "..."], ranks: Int32[Array, "..."]
    ) -> Inexact[Array, "..."]:
        """Subtract, colour by colour, the contributions of the colours before."""
        for rank in range(1, self.num_colours):
            given = self._neighbour_sum(x, ranks < rank)
            x = materialise(jnp.where(ranks == rank, x - given, x))
        return x

    def _neighbour_sum(
        self, x: Inexact[Array, "..."], gives: Array
    ) -> Inexact[Array, "..."]:
        """Return the weighted sum of the neighbours that `gives` selects."""
        x = jnp.where(gives, x, 0)
        return self.before(x) + self.after(x)


def colour_sweeps(stencil: Stencil, pivots: Inexact[Array, "..."]) -> ColourSweeps:
    """Return the sweeps of a stencil with pivots P."""
    colours = colours_of(pivots.shape, stencil.faces)
    before, after = unit_triangles(stencil, pivots)
    ranks = jnp.asarray(colours, jnp.int32)
    return ColourSweeps(before, after, ranks, int(np.max(colours)) + 1)


def colours_of(shape: tuple[int, ...], faces: Faces) -> np.ndarray:
    """Return a colour for each cell that differs from those of its neighbours."""
    wraps = [pair[0] == "periodic" for pair in faces]
    is_odd = any(w and size % 2 for w, size in zip(wraps, shape, strict=True))
    count = 3 if is_odd else 2
    total = np.zeros(shape, np.int64)
    for axis, (size, wrap) in enumerate(zip(shape, wraps, strict=True)):
        along = np.arange(size) % 2
        if wrap and size % 2:
            along[-1] = 2
        total = total + along.reshape(
            [-1 if a == axis else 1 for a in range(len(shape))]
        )
    return total % count
