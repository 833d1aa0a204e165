"""What is handed to a solver or a wrapper has to be what its name says."""

from typing import Any

from ...operators import AbstractOperator
from ...operators._arguments import shown
from ._inner_product import InnerProduct
from ._least_squares import AbstractLeastSquares
from ._solver import AbstractSolver


def require_solver(solver: Any) -> None:
    """Raise a `TypeError` where a solver of square systems is something else."""
    if isinstance(solver, AbstractLeastSquares):
        raise TypeError(
            "solver must be one of square systems here, such as CG(rtol=1e-6), got "
            f"{type(solver).__name__}, which only `solve` takes; a pseudo-inverse as "
            "an operator is QR()(A)"
        )
    if not isinstance(solver, AbstractSolver):
        raise TypeError(
            f"solver must be a solver such as CG(rtol=1e-6), got {shown(solver)}"
        )


def require_maker(preconditioner: Any) -> None:
    """Raise a `TypeError` unless this is an operator, may make one, or is None."""
    is_factory = callable(preconditioner) and not isinstance(preconditioner, type)
    is_operator = isinstance(preconditioner, AbstractOperator)
    if not (preconditioner is None or is_factory or is_operator):
        raise TypeError(
            "preconditioner must be an operator or a function that makes one from A, "
            f"such as Jacobi(), got {shown(preconditioner)}"
        )


def require_inner_product(inner_product: Any) -> None:
    """Raise a `TypeError` where an inner product is something else."""
    if not isinstance(inner_product, InnerProduct):
        raise TypeError(
            "inner_product must be an InnerProduct, such as InnerProduct(axis_name="
            f'"x"), got {shown(inner_product)}'
        )
