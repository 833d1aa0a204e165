"""Orders in which the triangular sweeps of SOR and SSOR visit the unknowns.

An order makes the sweeps (I + P⁻¹U)⁻¹ and (I + P⁻¹L)⁻¹ of an operator D + L + U:
exactly in its natural order, exactly in an order by colours, or approximately.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator, Sparse
from ...operators._arguments import require_count
from ...operators._operator import require_operator
from ...operators.grids._stencil import Stencil
from ._colour_sweeps import colour_sweeps
from ._colouring import greedy_colours
from ._grid_sweeps import GridSweeps
from ._level_sweeps import LevelPattern, known_pattern, level_pattern
from ._series_sweeps import SeriesSweeps, triangles
from ._sweeps import AbstractSweeps
from ._wavefront import wavefront_sweeps


class AbstractOrder(eqx.Module):
    """An order of the unknowns, or an approximation that needs none."""

    @property
    def T(self) -> "AbstractOrder":
        """The order for the transpose of an operator."""
        return self

    def of(self, A: AbstractLinearOperator) -> "AbstractOrder":
        """Return the order with the precomputed schedule for the pattern of A.

        For `Sparse` it serves every matrix of that pattern, inside a compiled program
        as well; for other operators it is the order as it stands.

        Raises:
            ValueError: the pattern is being traced.
        """
        require_operator(A)
        return self

    @abstractmethod
    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        """Return the sweeps of A with these pivots."""


def require_order(order: Any) -> None:
    """Raise a `TypeError` where an order is something else."""
    if not isinstance(order, AbstractOrder):
        raise TypeError(
            "order must be an order such as Natural(), Multicolour() or Neumann(), "
            f"got {order!r}"
        )


class Natural(AbstractOrder):
    """Row-major order, exactly.

    For operators on grids (`Laplacian`, `Diffusion`, `Helmholtz`, `MaskedPoisson`,
    `ConvectionDiffusion`, and multiples and sums of these with diagonals) one wavefront
    after another, for `Sparse` one level after another, for `Dense` by substitution.
    The pattern of a `Sparse` must be known: make the preconditioner before the solve,
    or give the order as `Natural().of(A)`.

    Cost: of two sweeps over a grid, about two products with A in operations, but as
    many steps in sequence as wavefronts, twice the sum of its sides.

    Examples:
        >>> import krylax as kx
        >>> A = kx.operators.Laplacian((3,))
        >>> kx.solvers.SSOR(order=kx.solvers.Natural())(A).as_matrix()[0]
        Array([0.65625, 0.3125 , 0.125  ], dtype=float64)
    """

    def of(self, A: AbstractLinearOperator) -> AbstractOrder:
        """Return the levels of a `Sparse`."""
        require_operator(A)
        matrix = A.sparse
        return self if matrix is None else _scheduled(matrix, _row_numbers)

    @override
    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        if (sweeps := _exact_sweeps(self, A, pivots, wavefront_sweeps)) is not None:
            return sweeps
        if (matrix := A.dense_matrix) is not None:
            return _DenseSweeps(matrix / pivots[:, None])
        raise ValueError(
            "Natural() knows operators on grids, Sparse and Dense, got "
            f"{type(A).__name__}; use order=Neumann() for Banded, or another "
            "preconditioner"
        )


class Multicolour(AbstractOrder):
    """Cells coloured so that neighbours differ, one colour after another.

    Two colours, red and black, as on a chess board; three where a periodic axis has an
    odd number of cells. For operators on grids, as in `Natural`, and for `Sparse`,
    coloured row after row, whose pattern must be known as in `Natural`. As a
    preconditioner of CG two colours halve its steps at ω = 1, which is the best ω, and
    no ω reaches what natural order can; `SOR` takes as many steps in two colours as in
    natural order, with the same best ω, and on a CPU half the time.

    Cost: 2 (colours - 1) products with A on a grid, one on a `Sparse`; only the colours
    are sequential.

    Examples:
        >>> import krylax as kx
        >>> A = kx.operators.Laplacian((3,))
        >>> kx.solvers.SSOR(order=kx.solvers.Multicolour())(A).as_matrix()[0]
        Array([0.625, 0.25 , 0.125], dtype=float64)
    """

    def of(self, A: AbstractLinearOperator) -> AbstractOrder:
        """Return the colours of a `Sparse`."""
        require_operator(A)
        matrix = A.sparse
        return self if matrix is None else _scheduled(matrix, _colour_ranks)

    @override
    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        if (sweeps := _exact_sweeps(self, A, pivots, colour_sweeps)) is not None:
            return sweeps
        raise ValueError(
            "Multicolour() knows operators on grids and Sparse, got "
            f"{type(A).__name__}; use order=Neumann() for Banded and Dense"
        )


class Neumann(AbstractOrder):
    """Natural order with truncated Neumann series for the inverse triangles.

    (I + P⁻¹L)⁻¹ ≈ Σ_{k ≤ num_terms} (-P⁻¹L)^k, likewise U: only the terms are
    sequential, and the result is still symmetric positive definite if A is. A good ω is
    smaller than in natural order. For operators on grids, as in `Natural`, `Banded`,
    `Sparse` (whose pattern may be traced) and `Dense`.

    Args:
        num_terms: highest power of the series, at least 1.

    Raises:
        ValueError: num_terms below 1, or, when used, an unsupported operator.

    Cost: num_terms products with A.

    References: H. Anzt, E. Chow, J. Dongarra, Iterative sparse triangular solves for
    preconditioning, Euro-Par 2015, doi:10.1007/978-3-662-48096-0_50.

    Examples:
        >>> import krylax as kx
        >>> A = kx.operators.Laplacian((3,))
        >>> kx.solvers.SSOR(order=kx.solvers.Neumann(2))(A).as_matrix()[0]
        Array([0.65625, 0.3125 , 0.125  ], dtype=float64)
    """

    num_terms: int = eqx.field(static=True, default=2)

    def __check_init__(self) -> None:
        hint = '; a wall without flux is boundary="neumann"'
        require_count(self.num_terms, "num_terms", hint=hint)

    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        """Return truncated series for both triangles."""
        stencil = A.stencil
        if stencil is not None and not stencil.is_axial:
            return _over_grid(self, stencil, pivots)
        return SeriesSweeps(*triangles(A, pivots), self.num_terms)


class Scheduled(AbstractOrder):
    """An order of the rows of a sparse pattern; made by the `of` of an order."""

    pattern: LevelPattern
    pattern_of_T: LevelPattern
    # Of A and of its transpose.
    num_slots: tuple[int, int] = eqx.field(static=True)

    @property
    def T(self) -> "Scheduled":
        """The order of the transpose."""
        num_slots, num_slots_of_T = self.num_slots
        return Scheduled(self.pattern_of_T, self.pattern, (num_slots_of_T, num_slots))

    @override
    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        matrix = A.sparse
        if matrix is None or matrix.values.size != self.num_slots[0]:
            raise ValueError(
                "this order was made for another Sparse pattern than that of "
                f"{type(A).__name__}; make it of one with the same pattern"
            )
        return self.pattern.sweeps(matrix.values, pivots)


class _DenseSweeps(AbstractSweeps):
    unit: Inexact[Array, "n n"]

    def forward(self, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        return self._solve(b, is_lower=True)

    def backward(self, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        return self._solve(b, is_lower=False)

    def upper(self, x: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        upper = jnp.triu(self.unit, 1)
        return jnp.matmul(upper, x, precision=Precision.HIGHEST)

    def _solve(
        self, b: Inexact[Array, " n"], *, is_lower: bool
    ) -> Inexact[Array, " n"]:
        return jax.scipy.linalg.solve_triangular(
            self.unit, b, lower=is_lower, unit_diagonal=True
        )


def _exact_sweeps(
    order: AbstractOrder,
    A: AbstractLinearOperator,
    pivots: Inexact[Array, "..."],
    along_axes: Callable[[Stencil, Inexact[Array, "..."]], AbstractSweeps],
) -> AbstractSweeps | None:
    """The sweeps of an operator on a grid or of a sparse matrix, None of another."""
    if (stencil := A.stencil) is not None:
        if stencil.is_axial:
            return along_axes(stencil, pivots)
        return _over_grid(order, stencil, pivots)
    return None if A.sparse is None else order.of(A).sweeps(A, pivots)


def _over_grid(
    order: AbstractOrder, stencil: Stencil, pivots: Inexact[Array, "..."]
) -> GridSweeps:
    """The sweeps of the matrix of a stencil, whose pattern is that of its offsets."""
    sweeps = order.sweeps(stencil.as_sparse(), pivots.reshape(-1))
    return GridSweeps(sweeps, pivots.shape)


def _scheduled(A: Sparse, ranks_of: Callable[[Sparse], np.ndarray]) -> Scheduled:
    """The order of the rows by their ranks, for A and for its transpose."""
    ranks, there, back = ranks_of(A), A.layout, A.layout_of_T
    return Scheduled(
        pattern=level_pattern(there, back, ranks, "an order"),
        pattern_of_T=level_pattern(back, there, ranks, "an order"),
        num_slots=(there.columns.size, back.columns.size),
    )


def _row_numbers(A: Sparse) -> np.ndarray:
    return np.arange(A.layout.extent.num_rows)


def _colour_ranks(A: Sparse) -> np.ndarray:
    """The place of every row where those of the first colour come first."""
    rows, columns, _ = known_pattern(A.layout, A.layout_of_T, "Multicolour()")
    colours = greedy_colours(rows, columns, A.layout.extent.num_rows)
    ranks = np.empty(len(colours), int)
    ranks[np.argsort(colours, kind="stable")] = np.arange(len(colours))
    return ranks
