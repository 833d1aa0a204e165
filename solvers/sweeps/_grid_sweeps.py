"""Sweeps over the matrix of a stencil, as sweeps over its grid."""

import equinox as eqx
from jaxtyping import Array, Inexact
from typing_extensions import override

from ._sweeps import AbstractSweeps


class GridSweeps(AbstractSweeps):
    """Sweeps of a matrix whose unknowns are the cells of a grid, row-major.

    For stencils with diagonal couplings, where a wavefront is no plane of the grid.
    """

    sweeps: AbstractSweeps
    shape: tuple[int, ...] = eqx.field(static=True)

    @override
    def forward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.sweeps.forward(b.reshape(-1)).reshape(self.shape)

    @override
    def backward(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.sweeps.backward(b.reshape(-1)).reshape(self.shape)

    @override
    def upper(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.sweeps.upper(x.reshape(-1)).reshape(self.shape)

    @override
    def remainder(
        self,
        b: Inexact[Array, "..."],
        x: Inexact[Array, "..."],
        omega: Inexact[Array, ""],
    ) -> Inexact[Array, "..."]:
        rest = self.sweeps.remainder(b.reshape(-1), x.reshape(-1), omega)
        return rest.reshape(self.shape)
