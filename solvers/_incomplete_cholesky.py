"""The incomplete Cholesky factorisation without fill, IC(0).

M = (P + L) P⁻¹ (P + Lᴴ) with L strictly lower triangular and P diagonal, both zero
where A is, and M = A where A is not zero: in order of the columns,

    s_ij = a_ij - Σ_{k<j} s_ik conj(s_jk) / s_kk,    i ≥ j,

over the k for which both are stored (J. A. Meijerink, H. A. van der Vorst, An iterative
solution method for linear systems of which the coefficient matrix is a symmetric
M-matrix, Math. Comp. 31, 1977, doi:10.1090/S0025-5718-1977-0438681-4). Off the diagonal
s is L and on it P. On a grid no three cells are neighbours of each other, so that L is
that of A, and the pivots P are a recurrence along wavefronts.

A pivot can fail to be positive where A is no M-matrix. Then A + α diag(A) is factorised
with a growing α (T. A. Manteuffel, An incomplete factorization technique for positive
definite linear systems, Math. Comp. 34, 1980, doi:10.1090/S0025-5718-1980-0559197-0).

Differs from the sources:
1. On a periodic axis of three cells, whose cells are all neighbours of each other, L is
   that of A all the same.
2. No square roots are taken.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from ..operators import AbstractLinearOperator, Conjugate, Sparse
from ..operators._field import Structure, real_dtype, structure_of
from ..operators._stencil import Stencil
from ._compilation import compile_modules
from ._grid_stencil import stencil_of
from ._incomplete_factor import (
    IncompletePattern,
    incomplete_pattern,
    incomplete_sweeps,
    incomplete_values,
)
from ._inner_product import zeros_like
from ._sweeps import AbstractSweeps
from ._wavefront import incomplete_pivots, wavefront_sweeps

Factor: TypeAlias = tuple[PyTree, Inexact[Array, "..."]]
"""What a factorisation returns, and the pivots."""

FIRST_SHIFT = 1e-3
"""α of the second try, Manteuffel's order of magnitude; it doubles from try to try."""

MAX_TRIES = 16
"""α is then 16: more than enough for any A that is positive definite."""

MARGIN = 100
"""A pivot below so many roundings of the diagonal is none."""


class IncompleteCholesky(eqx.Module):
    """The factory of the incomplete Cholesky factorisation without fill.

    For hermitian positive definite operators: `Sparse`, in the order of its rows, and
    operators on grids (`Laplacian`, `Diffusion`, `Helmholtz`, `MaskedPoisson`, and
    multiples and sums of these with diagonals, as far as they are tagged) in row-major
    order. On a Poisson problem CG takes about a third of its steps. The pattern of a
    `Sparse` must be known: make the preconditioner before the solve. The factor has
    derivative zero.

    Returns:
        When called: an operator that is hermitian positive definite. If no shift makes
        the pivots positive, which says that A is not definite, a solve tells.

    Raises:
        ValueError: when called: an operator without the tag `positive_definite` or
            `positive_semidefinite`, of another kind, or with a traced pattern.

    Cost: per application the two triangular sweeps of `SSOR` in natural order; at
    set-up about as much, for `Sparse` also a pass over the pattern on the host.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> A, b = kx.operators.Laplacian((64, 64)), jnp.ones((64, 64))
        >>> M = kx.solvers.IncompleteCholesky()
        >>> sol = kx.solve(A, b, kx.solvers.CG(rtol=1e-8), preconditioner=M)
        >>> bool(sol.stats.num_steps < 60)
        True
    """

    def __call__(self, A: AbstractLinearOperator) -> "IncompleteInverse":
        """Return the preconditioner of A."""
        if "positive_semidefinite" not in A.tags:
            raise ValueError(
                "IncompleteCholesky needs an operator tagged positive_definite, got a "
                f"{type(A).__name__} tagged {sorted(A.tags)}; promise it with tags= or "
                "use SSOR"
            )
        # A singular A has a pivot of zero, give or take a rounding.
        first_try = 0 if "positive_definite" in A.tags else 1
        if isinstance(A, Sparse):
            sweeps, pivots = _of_sparse(lax.stop_gradient(A), first_try)
        elif (stencil := stencil_of(A)) is not None:
            sweeps, pivots = _of_stencil(lax.stop_gradient(stencil), first_try)
        else:
            raise ValueError(
                "IncompleteCholesky knows Sparse and operators on grids, got "
                f"{type(A).__name__}; build it as Sparse, or use another preconditioner"
            )
        return IncompleteInverse(sweeps, 1 / pivots, A.tags - {"singular"})


