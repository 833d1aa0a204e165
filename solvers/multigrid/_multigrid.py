"""Geometric multigrid for elliptic operators on a grid, as a preconditioner.

A cycle of cell-centred aggregation: pairs of cells along every axis merge, fields are
summed on the way down and copied on the way up, and the coarse operators are those of
_hierarchy.py. Smoothing is Jacobi with the steps of a Chebyshev polynomial on [1/2, 2],
the upper part of the spectrum of D⁻¹A, so that the cycle is symmetric, as CG wants it;
with equal steps of 4/5 where A is not symmetric.
"""

from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import Precision
from jaxtyping import Array, Inexact

from ...operators import AbstractLinearOperator
from ...operators._field import Structure, array_structure
from ...operators._lowered import lower
from ...operators._materialise import materialise
from ._coarse_inverse import coarse_inverse
from ._hierarchy import build_levels
from ._level import Level

COARSEST = 64
"""Unknowns up to which a level is solved by its dense inverse."""

Shape = Literal["V", "W", "F"]


class Multigrid(eqx.Module):
    """The factory of a multigrid cycle.

    For `Laplacian`, `Diffusion`, `MaskedPoisson`, `Helmholtz` with a positive shift
    (k² <= 0), and `ConvectionDiffusion`, its transpose, multiples and sums, in 1-D, 2-D
    and 3-D, any sizes and boundaries.

    In a flow the cycle is not symmetric: for `BiCGStab` and `GMRES`. In 128² cells of a
    vortex, to 1e-8, BiCGStab takes 12 steps at a cell Péclet number of 2, 19 at 5 and
    39 at 50, W-cycles half to two thirds of them. It is no help to a central scheme far
    beyond its limit of 2, nor where a strong flow ends in single cells.

    Args:
        num_sweeps: Jacobi sweeps before and after each coarse correction.
        shape: "V" visits each coarser grid once; "W" twice, "F" in between, where
            coefficients jump by much or strong flows go round. "F" is not symmetric:
            for flexible solvers.
        single_precision: cycle in 32 bits, which halves the memory traffic; the solve
            around it keeps its own.

    Returns:
        When called with an operator: a `MultigridCycle`, symmetric and positive
        definite if the operator is.

    Raises:
        ValueError: num_sweeps below 1, an unknown shape, or, when called, another kind
            of operator.

    Cost: per application about (2^d / (2^d - 1)) (2 num_sweeps + 1) products on a grid
    of d axes; the hierarchy holds about 2 (d + 2) vectors, for a `Laplacian` none.

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

    def __check_init__(self):
        if self.num_sweeps < 1:
            raise ValueError(f"num_sweeps must be at least 1, got {self.num_sweeps}")
        if self.shape not in get_args(Shape):
            raise ValueError(
                f"shape must be one of {get_args(Shape)}, got {self.shape!r}"
            )

    def __call__(self, A: AbstractLinearOperator) -> "MultigridCycle":
        """Return the preconditioner of A."""
        levels = build_levels(A, COARSEST)
        symmetric = frozenset() if self.shape == "F" else A.tags - {"singular"}
        inverse = coarse_inverse(levels[-1], A.tags)
        dtype = inverse.dtype
        if self.single_precision:
            levels, inverse = lower(levels), lower(inverse)
        return MultigridCycle(
            levels=levels,
            coarse_inverse=inverse,
            steps=_steps(self.num_sweeps, "symmetric" in A.tags),
            shape=self.shape,
            dtype=dtype,
            promised=symmetric,
        )


class MultigridCycle(AbstractLinearOperator):
    """One cycle from zero, as a linear operator; made by `Multigrid`."""

    levels: tuple[Level, ...]
    coarse_inverse: Inexact[Array, "n n"]
    steps: tuple[float, ...] = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    dtype: jnp.dtype = eqx.field(static=True)
    promised: frozenset[str] = eqx.field(static=True)

    @property
    def in_structure(self) -> Structure:
        """That of the finest grid."""
        return array_structure(self.levels[0].shape, self.dtype)

    @property
    def tags(self) -> frozenset[str]:
        """Those of the operator that it approximates."""
        return self.promised

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return the result of a cycle for the right-hand side x, from zero."""
        inner = x
        if x.dtype != self.coarse_inverse.dtype:
            inner = materialise(x.astype(self.coarse_inverse.dtype))
        return self._cycle(0, inner, self.shape).astype(x.dtype)

    def _cycle(
        self, index: int, b: Inexact[Array, "..."], shape: Shape
    ) -> Inexact[Array, "..."]:
        """Smooth, correct from the next grid, smooth."""
        level = self.levels[index]
        if index == len(self.levels) - 1:
            flat = b.reshape(-1)
            product = jnp.matmul(self.coarse_inverse, flat, precision=Precision.HIGHEST)
            return product.reshape(b.shape)
        x = self.steps[0] * (level.inverse * b)
        if level.inverse.size > 1:
            # A multiple of b alone costs less to compute anew.
            x = materialise(x)
        x = _smooth(level, x, b, self.steps[1:])
        r = materialise(b - level.operator.mv(x))
        coarse = materialise(level.restrict(r, self.levels[index + 1].shape))
        e = self._correct(index + 1, coarse, shape)
        x = materialise(x + level.prolong(e))
        return _smooth(level, x, b, self.steps[::-1])

    def _correct(
        self, index: int, b: Inexact[Array, "..."], shape: Shape
    ) -> Inexact[Array, "..."]:
        """Visit a coarser grid as often as the shape says."""
        if shape == "V" or index == len(self.levels) - 1:
            return self._cycle(index, b, shape)
        operator = self.levels[index].operator
        if shape == "F":
            x = self._cycle(index, b, "F")
            r = materialise(b - operator.mv(x))
            return materialise(x + self._cycle(index, r, "V"))

        def visit(x: Inexact[Array, "..."], _: None) -> tuple[Any, None]:
            r = materialise(b - operator.mv(x))
            return x + self._cycle(index, r, "W"), None

        # A loop, since a program that holds every visit grows as 2^levels.
        return lax.scan(visit, jnp.zeros_like(b), length=2)[0]


def _smooth(
    level: Level,
    x: Inexact[Array, "..."],
    b: Inexact[Array, "..."],
    steps: tuple[float, ...],
) -> Inexact[Array, "..."]:
    """Jacobi sweeps, each with its step."""
    for step in steps:
        x = materialise(x + step * (level.inverse * (b - level.operator.mv(x))))
    return x


def _steps(num_sweeps: int, is_symmetric: bool) -> tuple[float, ...]:
    """Inverse roots of the Chebyshev polynomial on [1/2, 2], or of its middle alone.

    A flow moves eigenvalues off the real axis, to 1 ± i, where unequal steps amplify.
    """
    angles = np.pi * (np.arange(num_sweeps) + 0.5) / num_sweeps
    spread = 0.75 if is_symmetric else 0.0
    return tuple(float(1 / (1.25 + spread * np.cos(angle))) for angle in angles)
