"""Multigrid for elliptic operators on a grid, as a preconditioner.

The robust cycle halves one axis after the other, as _line_hierarchy.py has it. The
cheap one is of cell-centred aggregation: pairs of cells along every axis merge, fields
are summed on the way down and copied on the way up, and the coarse operators are of
_hierarchy.py. Smoothing is Jacobi with the steps of a Chebyshev polynomial on [1/2, 2],
the upper part of the spectrum of D⁻¹A, so that the cycle is symmetric, as CG wants it;
with equal steps of 4/5 where A is not symmetric.
"""

from dataclasses import replace
from typing import Any, Literal

import equinox as eqx
import jax
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._arguments import require_count, require_flag, shown
from ...operators._lowered import lower
from ...operators._operator import require_operator
from ...operators.grids._boundary import require_choice
from ..core._compilation import compile_factory
from ..core._settling import AbstractUnsettled
from ._coarse_inverse import CoarseInverse, inverse_matrix
from ._cycle import MultigridCycle, Shape, require_shape
from ._grid_level import levels_of_grids
from ._hierarchy import build_levels
from ._jacobi_sweeps import chebyshev_steps, equal_steps, require_sweeps
from ._line_hierarchy import line_levels
from ._suited_coarsening import suited_coarsening

Cycle = Literal["auto", "cheap", "robust"]

COARSEST = 64
"""Unknowns up to which a grid is solved by its dense inverse."""


def _as_halvings(counts: Any) -> tuple[int, ...]:
    hint = "; give how many times to halve each axis, such as (0, 3)"
    if not isinstance(counts, tuple | list):
        raise ValueError(f"semicoarsening must be a tuple, got {shown(counts)}{hint}")
    for count in counts:
        require_count(count, "a number of semicoarsening", 0, hint)
    return tuple(counts)


