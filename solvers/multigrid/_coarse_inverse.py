"""The dense inverse of the coarsest level of multigrid."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Inexact
from typing_extensions import override

from ...operators import AbstractLinearOperator
from ...operators._control_flow import fori_loop
from ...operators._field import Structure, array_structure
from ...operators.grids._boundary import has_dirichlet
from ._grid_level import Grid


class CoarseInverse(AbstractLinearOperator):
    """A dense matrix as an operator on the fields of the coarsest level.

    Attributes:
        matrix: for fields that are flat.
        shape: of the fields.
        known: its tags.
    """

    matrix: Inexact[Array, "n n"]
    shape: tuple[int, ...] = eqx.field(static=True)
    known: frozenset[str] = eqx.field(static=True)

    @property
    @override
    def in_structure(self) -> Structure:
        return array_structure(self.shape, self.matrix.dtype)

    @property
    @override
    def tags(self) -> frozenset[str]:
        return self.known

    @property
    @override
    def T(self) -> "CoarseInverse":
        if "symmetric" in self.known:
            return self
        return CoarseInverse(self.matrix.T, self.shape, self.known)

    @override
    def mv(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        product = jnp.matmul(self.matrix, x.reshape(-1), precision=Precision.HIGHEST)
        return product.reshape(x.shape)


def inverse_matrix(grid: Grid, tags: frozenset[str]) -> Inexact[Array, "n n"]:
    """Return the inverse, or the much costlier pseudo-inverse if A is singular.

    Args:
        grid: of few cells.
        tags: those of the operator on the finest grid.
    """
    volumes = jnp.asarray(grid.volumes(), grid.inverse.dtype)

    def column(unit: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        return grid.operator.mv(unit.reshape(grid.shape)).reshape(-1)

    units = jnp.eye(volumes.size, dtype=volumes.dtype)
    # Symmetric in terms of contents of cells; cells of none are kept regular.
    matrix = volumes[:, None] * jax.vmap(column, out_axes=1)(units)
    matrix = jnp.where((units == 1) & (matrix == 0), 1, matrix)
    return _inverse(matrix, grid, tags) * volumes[None, :]


def _inverse(
    matrix: Inexact[Array, "n n"], grid: Grid, tags: frozenset[str]
) -> Inexact[Array, "n n"]:
    if "positive_definite" in tags:
        return _definite_inverse(matrix)
    if "symmetric" not in tags and has_dirichlet(grid.operator.faces):
        return _pivoted_inverse(matrix)
    # A complex network is symmetric, but not hermitian.
    is_hermitian = "symmetric" in tags and not jnp.iscomplexobj(matrix)
    return jnp.linalg.pinv(matrix, hermitian=is_hermitian)


def _definite_inverse(matrix: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """Return the inverse by n sweeps without pivoting, for definite matrices.

    A sweep exchanges unknown and right-hand side of equation k: A. E. Beaton, The use
    of special matrix operators in statistical calculus (1964). LAPACK is as fast alone,
    but inside of a solve its threads wait for XLA's: 8 ms for each triangular solve
    with a 64 x 64 matrix, where all sweeps together take 0.3 ms.
    """
    return -fori_loop(0, len(matrix), lambda k, A: _swept(A, k, k), matrix)


def _pivoted_inverse(matrix: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """Return the inverse by n sweeps with partial pivoting."""

    def sweep(k: Any, state: Any) -> Any:
        A, is_left, rows = state
        row = jnp.argmax(jnp.where(is_left, jnp.abs(A[:, k]), -1))
        return _swept(A, row, k), is_left.at[row].set(False), rows.at[k].set(row)

    n = len(matrix)
    state = (matrix, jnp.ones(n, bool), jnp.arange(n))
    A, _, rows = fori_loop(0, n, sweep, state)
    # Row rows[k] now holds unknown k, column k right-hand side rows[k].
    return jnp.zeros_like(A).at[:, rows].set(-A[rows])


def _swept(A: Inexact[Array, "n n"], i: Any, k: Any) -> Inexact[Array, "n n"]:
    """Exchange right-hand side i and unknown k."""
    indices = jnp.arange(len(A))
    is_row, is_column = indices == i, indices == k
    rest = jnp.where(is_row[:, None] | is_column[None, :], 0, A)
    u, v = jnp.where(is_row, -1, A[:, k]), jnp.where(is_column, -1, A[i])
    return rest - u[:, None] * (v[None, :] / A[i, k])
