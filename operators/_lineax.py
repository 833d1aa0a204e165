"""Operators from lineax and for lineax, an optional package imported on first use."""

from importlib import import_module
from typing import Any

from ._operator import AbstractLinearOperator


def to_lineax(A: AbstractLinearOperator) -> Any:
    """Return the operator as a `lineax.AbstractLinearOperator`.

    It is registered with all of lineax's functions of operators; `symmetric` and the
    definite tags are translated. An operator from `from_lineax` is unwrapped.

    Args:
        A: a linear operator between fields of known structure.

    Raises:
        ImportError: lineax is not installed.
        TypeError: not a linear operator.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx, lineax as lx
        >>> A = kx.operators.to_lineax(kx.operators.Laplacian((3,)))
        >>> lx.linear_solve(A, jnp.array([1.0, 0.0, 1.0]), lx.Cholesky()).value.round(6)
        Array([1., 1., 1.], dtype=float64)
    """
    require_lineax()
    from . import _lineax_operators

    if isinstance(A, _lineax_operators.FromLineax):
        return A.operator
    if not isinstance(A, AbstractLinearOperator):
        raise TypeError(
            f"A must be a linear operator of krylax, got {type(A).__name__}; wrap a "
            "matrix in Dense, or a function in Function"
        )
    return _lineax_operators.ToLineax(A)


def from_lineax(operator: Any) -> AbstractLinearOperator:
    """Return a `lineax.AbstractLinearOperator` as an operator of krylax.

    lineax's "positive semidefinite" and "symmetric" become tags; the transpose and the
    diagonal are lineax's. What `to_lineax` made comes back as it was.

    Args:
        operator: any operator of lineax; its fields may be pytrees.

    Raises:
        ImportError: lineax is not installed.
        TypeError: not an operator of lineax.

    Cost: that of lineax's product. `diagonal` of a function or Jacobian forms its
    matrix.

    Examples:
        >>> import jax.numpy as jnp, krylax as kx, lineax as lx
        >>> matrix = lx.MatrixLinearOperator(jnp.array([[2.0, 1.0], [1.0, 3.0]]))
        >>> kx.operators.from_lineax(matrix) @ jnp.array([1.0, 1.0])
        Array([3., 4.], dtype=float64)
    """
    lineax = require_lineax()
    from . import _lineax_operators

    if isinstance(operator, _lineax_operators.ToLineax):
        return operator.operator
    if not isinstance(operator, lineax.AbstractLinearOperator):
        raise TypeError(
            f"operator must be one of lineax, got {type(operator).__name__}; wrap a "
            "matrix in Dense, or a function in Function"
        )
    return _lineax_operators.make_from_lineax(operator)


def require_lineax() -> Any:
    """Return the module `lineax`, or raise an `ImportError` that says how to get it."""
    try:
        return import_module("lineax")
    except ImportError as error:
        raise ImportError(
            "lineax is not installed: pip install 'krylax[lineax]'"
        ) from error
