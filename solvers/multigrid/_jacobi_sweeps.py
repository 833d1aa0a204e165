"""Jacobi sweeps with the steps of a Chebyshev polynomial, the smoother of multigrid.

On the upper part of the spectrum of W A, [1/2, 2], the polynomial is the smallest one:
M. Adams, M. Brezina, J. Hu, R. Tuminaro, Parallel multigrid smoothing, J. Comput. Phys.
188 (2003), doi:10.1016/S0021-9991(03)00194-3. W is the inverse of A's diagonal, by a
factor such that the spectrum ends at 2, as it does for an M-matrix of Gershgorin's
circles. There, and on the lower part, each error is reduced.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators._arguments import require_count
from ...operators._materialise import materialise
from ._level import AbstractLevel, AbstractSmoother


class JacobiSweeps(AbstractSmoother):
    """Sweeps x ← x + step W (b - A x), after the correction in reversed order.

    Attributes:
        weights: W, of a shape that broadcasts.
        steps: before the correction.
    """

    weights: Inexact[Array, "..."]
    steps: tuple[float, ...] = eqx.field(static=True)

    @override
    def before(
        self, level: AbstractLevel, b: Inexact[Array, "..."]
    ) -> Inexact[Array, "..."]:
        x = self.steps[0] * (self.weights * b)
        if self.weights.size > 1:
            # A multiple of b alone costs less to compute anew.
            x = materialise(x)
        return self._sweep(level, x, b, self.steps[1:])

    @override
    def after(
        self, level: AbstractLevel, x: Inexact[Array, "..."], b: Inexact[Array, "..."]
    ) -> Inexact[Array, "..."]:
        return self._sweep(level, x, b, self.steps[::-1])

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
    def T(self) -> "JacobiSweeps":
        # The diagonal is its own transpose, and a polynomial of A's has Aᵀ's.
        return self

    def _sweep(
        self,
        level: AbstractLevel,
        x: Inexact[Array, "..."],
        b: Inexact[Array, "..."],
        steps: tuple[float, ...],
    ) -> Inexact[Array, "..."]:
        for step in steps:
            x = materialise(x + step * (self.weights * (b - level.mv(x))))
        return x


def chebyshev_steps(num_sweeps: int, lowest: float = 0.25) -> tuple[float, ...]:
    """Inverse roots of the Chebyshev polynomial on [2 lowest, 2].

    It reduces errors up to 2 (1 + lowest). On grids a quarter is good; PyAMG's default
    is a thirtieth, with which PyAMG's CG took 14 steps for Poisson on 64 × 64 points
    instead of 9.
    """
    angles = np.pi * (np.arange(num_sweeps) + 0.5) / num_sweeps
    middle, radius = 1 + lowest, 1 - lowest
    return tuple(float(1 / (middle + radius * np.cos(angle))) for angle in angles)


def optimal_steps(num_sweeps: int) -> tuple[float, ...]:
    """Those on [2/c, 2], c = 3 (k + 1)² / 4 for k sweeps, for transfers that are poor.

    Nearly the best polynomial for V-cycles whatever the transfers: J. Lottes, Optimal
    polynomial smoothers for multigrid V-cycles, Numer. Linear Algebra Appl. 30 (2023),
    doi:10.1002/nla.2518, whose roots for k up to 4 lie between those on [2/c, 2] and
    those on [2/c, 2.05]. For elasticity in space CG took 40 steps with it instead of
    45, and for Poisson the same.
    """
    return chebyshev_steps(num_sweeps, 4 / (3 * (num_sweeps + 1) ** 2))


def equal_steps(num_sweeps: int) -> tuple[float, ...]:
    """The inverse of the interval's middle, for operators that are not symmetric.

    A flow moves eigenvalues off the real axis, to 1 ± i, where unequal steps amplify.
    """
    return (1 / 1.25,) * num_sweeps


def require_sweeps(num_sweeps: int) -> None:
    """Raise unless this is a number of sweeps; half of one would get other steps."""
    require_count(num_sweeps, "num_sweeps")
