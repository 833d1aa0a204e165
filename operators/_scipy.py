"""Operators from SciPy and for SciPy."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Inexact
from scipy.sparse.linalg import LinearOperator

from ._declared import declare
from ._field import (
    array_structure,
    is_traced,
    ravel,
    require_x64,
    size_of,
    unravel,
)
from ._host_product import HostProduct
from ._operator import AbstractLinearOperator
from ._sparse import Sparse
from ._tags import is_real


def from_scipy(
    matrix: Any,
    *,
    tags: Iterable[str] = (),
    nullspace: Any | Literal["constant"] | None = None,
) -> AbstractLinearOperator:
    """Return the operator of a sparse matrix or a `LinearOperator` of SciPy.

    A sparse matrix becomes a `Sparse` operator. A `LinearOperator` is called on the
    host: each product leaves the compiled program, so use it for operators that exist
    in SciPy only. It works under `jit`, `vmap` (by `matmat`) and `grad`, whose
    transposed products are by `rmatvec`; gradients flow to vectors, not to numbers
    inside the `LinearOperator`, and SciPy must not call JAX in it. What `to_scipy` made
    comes back as the operator that it was made of.

    Args:
        matrix: a sparse array or matrix of any format, or a `LinearOperator` of a
            floating or complex dtype.
        tags: declared properties such as `symmetric` or `positive_definite`; a
            symmetric operator needs no `rmatvec`.
        nullspace: null vectors of A and Aᴴ, stacked along a first axis, or "constant".

    Raises:
        TypeError: neither a sparse matrix nor a `LinearOperator`.
        ValueError: a `LinearOperator` without a floating or complex dtype, and what
            `Sparse` refuses.

    Cost: of a `LinearOperator`, SciPy's product and about 0.1 ms.

    Examples:
        >>> import numpy as np, scipy.sparse.linalg, krylax as kx
        >>> roll = lambda x: np.roll(x, 1, axis=0)
        >>> shift = scipy.sparse.linalg.LinearOperator((3, 3), roll, dtype=float)
        >>> kx.operators.from_scipy(shift) @ np.array([1.0, 2.0, 3.0])
        Array([3., 1., 2.], dtype=float64)
    """
    if isinstance(matrix, FlatOperator):
        return matrix.operator
    if scipy.sparse.issparse(matrix):
        return Sparse.from_scipy(matrix, tags=tags, nullspace=nullspace)
    if not isinstance(matrix, LinearOperator):
        raise TypeError(
            "matrix must be a sparse matrix or a LinearOperator of SciPy, got "
            f"{type(matrix).__name__}; for a dense one use Dense"
        )
    if matrix.dtype is None or not jnp.issubdtype(matrix.dtype, jnp.inexact):
        raise ValueError(
            f"the LinearOperator must have a floating or complex dtype, got "
            f"{matrix.dtype}; build it with dtype=float"
        )
    require_x64(matrix.dtype, "the LinearOperator")
    rows, columns = (array_structure((n,), matrix.dtype) for n in matrix.shape)
    return HostProduct(declare(tags, nullspace, columns, rows), matrix)


def to_scipy(A: AbstractLinearOperator) -> LinearOperator:
    """Return the operator as a `scipy.sparse.linalg.LinearOperator`.

    Fields are flattened leaf after leaf, row-major, as in `as_matrix`. SciPy's solvers
    then run on the operator, and take a preconditioner in the same way:
    `scipy.sparse.linalg.cg(to_scipy(A), b, M=to_scipy(Jacobi()(A)))`. A real operator
    takes complex vectors too, part by part.

    Args:
        A: a linear operator between fields of known structure, outside of `jit`.

    Returns:
        `matvec`, `matmat`, `rmatvec`, `rmatmat`, `T` and `H`, by compiled products.

    Raises:
        TypeError: not a linear operator.
        ValueError: a traced operator.

    Cost: per product that of A, two copies of the vector and about 0.1 ms.

    Examples:
        >>> import numpy as np, scipy.sparse.linalg, krylax as kx
        >>> A = kx.operators.to_scipy(kx.operators.Laplacian((3,)))
        >>> x, info = scipy.sparse.linalg.cg(A, np.array([1.0, 0.0, 1.0]))
        >>> x.round(6)
        array([1., 1., 1.])
    """
    if not isinstance(A, AbstractLinearOperator):
        raise TypeError(
            f"A must be a linear operator of krylax, got {type(A).__name__}; SciPy "
            "takes matrices as they are"
        )
    if is_traced(A):
        raise ValueError(
            "A must be known, got an operator with traced arrays; SciPy runs outside "
            "of jax.jit, so call to_scipy there"
        )
    return FlatOperator(A)


class FlatOperator(LinearOperator):
    """A linear operator of krylax on flattened fields; made by `to_scipy`."""

    operator: AbstractLinearOperator

    def __init__(self, operator: AbstractLinearOperator) -> None:
        structures = operator.out_structure, operator.in_structure
        dtype = jnp.result_type(*jax.tree.leaves(structures))
        self.operator = operator
        super().__init__(np.dtype(dtype), tuple(map(size_of, structures)))

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        if np.iscomplexobj(X) and is_real(self.operator.in_structure):
            return self._matmat(np.real(X)) + 1j * self._matmat(np.imag(X))
        products = _multiply_rows(self.operator, np.asarray(X, self.dtype).T)
        # A copy, since SciPy writes into what it gets and JAX's arrays are read-only.
        return np.array(products).T

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return self._operator_of_H._matvec(x)

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:
        return self._operator_of_H._matmat(X)

    @cached_property
    def _operator_of_H(self) -> "FlatOperator":
        return FlatOperator(self.operator.H)


@eqx.filter_jit
def _multiply_rows(
    A: AbstractLinearOperator, rows: Inexact[Array | np.ndarray, "k columns"]
) -> Inexact[Array, "k rows"]:
    if len(rows) == 1:
        return ravel(A.mv(unravel(jnp.asarray(rows[0]), A.in_structure)))[None]
    fields = jax.vmap(lambda row: unravel(row, A.in_structure))(jnp.asarray(rows))
    return jax.vmap(ravel)(A.mm(fields))
