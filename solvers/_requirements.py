"""What `solve` asks of its arguments, as far as types and structures tell."""

from typing import Any

import jax
import numpy as np

from ..operators import AbstractLinearOperator, AbstractOperator
from ..operators._arguments import shown
from ..operators._field import Field, describe, require_structure
from ..operators._operator import Scaled, Sum, require_operator
from ..operators._tags import require_complete
from .core._arguments import require_maker, require_solver
from .core._least_squares import AbstractLeastSquares
from .core._scaled_start import ScaledStart
from .core._solver import AbstractSolver

_WRAP = (
    "a map of residuals is one as Function(f, A.in_structure, tags=...) if it is "
    "linear, and else by krylax.learned.conjugate_directions.from_callable"
)


def require_types(A: Any, solver: Any, preconditioner: Any) -> None:
    """Raise a `TypeError` where an argument is not what its name says."""
    require_operator(A)
    if not isinstance(solver, AbstractLeastSquares):
        require_solver(solver)
    require_maker(preconditioner)


def require_values(values: Any, name: str, advice: str = "") -> None:
    """Raise a `TypeError` where an operator, a model or a function is given for one.

    Those are trees of arrays too, and would be told that their structure is another.
    """
    if callable(values):
        what = _name_of(values)
        raise TypeError(
            f"{name} must be a field, an array or a tree of arrays, got {what}{advice}"
        )


def require_unroll(unroll: Any) -> None:
    """Raise a `ValueError` where `unroll` is no number of steps in 32 bits."""
    is_count = isinstance(unroll, int) and not isinstance(unroll, bool)
    if unroll is None or (is_count and 0 < unroll < 2**31):
        return
    raise ValueError(
        "unroll must be a positive number of steps, known while tracing, got "
        f"{shown(unroll)}"
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
    solver: AbstractLeastSquares,
    transpose_preconditioner: Any,
    x0: Any,
    carry: Any,
    unroll: Any,
) -> None:
    """Raise a `ValueError` where an argument means nothing to such a solver."""
    name = type(solver).__name__
    if isinstance(x0, ScaledStart):
        raise ValueError(
            f"{name} takes a start as it is; give the value of the ScaledStart"
        )
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
    if _structure_of(carry) == fresh:
        return
    expected = (
        "carries nothing, so leave it out"
        if fresh is None
        else "carries a recycle space for its num_recycled and the operator's fields; "
        f"got a {type(carry).__name__}; give the carry of a Solution of the same "
        "solver on such fields, or None"
    )
    raise ValueError(f"carry does not fit: this {type(solver).__name__} {expected}")


def _structure_of(carry: Any) -> Any:
    """Shapes and types of a carry; itself where it holds anything but arrays."""
    leaves = jax.tree.leaves(carry)
    is_known = all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)
    return jax.eval_shape(lambda: carry) if is_known else carry


def made(preconditioner: Any, A: AbstractLinearOperator) -> AbstractOperator | None:
    """The preconditioner, made where a factory is given."""
    if preconditioner is None or isinstance(preconditioner, AbstractOperator):
        return preconditioner
    try:
        M = preconditioner(A)
    except (TypeError, AttributeError, IndexError) as error:
        # What a function of arrays raises for an operator; factories raise others.
        raise TypeError(
            f"{_asked(preconditioner, A)} raised {type(error).__name__}: {error}; "
            f"{_WRAP}"
        ) from error
    if not isinstance(M, AbstractOperator):
        raise TypeError(
            f"{_asked(preconditioner, A)} made a {type(M).__name__}; {_WRAP}"
        )
    if _is_multiple_of(A, M):
        raise ValueError(
            "preconditioner is called with A to make an operator, and made a multiple "
            "of A, so it seems to be a function of a residual; wrap it as "
            "Function(preconditioner, A.in_structure, tags=...)"
        )
    return M


def _asked(preconditioner: Any, A: Any) -> str:
    return (
        "preconditioner must be an operator or a function that makes one from A, got "
        f"{_name_of(preconditioner)}, which for A, a {type(A).__name__},"
    )


def _name_of(value: Any) -> str:
    """What a message calls an operator, a model or a function."""
    name = getattr(value, "__name__", None)
    return f"a {type(value).__name__}" if name is None else f"{name}"


def _is_multiple_of(A: Any, M: Any) -> bool:
    """Whether arithmetic made M of A alone."""
    if isinstance(M, Sum):
        return _is_multiple_of(A, M.left) and _is_multiple_of(A, M.right)
    return M is A or (isinstance(M, Scaled) and _is_multiple_of(A, M.operator))


def require_preconditioner(
    M: Any, A: AbstractLinearOperator, solver: AbstractSolver
) -> None:
    """Raise where M is no operator on A's fields, or not linear but has to be."""
    if M is None:
        return
    if not (solver.is_flexible or isinstance(M, AbstractLinearOperator)):
        raise ValueError(
            f"{type(solver).__name__} needs a linear preconditioner, got a "
            f"{type(M).__name__}; use a flexible solver, such as FlexibleCG or FGMRES"
        )
    for structure in (M.in_structure, M.out_structure):
        if structure is not None and structure != A.in_structure:
            raise ValueError(
                f"the preconditioner acts on {describe(structure)}, the operator on "
                f"{describe(A.in_structure)}"
            )
