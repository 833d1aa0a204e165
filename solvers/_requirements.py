"""What `solve` asks of its arguments, as far as types and structures tell."""

from typing import Any

import jax

from ..operators import AbstractLinearOperator, AbstractOperator
from ..operators._field import Field, describe, require_structure
from ..operators._tags import require_complete
from .core._least_squares import AbstractLeastSquares
from .core._solver import AbstractSolver


def require_types(A: Any, solver: Any, preconditioner: Any) -> None:
    """Raise a `TypeError` where an argument is not what its name says."""
    if not isinstance(A, AbstractLinearOperator):
        raise TypeError(
            f"A must be a linear operator, got {type(A).__name__}; wrap a matrix in "
            "Dense, a sparse one of SciPy in from_scipy (one of JAX converted to it), "
            "or a function in Function"
        )
    if not isinstance(solver, AbstractSolver | AbstractLeastSquares):
        raise TypeError(
            f"solver must be a solver such as CG(rtol=1e-6), got {solver!r}"
        )
    is_factory = callable(preconditioner) and not isinstance(preconditioner, type)
    if not (
        preconditioner is None
        or is_factory
        or isinstance(preconditioner, AbstractOperator)
    ):
        raise TypeError(
            "preconditioner must be an operator or a function that makes one from A, "
            f"such as Jacobi(), got {preconditioner!r}"
        )


def require_square_solver(solver: Any) -> None:
    """Raise a `TypeError` for a least-squares solver, which inverts nothing."""
    if isinstance(solver, AbstractLeastSquares):
        raise TypeError(
            "an inverse needs a solver of square systems, got "
            f"{type(solver).__name__}; a pseudo-inverse as an operator is QR()(A)"
        )


def require_count(unroll: Any) -> None:
    """Raise a `ValueError` where `unroll` is no number of steps."""
    if unroll is None or (isinstance(unroll, int) and unroll > 0):
        return
    raise ValueError(
        f"unroll must be a positive number of steps, known while tracing, got {unroll}"
    )


def require_solvable(A: Any, b: Field, x0: Field | None, solver: Any) -> None:
    """Raise what can be known from structures alone."""
    if A.in_structure != A.out_structure:
        raise ValueError(
            f"A must be square, got one from {describe(A.in_structure)} to "
            f"{describe(A.out_structure)}; LSMR and QR solve least-squares problems"
        )
    require_shapes(A, b, x0)
    if "singular" in A.tags and A.nullspace is None:
        raise ValueError(
            f"this {type(A).__name__} is singular (no face holds the value), so the "
            'solution is not unique; declare nullspace="constant" to get the one of '
            "mean zero, for a right-hand side of mean zero"
        )


def require_shapes(A: Any, b: Field, x0: Field | None) -> None:
    """Raise where b or the start is no field of A, or its tags are not complete."""
    require_structure(b, A.out_structure, "b")
    if x0 is not None:
        require_structure(x0, A.in_structure, "x0")
    require_complete(A)


def require_least_squares(
    solver: AbstractLeastSquares, transpose_preconditioner: Any, carry: Any, unroll: Any
) -> None:
    """Raise a `ValueError` where an argument means nothing to such a solver."""
    name = type(solver).__name__
    if transpose_preconditioner is not None:
        raise ValueError(
            f"{name} takes the adjoint of its preconditioner, also for derivatives; "
            "leave out transpose_preconditioner"
        )
    if carry is not None:
        raise ValueError(
            f"carry does not fit: this {name} carries nothing, so leave it out"
        )
    if unroll is not None:
        raise ValueError(
            f"{name} cannot be unrolled; leave out `unroll` for derivatives by the "
            "implicit rule"
        )


def require_right_preconditioner(M: Any, A: AbstractLinearOperator) -> None:
    """Raise where M is no linear operator on the fields of x, with an adjoint."""
    if M is None:
        return
    if not isinstance(M, AbstractLinearOperator):
        raise ValueError(
            "a least-squares solver needs a linear preconditioner with an adjoint, got "
            f"a {type(M).__name__}"
        )
    for structure in (M.in_structure, M.out_structure):
        if structure != A.in_structure:
            raise ValueError(
                f"the preconditioner acts on {describe(structure)}, the unknown is "
                f"{describe(A.in_structure)}; x = M y for M on the right of A"
            )
    try:
        jax.eval_shape(M.H.mv, M.out_structure)
    except Exception as error:
        raise ValueError(
            f"a least-squares solver needs the adjoint of the preconditioner, which "
            f"this {type(M).__name__} has not; give it a T"
        ) from error


def require_fitting(carry: Any, A: AbstractLinearOperator, solver: Any) -> None:
    """Raise a `ValueError` where the carry is not one of this solver and operator."""
    fresh = jax.eval_shape(lambda: solver.initial_carry(A.in_structure))
    if jax.eval_shape(lambda: carry) == fresh:
        return
    expected = (
        "carries nothing, so leave it out"
        if fresh is None
        else "carries a recycle space for its num_recycled and the operator's fields; "
        f"got a {type(carry).__name__}; give the carry of a Solution of the same "
        "solver on such fields, or None"
    )
    raise ValueError(f"carry does not fit: this {type(solver).__name__} {expected}")


def require_preconditioner(
    M: Any, A: AbstractLinearOperator, solver: AbstractSolver
) -> None:
    """Raise where M is no operator on A's fields, or not linear but has to be."""
    if M is None:
        return
    if not isinstance(M, AbstractOperator):
        raise TypeError(
            "preconditioner must be an operator or a function that makes one from A, "
            f"got one that makes a {type(M).__name__}"
        )
    if not (solver.is_flexible or isinstance(M, AbstractLinearOperator)):
        raise ValueError(
            f"{type(solver).__name__} needs a linear preconditioner, got a "
            f"{type(M).__name__}; use a flexible solver, such as GCRODR"
        )
    for structure in (M.in_structure, M.out_structure):
        if structure is not None and structure != A.in_structure:
            raise ValueError(
                f"the preconditioner acts on {describe(structure)}, the operator on "
                f"{describe(A.in_structure)}"
            )
