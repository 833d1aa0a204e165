"""Computing incomplete factors, with a diagonal shift if a pivot is unusable.

M = (P + L) P⁻¹ (P + U) with L and U strictly lower and upper triangular and zero where
A is. If a pivot is unusable, A + α diag(A) is factorised with a growing α (T. A.
Manteuffel, An incomplete factorization technique for positive definite linear systems,
Math. Comp. 34, 1980, doi:10.1090/S0025-5718-1980-0559197-0).
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from ...operators import AbstractLinearOperator
from ...operators._arithmetic import zeros_like
from ...operators._control_flow import while_loop
from ...operators._field import real_dtype, require_square, structure_of
from ...operators.grids._stencil import Stencil
from ..core._compilation import compile_modules
from ..sweeps._grid_sweeps import GridSweeps
from ..sweeps._sweeps import AbstractSweeps
from ..sweeps._swept_inverse import SweptInverse
from ..sweeps._wavefront import incomplete_pivots, wavefront_sweeps
from ._incomplete_factor import (
    IncompletePattern,
    incomplete_pattern,
    incomplete_values,
)

FactorAndPivots: TypeAlias = tuple[PyTree, Inexact[Array, "..."]]
"""The factors of a factorisation, and their pivots."""

PivotSizes: TypeAlias = Callable[[Inexact[Array, "..."]], Float[Array, "..."]]
"""A function from pivots to their sizes; a pivot of small size is unusable."""

InverseParts: TypeAlias = tuple[
    AbstractSweeps, AbstractSweeps | None, Inexact[Array, "..."]
]
"""The sweeps of a `SweptInverse`, those of its transpose, and the inverse pivots."""

FIRST_SHIFT = 1e-3
"""α of the second try, Manteuffel's order of magnitude; it doubles from try to try."""

MAX_TRIES = 16
"""α is then 16: more than enough for any A that is positive definite."""

MARGIN = 100
"""A pivot is unusable below this multiple of eps times the diagonal."""


def incomplete_inverse(
    A: AbstractLinearOperator,
    sizes: PivotSizes,
    first_try: int,
    promised: frozenset[str],
    wanted_by: str,
) -> SweptInverse:
    """Factorise A, with a shift if it needs one.

    Args:
        A: a `Sparse` with a known pattern, or an operator on a grid.
        sizes: of the pivots.
        first_try: 0 to try without a shift.
        promised: the tags of the inverse.
        wanted_by: the name that errors begin with.

    Raises:
        ValueError: A is another operator, or its pattern is being traced.
    """
    require_square(A.in_structure, A.out_structure, "has incomplete factors")
    of_T = not promised & {"symmetric", "hermitian"}
    if A.sparse is not None:
        pattern = incomplete_pattern(A.sparse, of_T, wanted_by)
        parts = _of_sparse(A, pattern, sizes, first_try)
    else:
        parts = _of_grid(A, sizes, first_try, of_T, wanted_by)
    sweeps, sweeps_of_T, inverse_pivots = parts
    return SweptInverse(sweeps, sweeps_of_T, inverse_pivots, promised)


# Compiled as one: this runs before the solve, where its hundred operations, one after
# another, took 5 s to compile.
@compile_modules
def _of_grid(
    A: AbstractLinearOperator,
    sizes: PivotSizes,
    first_try: int,
    of_T: bool,
    wanted_by: str,
) -> InverseParts:
    stencil = A.stencil
    if stencil is None:
        raise ValueError(
            f"{wanted_by} knows Sparse and operators on grids, got "
            f"{type(A).__name__}; build it as Sparse, or use another preconditioner"
        )
    if stencil.is_axial:
        return _of_stencil(stencil, sizes, first_try, of_T)
    matrix = stencil.as_sparse()
    pattern = incomplete_pattern(matrix, of_T, wanted_by)
    sweeps, sweeps_of_T, inverse_pivots = _of_sparse(matrix, pattern, sizes, first_try)
    return (
        GridSweeps(sweeps, stencil.shape),
        None if sweeps_of_T is None else GridSweeps(sweeps_of_T, stencil.shape),
        inverse_pivots.reshape(stencil.shape),
    )


@compile_modules
def _of_sparse(
    A: AbstractLinearOperator,
    pattern: IncompletePattern,
    sizes: PivotSizes,
    first_try: int,
) -> InverseParts:
    stored, diagonal = lax.stop_gradient((A.sparse.values, A.diagonal()))

    def factorise(shift: Float[Array, ""]) -> FactorAndPivots:
        values = incomplete_values(stored, pattern, shift)
        return values, values[pattern.diagonal]

    values, pivots = _shifted(factorise, diagonal, sizes, first_try)
    sweeps = pattern.sweeps.sweeps(values, pivots)
    of_T = pattern.sweeps_of_T
    sweeps_of_T = None if of_T is None else of_T.sweeps(values, pivots)
    return sweeps, sweeps_of_T, 1 / pivots


def _of_stencil(
    stencil: Stencil, sizes: PivotSizes, first_try: int, of_T: bool
) -> InverseParts:
    stencil = lax.stop_gradient(stencil)

    # On a grid no three cells are neighbours of each other, but on a periodic axis of
    # three cells: L and U are those of A, and the pivots a recurrence.
    def factorise(shift: Float[Array, ""]) -> FactorAndPivots:
        return None, incomplete_pivots(stencil, (1 + shift).astype(dtype) * diagonal)

    diagonal, dtype = stencil.diagonal(), stencil.centre.dtype
    _, pivots = _shifted(factorise, diagonal, sizes, first_try)
    sweeps_of_T = wavefront_sweeps(stencil.T, pivots) if of_T else None
    return wavefront_sweeps(stencil, pivots), sweeps_of_T, 1 / pivots


def _shifted(
    factorise: Callable[[Float[Array, ""]], FactorAndPivots],
    diagonal: Inexact[Array, "..."],
    sizes: PivotSizes,
    first_try: int,
) -> FactorAndPivots:
    """Factorise with a growing shift until all pivots are usable."""
    dtype = real_dtype(structure_of(diagonal))
    allowed = MARGIN * jnp.finfo(dtype).eps * jnp.abs(diagonal)

    def attempt(state: tuple[Array, FactorAndPivots]) -> tuple[Array, FactorAndPivots]:
        count, _ = state
        shift = FIRST_SHIFT * jnp.exp2(count - 1)
        return count + 1, factorise(jnp.where(count == 0, 0, shift))

    def is_broken(state: tuple[Array, FactorAndPivots]) -> Bool[Array, ""]:
        count, (_, pivots) = state
        return (count < MAX_TRIES) & ~jnp.all(sizes(pivots) > allowed)

    # Pivots of zero, as if a try before the first one had failed.
    structure = jax.eval_shape(factorise, jnp.zeros((), dtype))
    start = (jnp.asarray(first_try, dtype), zeros_like(structure))
    return while_loop(is_broken, attempt, start)[1]