class Multigrid(AbstractUnsettled):
    """The factory of a multigrid cycle.

    For `Laplacian`, `Diffusion`, `MaskedPoisson`, `Helmholtz` with a positive shift
    (k² <= 0), and `ConvectionDiffusion`, its transpose, multiples and sums, in 1-D, 2-D
    and 3-D, any sizes and boundaries, and other operators with a `stencil`.

    The cheap cycle, by aggregation and Jacobi sweeps, is for coefficients that are
    smooth or of a few phases, also on stretched cells if the axis of the small spacing
    is halved first (`semicoarsening`). The robust cycle, by interpolation that follows
    the coefficients, Galerkin coarse operators and line solves, is for coefficients
    that jump by orders of magnitude from cell to cell, in layers, channels, walls or
    islands, and for couplings along diagonals; of real symmetric operators alone. For
    256² cells, to 1e-8, it leaves CG 6 to 22 steps on such ones, for which the cheap
    cycle takes 40 to 400; 39 to 53 on channels and layers at 30 and 45 degrees to the
    grid; 33 where a third of the cells is solid at random. In 2-D a step costs three of
    the cheap cycle, its set-up four, its compilation two and a half; in 3-D twenty,
    twenty and ten.

    By default the numbers of the operator decide, from a sample of its cells: whether
    the links of more than 3 % of them differ by more than 4 (in 3-D, 100), beside what
    semicoarsening makes up for. Within `jit` or `vmap`, where they are traced, the
    cycle is robust in 1-D and 2-D and cheap in 3-D: name one, where you know which.

    In a flow the cycle is not symmetric: for `BiCGStab` and `GMRES`. In 128² cells of a
    vortex, to 1e-8, BiCGStab takes 12 steps at a cell Péclet number of 2, 19 at 5 and
    39 at 50, W-cycles half to two thirds of them. It does not help for a central scheme
    far above its limit of 2, nor if a strong flow ends in single cells.

    Args:
        num_sweeps: Jacobi sweeps before and after each coarse correction; of the robust
            cycle, at cells that the next grid keeps; those between are solved.
        shape: "V" visits each coarser grid once; "W" twice, "F" in between, for large
            jumps of coefficients or strong recirculating flows. "F" is not symmetric:
            use it with flexible solvers.
        single_precision: whether to cycle in 32 bits, which halves the memory traffic;
            the precision of the solve does not change.
        cycle: "cheap", "robust", or "auto", as above. Of "auto", operators of one kind
            can get cycles of different structures.
        semicoarsening: of the cheap cycle, how many times each axis is halved before
            all are halved together: about log₂ of the ratio of spacings, such as (0, 3)
            for spacings 1:1/8, where links are 4³ times stronger along the second axis.
            With it "auto" is cheap.

    Returns:
        When called with an operator: a `MultigridCycle`; V- and W-cycles are symmetric
        if the operator is, and V-cycles positive definite.

    Raises:
        ValueError: num_sweeps below 1, an unknown shape or cycle, a negative number of
            halvings or one for the robust cycle; when called, an unsupported operator,
            or halvings of another number of axes.

    Cost: per application about (2^d / (2^d - 1)) (2 num_sweeps + 1) products on a grid
    of d axes; the hierarchy holds about 2 (d + 2) vectors, for a `Laplacian` none. Of
    the robust cycle about twice 2 num_sweeps + 3 products, with stencils of 3^d
    couplings below the finest grid, and 20 vectors in 2-D, 45 in 3-D. To choose takes
    0.3 ms on the host.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A = kx.operators.Laplacian((64, 64))
        >>> M = kx.solvers.Multigrid()
        >>> sol = kx.solve(A, jnp.ones((64, 64)), kx.solvers.CG(1e-8), preconditioner=M)
        >>> bool(sol.stats.num_steps < 12)
        True
    """

    num_sweeps: int = eqx.field(static=True, default=2)
    shape: Shape = eqx.field(static=True, default="V")
    single_precision: bool = eqx.field(static=True, default=False)
    cycle: Cycle = eqx.field(static=True, default="auto")
    semicoarsening: tuple[int, ...] = eqx.field(
        static=True, converter=_as_halvings, default=()
    )

    def __check_init__(self) -> None:
        require_sweeps(self.num_sweeps)
        require_shape(self.shape)
        require_flag(self.single_precision, "single_precision")
        require_choice("cycle", self.cycle, Cycle)
        if self.cycle == "robust" and self.semicoarsening:
            raise ValueError(
                "semicoarsening is for the cheap cycle; the robust one halves one axis "
                'at a time by itself: take cycle="cheap", or leave semicoarsening out'
            )

    @override
    def settled(self, A: AbstractLinearOperator) -> "Multigrid":
        if self.cycle != "auto":
            return self
        if self.semicoarsening:
            return replace(self, cycle="cheap")
        cycle, halvings = suited_coarsening(A)
        return replace(self, cycle=cycle, semicoarsening=halvings)

    def __call__(self, A: AbstractLinearOperator) -> MultigridCycle:
        """Return the preconditioner of A."""
        require_operator(A)
        return self.settled(A)._made(A)

    @compile_factory
    def _made(self, A: AbstractLinearOperator) -> MultigridCycle:
        num_axes = len(jax.tree.leaves(A.in_structure)[0].shape)
        if self.semicoarsening and len(self.semicoarsening) != num_axes:
            raise ValueError(
                f"semicoarsening must have a number per axis, {num_axes}, got "
                f"{self.semicoarsening}; 0 is for an axis not halved first"
            )
        lowered = lower if self.single_precision else lambda part: part
        if self.cycle == "robust":
            steps = chebyshev_steps(self.num_sweeps)
            apart, levels, inverse = line_levels(A, COARSEST, steps)
            dtype = jax.tree.leaves(inverse.in_structure)[0].dtype
            # A cycle of its own, so that W- and F-cycles begin below its finest grid.
            inner = MultigridCycle(lowered(levels), lowered(inverse), shape=self.shape)
            return MultigridCycle(
                [lowered(apart)],
                inner,
                dtype=dtype if self.single_precision else None,
            )
        *_, last = grids = build_levels(A, COARSEST, self.semicoarsening)
        sweeps = chebyshev_steps if "symmetric" in A.tags else equal_steps
        steps = sweeps(self.num_sweeps)
        levels = levels_of_grids(lowered(grids), steps, A.tags)
        matrix = inverse_matrix(last, A.tags)
        dtype, matrix = matrix.dtype, lowered(matrix)
        coarse_inverse = CoarseInverse(matrix, last.shape, A.tags - {"singular"})
        return MultigridCycle(
            levels,
            coarse_inverse,
            shape=self.shape,
            # None where nothing is cast, so that the cycle may be lowered as a whole.
            dtype=dtype if self.single_precision else None,
        )
