"""Orders in which the triangular sweeps of SSOR visit the unknowns.

An order makes the sweeps (I + P⁻¹U)⁻¹ (I + P⁻¹L)⁻¹ of an operator D + L + U: exactly in
its natural order, exactly in an order by colours, or approximately.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Inexact

from ..operators import AbstractLinearOperator, Banded, Dense, Diagonal, Sparse
from ..operators._boundary import Faces
from ..operators._sparse_product import multiply, rows_of_slots
from ._grid_stencil import stencil_of, unit_triangles
from ._level_sweeps import level_sweeps
from ._sweeps import AbstractSweeps
from ._wavefront import wavefront_sweeps

Triangle: TypeAlias = Callable[[Inexact[Array, "..."]], Inexact[Array, "..."]]


class AbstractOrder(eqx.Module):
    """An order of the unknowns, or a way around one."""

    @abstractmethod
    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        """Return the sweeps of A with these pivots."""


class Natural(AbstractOrder):
    """Row-major order, exactly.

    For operators on grids (`Laplacian`, `Diffusion`, `Helmholtz`, `MaskedPoisson`,
    `ConvectionDiffusion`, and multiples and sums of these with diagonals) one wavefront
    after another, for `Sparse` one level after another, for `Dense` by substitution.
    The pattern of a `Sparse` must be known: make the preconditioner before the solve.

    Cost: of two sweeps over a grid, about two products with A in operations, but as
    many steps in sequence as wavefronts, twice the sum of its sides.

    Examples:
        >>> import krylax as kx
        >>> A = kx.operators.Laplacian((3,))
        >>> kx.solvers.SSOR(order=kx.solvers.Natural())(A).as_matrix()[0]
        Array([0.65625, 0.3125 , 0.125  ], dtype=float64)
    """

    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        """Return exact sweeps in natural order."""
        if isinstance(A, Dense):
            return _DenseSweeps(A.matrix, pivots)
        if isinstance(A, Sparse):
            return level_sweeps(A, pivots)
        if (stencil := stencil_of(A)) is not None:
            return wavefront_sweeps(stencil, pivots)
        raise ValueError(
            "Natural() knows operators on grids, Sparse and Dense, got "
            f"{type(A).__name__}; use order=Neumann() for Banded, or another "
            "preconditioner"
        )


class Multicolour(AbstractOrder):
    """Cells coloured so that neighbours differ, one colour after another.

    Two colours, red and black, as on a chess board; three where a periodic axis has an
    odd number of cells. For operators on grids, as in `Natural`. With two colours CG
    takes half its steps at ω = 1, which is the best ω, and no ω reaches what natural
    order can.

    Cost: 2 (colours - 1) products with A, nothing in sequence.

    Examples:
        >>> import krylax as kx
        >>> A = kx.operators.Laplacian((3,))
        >>> kx.solvers.SSOR(order=kx.solvers.Multicolour())(A).as_matrix()[0]
        Array([0.625, 0.25 , 0.125], dtype=float64)
    """

    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        """Return exact sweeps in the order of the colours."""
        if (stencil := stencil_of(A)) is None:
            raise ValueError(
                f"Multicolour() knows operators on grids, got {type(A).__name__}; use "
                "order=Neumann() for Banded, Sparse and Dense"
            )
        colours = colours_of(pivots.shape, stencil.faces)
        last = int(np.max(colours))
        forward = [(colours == c, colours < c) for c in range(1, last + 1)]
        backward = [(colours == c, colours > c) for c in range(last - 1, -1, -1)]
        takers, givers = zip(*forward, *backward, strict=True)
        return _ColourSweeps(
            *unit_triangles(stencil, pivots),
            takers=jnp.stack(takers),
            givers=jnp.stack(givers),
        )


class Neumann(AbstractOrder):
    """Natural order with truncated Neumann series for the inverse triangles.

    (I + P⁻¹L)⁻¹ ≈ Σ_{k ≤ num_terms} (-P⁻¹L)^k, likewise U: nothing in sequence beyond
    the terms, and still symmetric positive definite if A is. A good ω is smaller than
    in natural order. For operators on grids, as in `Natural`, `Banded`, `Sparse` (whose
    pattern may be traced) and `Dense`.

    Args:
        num_terms: highest power of the series, at least 1.

    Raises:
        ValueError: num_terms below 1, or, when used, another kind of operator.

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

    def __check_init__(self):
        if self.num_terms < 1:
            raise ValueError(f"num_terms must be at least 1, got {self.num_terms}")

    def sweeps(
        self, A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
    ) -> AbstractSweeps:
        """Return truncated series for both triangles."""
        lower, upper = _triangles(A, pivots)
        return _NeumannSweeps(lower, upper, self.num_terms)


