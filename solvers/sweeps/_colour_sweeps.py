"""Sweeps over a grid, one colour of cells after another."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int32

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

    def forward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the result of a forward sweep."""
        return self._sweep(b, self.colours)

    def backward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the result of a backward sweep."""
        return self._sweep(b, self.num_colours - 1 - self.colours)

    def upper(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return P⁻¹U x."""
        y = jnp.zeros_like(x)
        for colour in range(self.num_colours - 1):
            given = self._given(x, self.colours > colour)
            y = jnp.where(self.colours == colour, given, y)
        return y

    def _sweep(self, x: Inexact[Array, "..."], ranks: Int32[Array, "..."]):
        """Subtract from cells of each rank what those of lower ones give them."""
        for rank in range(1, self.num_colours):
            given = self._given(x, ranks < rank)
            x = materialise(jnp.where(ranks == rank, x - given, x))
        return x

    def _given(self, x: Inexact[Array, "..."], gives: Array):
        """What the neighbours that give anything give."""
        x = jnp.where(gives, x, 0)
        return self.before(x) + self.after(x)


def colour_sweeps(stencil: Stencil, pivots: Inexact[Array, "..."]) -> ColourSweeps:
    """Return the sweeps of a stencil with pivots P."""
    colours = colours_of(pivots.shape, stencil.faces)
    before, after = unit_triangles(stencil, pivots)
    ranks = jnp.asarray(colours, jnp.int32)
    return ColourSweeps(before, after, ranks, int(np.max(colours)) + 1)


def colours_of(shape: tuple[int, ...], faces: Faces) -> np.ndarray:
    """The colour of every cell, another than that of each of its neighbours."""
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
