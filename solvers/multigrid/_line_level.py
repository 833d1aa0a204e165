"""A level whose planes are kept and left out by turns, and what smooths it.

Errors of the kept cells are smoothed by Jacobi sweeps; the planes between are solved:
on two axes as lines, on three by a cycle of their own. The order is reversed after the
correction, so that the cycle is symmetric. Each step reduces the energy of every error:
planes as one block of Gauss-Seidel, whose inverse is exact or such a cycle, and Jacobi
sweeps scaled by the sums of each row's sizes (A. H. Baker, R. D. Falgout, T. V. Kolev,
U. M. Yang, Multigrid smoothers for ultraparallel computing, SIAM J. Sci. Comput. 33,
2011).
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from typing_extensions import override

from ...operators._arithmetic import ratio
from ...operators._field import Structure, array_structure
from ...operators._materialise import materialise
from ._couplings import ends
from ._halved_grid import HalvedGrid
from ._level import AbstractLevel, AbstractSmoother
from ._lines import Lines
from ._planes import Field, joined, split, transposed


class PlaneSweeps(AbstractSmoother):
    """Jacobi sweeps of the kept cells, then the planes between.

    Attributes:
        weights: of the Jacobi sweeps, such that the spectrum ends at 2.
        inverse: of the planes between, or what stands for it.
        steps: of the Jacobi sweeps before the correction.
    """

    weights: Field
    inverse: Any
    steps: tuple[float, ...] = eqx.field(static=True)

    @classmethod
    def of(
        cls, grid: HalvedGrid, inverse: Any, steps: tuple[float, ...]
    ) -> "PlaneSweeps":
        """Return the sweeps of a grid.

        Args:
            grid: the grid by parts.
            inverse: with `solve`, for the planes between.
            steps: of the Jacobi sweeps.
        """
        sizes = {t: jnp.abs(link) for t, link in grid.inner.items()}
        diagonal = grid.kept_diagonal
        bound = diagonal + ends(sizes, grid.planes.faces, diagonal)
        return cls(ratio(2, bound), inverse, steps)

    @property
    def is_direct(self) -> bool:
        """Whether the planes between are solved exactly."""
        return isinstance(self.inverse, Lines)

    def down(self, grid: HalvedGrid, kept: Field, left: Field) -> tuple[Field, Field]:
        """Return S b, both by parts."""
        x = self.steps[0] * (self.weights * kept)
        if not self.is_direct:
            x = materialise(x)
        x = self._sweep_kept(grid, x, kept, self.steps[1:])
        return x, self.inverse.solve(left + grid.to_left(x))

    def up(
        self, grid: HalvedGrid, x: Field, y: Field, kept: Field, left: Field
    ) -> tuple[Field, Field]:
        """Return x + S' (b - A x), all by parts."""
        rest = materialise(left + grid.to_left(x))
        if self.is_direct:
            y = self.inverse.solve(rest)
        else:
            y = materialise(y + self.inverse.solve(rest - grid.mv_left(y)))
        rest = materialise(kept + grid.to_kept(y))
        return self._sweep_kept(grid, x, rest, self.steps[::-1]), y

    @override
    def before(self, level: Any, b: Field) -> Field:
        return level.joined(*self.down(level.grid, *level.parts(b)))

    @override
    def after(self, level: Any, x: Field, b: Field) -> Field:
        return level.joined(*self.up(level.grid, *level.parts(x), *level.parts(b)))

    @property
    @override
    def is_adjoint(self) -> bool:
        return True

    @property
    @override
    def is_convergent(self) -> bool:
        return True

    @property
    @override
    def T(self) -> "PlaneSweeps":
        return self

    def _sweep_kept(
        self, grid: HalvedGrid, x: Field, b: Field, steps: tuple[float, ...]
    ) -> Field:
        for step in steps:
            x = materialise(x + step * (self.weights * (b - grid.mv_kept(x))))
        return x


class LineLevel(AbstractLevel):
    """A grid of which every second plane is kept on the next one.

    Attributes:
        smoother: of this grid.
        grid: its couplings by parts.
        order: the axes of its fields in the order of lines, halved, other.
        shape: of its fields.
        known: what is known of A.
    """

    smoother: AbstractSmoother
    grid: HalvedGrid
    order: tuple[int, ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    known: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.shape, self.grid.low.dtype)

    @property
    @override
    def coarse_structure(self) -> Structure:
        return array_structure(self.grid.kept_diagonal.shape, self.grid.low.dtype)

    @override
    def mv(self, x: Field) -> Field:
        kept, left = self.parts(x)
        grid = self.grid
        return self.joined(
            grid.mv_kept(kept) - grid.to_kept(left),
            grid.mv_left(left) - grid.to_left(kept),
        )

    @override
    def restrict(self, r: Field) -> Field:
        kept, left = self.parts(r)
        return kept + self.grid.collect(left)

    @override
    def prolong(self, e: Field) -> Field:
        return self.joined(e, self.grid.interpolate(e))

    @override
    def descend(self, b: Field) -> tuple[Any, Field]:
        if not isinstance(self.smoother, PlaneSweeps):
            return super().descend(b)
        kept, left = self.parts(b)
        if not self.smoother.is_direct:
            # They are read by stencils of nine couplings.
            kept, left = materialise(kept), materialise(left)
        grid = self.grid
        x, y = self.smoother.down(grid, kept, left)
        r = kept - grid.mv_kept(x) + grid.to_kept(y)
        if not self.smoother.is_direct:
            r = r + grid.collect(left - grid.mv_left(y) + grid.to_left(x))
        return (x, y, kept, left), r

    @override
    def ascend(self, state: Any, e: Field) -> Field:
        if not isinstance(self.smoother, PlaneSweeps):
            return super().ascend(state, e)
        x, y, kept, left = state
        if not self.smoother.is_direct:
            y = materialise(y + self.grid.interpolate(e))
        x = materialise(x + e)
        return self.joined(*self.smoother.up(self.grid, x, y, kept, left))

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.known

    @property
    @override
    def has_adjoint_transfers(self) -> bool:
        return True

    @property
    @override
    def T(self) -> "LineLevel | None":
        smoother = self.smoother.T
        if smoother is None:
            return None
        return eqx.tree_at(lambda level: level.smoother, self, smoother)

    def parts(self, x: Field) -> tuple[Field, Field]:
        """Return the kept planes and those between, the axis of lines first."""
        if len(self.shape) == 1:
            x = x[:, None]
        return split(transposed(x, self.order))

    def joined(self, kept: Field, left: Field) -> Field:
        """Return a field from its parts."""
        inverse = tuple(self.order.index(axis) for axis in range(len(self.order)))
        x = transposed(joined(kept, left), inverse)
        return x[:, 0] if len(self.shape) == 1 else x