class _DenseSweeps(AbstractSweeps):
    matrix: Inexact[Array, "n n"]
    pivots: Inexact[Array, " n"]

    def solve(self, b: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        unit = self.matrix / self.pivots[:, None]
        solve = partial(jax.scipy.linalg.solve_triangular, unit, unit_diagonal=True)
        return solve(solve(b, lower=True), lower=False)


class _ColourSweeps(AbstractSweeps):
    """Steps in which the cells of one colour take from those that have their value."""

    lower: Triangle
    upper: Triangle
    takers: Bool[Array, "steps ..."]
    givers: Bool[Array, "steps ..."]

    def solve(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        def step(x: Any, masks: Any) -> tuple[Any, None]:
            takes, gives = masks
            given = jnp.where(gives, x, 0)
            return x - jnp.where(takes, self.lower(given) + self.upper(given), 0), None

        # A loop, since XLA would otherwise compute a step anew for all its readers.
        x, _ = lax.scan(step, b, (self.takers, self.givers))
        return x


class _NeumannSweeps(AbstractSweeps):
    lower: Triangle
    upper: Triangle
    num_terms: int = eqx.field(static=True)

    def solve(self, b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        for triangle in (self.lower, self.upper):
            b = _truncated_series(triangle, b, self.num_terms)
        return b


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


def _truncated_series(
    triangle: Triangle, b: Inexact[Array, "..."], num_terms: int
) -> Inexact[Array, "..."]:
    """Σ_{k ≤ num_terms} (-triangle)^k b, by Horner's rule."""
    return lax.fori_loop(0, num_terms, lambda _, x: b - triangle(x), b)


def _triangles(
    A: AbstractLinearOperator, pivots: Inexact[Array, "..."]
) -> tuple[Triangle, Triangle]:
    """P⁻¹L and P⁻¹U as functions."""
    if (stencil := stencil_of(A)) is not None:
        return unit_triangles(stencil, pivots)
    if isinstance(A, Banded):
        return _band(A, -1, pivots), _band(A, 1, pivots)
    if isinstance(A, Sparse):
        rows, columns = rows_of_slots(A.layout), A.layout.columns
        values = A.values / pivots[rows]
        lower, upper = (
            jax.tree_util.Partial(_multiply, jnp.where(is_inside, values, 0), A)
            for is_inside in (columns < rows, columns > rows)
        )
        return lower, upper
    if isinstance(A, Dense):
        unit = A.matrix / pivots[:, None]
        return Dense(jnp.tril(unit, -1)), Dense(jnp.triu(unit, 1))
    raise ValueError(
        "Neumann() knows operators on grids, Banded, Sparse and Dense, got "
        f"{type(A).__name__}; use another preconditioner, such as ChebyshevPolynomial"
    )


def _band(A: Banded, sign: int, pivots: Inexact[Array, " n"]) -> Triangle:
    """The diagonals on one side of the main one, if any."""
    found = [i for i, offset in enumerate(A.offsets) if offset * sign > 0]
    rows, offsets = A.diagonals[np.array(found, int)], [A.offsets[i] for i in found]
    inverse = Diagonal(1 / pivots)
    return inverse @ Banded(rows, offsets) if found else 0 * inverse


def _multiply(values: Inexact[Array, " slots"], A: Sparse, x: Inexact[Array, " n"]):
    return multiply(values, x, A.layout, A.layout_of_T)
