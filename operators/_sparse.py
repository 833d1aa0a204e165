"""Sparse matrices (CSR), stored with the layout of their transpose."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Bool, Inexact, Int32
from typing_extensions import override

from ._declared import AbstractDeclaredOperator, Declared, declare
from ._field import (
    Structure,
    array_structure,
    as_finite,
    is_traced,
    on_device,
    require_square,
)
from ._sparse_layout import Layout, make_layouts
from ._sparse_product import multiply, rows_of_slots, sum_rows, transposed_values


class Sparse(AbstractDeclaredOperator):
    """A sparse matrix A as an operator on vectors, y_i = Σ_j a_ij x_j.

    Row i holds `data[indptr[i]:indptr[i + 1]]` in the columns `indices` of the same
    range, SciPy's CSR; duplicate entries are summed, and columns need not be sorted.
    The pattern must be known when the operator is built, `data` may be traced.
    Derivatives of all orders, with respect to x and `data`, use the stored transpose;
    the numbers are stored once, so gradients refer to one array.

    Args:
        data: the stored numbers, floating or complex.
        indices: the column of each.
        indptr: where each row begins in `data`, and the end of the last.
        shape: (rows, columns).
        tags: declared properties such as `symmetric` or `positive_definite`.
        nullspace: null vectors of A and Aᴴ, stacked along a first axis, or "constant".

    Raises:
        ValueError: arrays that do not fit together, indices outside the matrix, a
            traced pattern, integer or non-finite numbers, 64-bit ones while
            `jax_enable_x64` is off, or an unknown tag.

    Cost: 2 operations, one number and one index read per stored number; `mm` of k
    fields costs k products. On the CPU 1 to 2.4 times as fast as SciPy for Poisson
    matrices, half as fast for large ones with random columns (benchmarks/sparse.py).
    `T` gathers the numbers anew, about two products; in a loop that happens once. Kept
    beside the numbers are four integers of 32 bits for each.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx
        >>> data, indices = jnp.array([1.0, 2.0, 3.0]), jnp.array([0, 2, 1])
        >>> A = kx.operators.Sparse(data, indices, jnp.array([0, 2, 3]), (2, 3))
        >>> A @ jnp.array([1.0, 10.0, 100.0])
        Array([201.,  30.], dtype=float64)
    """

    values: Inexact[Array, " slots"]
    layout: Layout
    layout_of_T: Layout
    declared: Declared

    def __init__(
        self,
        data: Any,
        indices: Any,
        indptr: Any,
        shape: Sequence[int],
        *,
        tags: Iterable[str] = (),
        nullspace: Any | Literal["constant"] | None = None,
    ) -> None:
        data = as_finite(data, "data")
        num_rows, num_columns = _as_shape(shape)
        indices, indptr = _as_pattern(indices, "indices"), _as_pattern(indptr, "indptr")
        _require_rows(indptr, num_rows, data.shape, indices.shape)
        _require_columns(indices, num_columns)
        rows = np.repeat(np.arange(num_rows), np.diff(indptr))
        self.layout, self.layout_of_T, stored = make_layouts(
            rows, indices, (num_rows, num_columns)
        )
        self.values = _in_slots(data, stored)
        self.declared = declare(tags, nullspace, self.in_structure, self.out_structure)

    @classmethod
    def from_scipy(
        cls,
        matrix: Any,
        *,
        tags: Iterable[str] = (),
        nullspace: Any | Literal["constant"] | None = None,
    ) -> "Sparse":
        """Return the operator of a sparse array or matrix of SciPy, in any format.

        Args:
            matrix: such as a `scipy.sparse.csr_array`; duplicates are summed.
            tags: as above.
            nullspace: as above.

        Raises:
            ValueError: not a sparse matrix with two axes, or what `Sparse` refuses.

        Examples:
            >>> import numpy as np, scipy.sparse, krylax as kx
            >>> matrix = scipy.sparse.eye_array(2) * 3.0
            >>> kx.operators.Sparse.from_scipy(matrix) @ np.array([1.0, 2.0])
            Array([3., 6.], dtype=float64)
        """
        if not scipy.sparse.issparse(matrix) or matrix.ndim != 2:
            raise ValueError(
                "matrix must be a sparse array or matrix of SciPy with two axes, got "
                f"{type(matrix).__name__}; for a dense one use Dense"
            )
        csr = scipy.sparse.csr_array(matrix)
        pattern = (csr.indices, csr.indptr, matrix.shape)
        return cls(csr.data, *pattern, tags=tags, nullspace=nullspace)

    @property
    @override
    def in_structure(self) -> Structure:
        num_columns = self.layout_of_T.extent.num_rows
        return array_structure((num_columns,), self.values.dtype)

    @property
    @override
    def out_structure(self) -> Structure:
        return array_structure((self.layout.extent.num_rows,), self.values.dtype)

    @property
    @override
    def T(self) -> "Sparse":
        if "symmetric" in self.tags:
            return self
        return eqx.tree_at(
            lambda A: (A.values, A.layout, A.layout_of_T, A.declared),
            self,
            (
                transposed_values(self.values, self.layout_of_T),
                self.layout_of_T,
                self.layout,
                self.declared.T,
            ),
        )

    @override
    def mv(self, x: Inexact[Array, " columns"]) -> Inexact[Array, " rows"]:
        return multiply(self.values, x, self.layout, self.layout_of_T)

    @override
    def diagonal(self) -> Inexact[Array, " rows"]:
        require_square(self.in_structure, self.out_structure, "has a diagonal")
        is_diagonal = rows_of_slots(self.layout) == self.layout.columns
        return sum_rows(jnp.where(is_diagonal, self.values, 0), self.layout)

    @property
    @override
    def sparse(self) -> "Sparse":
        return self

    @property
    @override
    def triangles(self) -> "tuple[Sparse, Sparse]":
        rows, columns = rows_of_slots(self.layout), self.layout.columns
        return self._where(columns < rows), self._where(columns > rows)

    @override
    def diagonal_blocks(self, size: int) -> Inexact[Array, "blocks size size"]:
        rows, columns = rows_of_slots(self.layout), self.layout.columns
        is_inside = rows // size == columns // size
        num_blocks = -(-self.layout.extent.num_rows // size)
        zeros = jnp.zeros((num_blocks, size, size), self.values.dtype)
        index = (rows // size, rows % size, columns % size)
        return zeros.at[index].add(jnp.where(is_inside, self.values, 0))

    def scaled(self, factor: Inexact[Array, ""]) -> "Sparse":
        """Return a multiple, of which no more than symmetry is known."""
        return self._with_values(
            factor.astype(self.values.dtype) * self.values, self.tags & {"symmetric"}
        )

    def _where(self, is_kept: Bool[Array, " slots"]) -> "Sparse":
        return self._with_values(jnp.where(is_kept, self.values, 0), frozenset())

    def _with_values(
        self, values: Inexact[Array, " slots"], tags: frozenset[str]
    ) -> "Sparse":
        """The matrix of this pattern with other numbers."""
        declared = Declared(None, tags, False, False)
        return eqx.tree_at(lambda A: (A.values, A.declared), self, (values, declared))

    @override
    def as_matrix(self) -> Inexact[Array, "rows columns"]:
        shape = (self.layout.extent.num_rows, self.layout_of_T.extent.num_rows)
        index = (rows_of_slots(self.layout), self.layout.columns)
        return jnp.zeros(shape, self.values.dtype).at[index].add(self.values)


def _in_slots(
    data: Inexact[Array, " entries"], stored: Int32[np.ndarray, " slots"]
) -> Inexact[Array, " slots"]:
    """Return the entries in their slots, zero in those of the padding."""
    if is_traced(data):
        return data.at[stored].get(mode="fill", fill_value=0)
    # On the host, since every shape would be another program.
    return on_device(np.append(data, np.zeros(1, data.dtype))[stored])


def _as_shape(shape: Sequence[int]) -> tuple[int, int]:
    sizes = np.asarray(shape)
    is_pair = sizes.shape == (2,) and np.issubdtype(sizes.dtype, np.integer)
    if not (is_pair and min(sizes) >= 1 and max(sizes) < 2**31):
        raise ValueError(
            "shape must be (rows, columns), two positive integers below 2³¹, got "
            f"{shape}"
        )
    return int(sizes[0]), int(sizes[1])


def _as_pattern(values: Any, name: str) -> np.ndarray:
    if is_traced(values):
        raise ValueError(
            f"{name} must be known when the operator is built, got a traced array; "
            "build the operator outside of jax.jit, or close over the pattern and pass "
            "data alone"
        )
    values = np.asarray(values)
    # NumPy takes an empty list for one of floats.
    is_whole = np.issubdtype(values.dtype, np.integer) or values.size == 0
    if values.ndim != 1 or not is_whole:
        raise ValueError(
            f"{name} must be integers along one axis, got {values.dtype} of shape "
            f"{values.shape}"
        )
    return values.astype(np.int64)


def _require_rows(
    indptr: np.ndarray,
    num_rows: int,
    data_shape: tuple[int, ...],
    indices_shape: tuple[int, ...],
) -> None:
    if data_shape != indices_shape:
        raise ValueError(
            "data and indices must have the same length, got shapes "
            f"{data_shape} and {indices_shape}"
        )
    count = data_shape[0]
    fits = len(indptr) == num_rows + 1 and indptr[0] == 0 and indptr[-1] == count
    if not fits or np.any(np.diff(indptr) < 0):
        raise ValueError(
            f"indptr must rise from 0 to the number of stored values, {count}, in "
            f"{num_rows + 1} entries for {num_rows} rows, got {len(indptr)} entries "
            f"from {indptr[:1]} to {indptr[-1:]}; for coordinates or another format use"
            " Sparse.from_scipy"
        )


def _require_columns(indices: np.ndarray, num_columns: int) -> None:
    outside = indices[(indices < 0) | (indices >= num_columns)]
    if outside.size:
        raise ValueError(
            f"indices must lie between 0 and {num_columns - 1} for {num_columns} "
            f"columns, got {outside[0]} and {outside.size - 1} more outside"
        )