class IncompleteInverse(AbstractLinearOperator):
    """(I + P⁻¹Lᴴ)⁻¹ (I + P⁻¹L)⁻¹ P⁻¹; made by `IncompleteCholesky`."""

    sweeps: AbstractSweeps
    inverse_pivots: Inexact[Array, "..."]
    promised: frozenset[str] = eqx.field(static=True)

    @property
    def in_structure(self) -> Structure:
        """That of the operator that it was made for."""
        return structure_of(self.inverse_pivots)

    @property
    def tags(self) -> frozenset[str]:
        """Those of the operator that it was made for, but not singular."""
        return self.promised

    @property
    def T(self) -> AbstractLinearOperator:
        """The complex conjugate, as of any hermitian operator."""
        return self if "symmetric" in self.tags else Conjugate(self)

    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Return M⁻¹ x."""
        return self.sweeps.solve(self.inverse_pivots * x)


def _of_sparse(A: Sparse, first_try: int) -> tuple[AbstractSweeps, Array]:
    pattern = incomplete_pattern(A)
    return _along_pattern(A.values, A.diagonal(), pattern, first_try)


# Compiled as one: this runs before the solve, where its hundred operations, one after
# another, took 5 s to compile.
@compile_modules
def _along_pattern(
    stored: Inexact[Array, " slots"],
    diagonal: Inexact[Array, " n"],
    pattern: IncompletePattern,
    first_try: int,
) -> tuple[AbstractSweeps, Array]:
    def factorise(shift: Float[Array, ""]) -> Factor:
        values = incomplete_values(stored, pattern, shift)
        return values, values[pattern.diagonal]

    values, pivots = _shifted(factorise, diagonal, first_try)
    return incomplete_sweeps(pattern, values), pivots


def _of_stencil(stencil: Stencil, first_try: int) -> tuple[AbstractSweeps, Array]:
    def factorise(shift: Float[Array, ""]) -> Factor:
        diagonal = (1 + shift).astype(stencil.centre.dtype) * stencil.centre
        return None, incomplete_pivots(stencil, diagonal)

    _, pivots = _shifted(factorise, stencil.centre, first_try)
    return wavefront_sweeps(stencil, pivots), pivots


def _shifted(
    factorise: Callable[[Float[Array, ""]], Factor],
    diagonal: Inexact[Array, "..."],
    first_try: int,
) -> Factor:
    """Factorise with a growing shift until all pivots are positive."""
    dtype = real_dtype(structure_of(diagonal))
    allowed = MARGIN * jnp.finfo(dtype).eps * jnp.abs(diagonal)

    def attempt(state: tuple[Array, Factor]) -> tuple[Array, Factor]:
        count, _ = state
        shift = FIRST_SHIFT * jnp.exp2(count - 1)
        return count + 1, factorise(jnp.where(count == 0, 0, shift))

    def is_broken(state: tuple[Array, Factor]) -> Bool[Array, ""]:
        count, (_, pivots) = state
        return (count < MAX_TRIES) & ~jnp.all(jnp.real(pivots) > allowed)

    # Pivots of zero, as if a try before the first one had failed.
    structure = jax.eval_shape(factorise, jnp.zeros((), dtype))
    start = (jnp.asarray(first_try, dtype), zeros_like(structure))
    return lax.while_loop(is_broken, attempt, start)[1]
