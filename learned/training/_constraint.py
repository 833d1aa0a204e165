"""What the predictions of a model are made to satisfy, in physical units.

A constraint maps a field and its grid to a field of the same shape, C(p, grid), which
is applied to what the model predicts, in training as afterwards: the loss is one of
constrained predictions, and its gradient goes through C. Of several one follows the
other.
"""

import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...operators._arguments import require_function, require_object, shown
from ._registry import made, recorded
from ._state import recorded_function


def as_constraint(constraint: Any) -> Any:
    """Return None, a constraint, or a tuple of several.

    Raises:
        TypeError: something that cannot be called, or a class of constraints.
    """
    if isinstance(constraint, Sequence) and not isinstance(constraint, str):
        constraint = tuple(constraint) or None
    for each in as_sequence(constraint):
        require_function(each, "constraint", "(fields, grid) → fields, or several")
    return constraint


def as_sequence(constraint: Any) -> tuple[Any, ...]:
    """Return the constraints one by one, none for None.

    Raises:
        TypeError: the class of one is given, such as `NoSlip` for `NoSlip()`.
    """
    if constraint is None:
        return ()
    is_several = isinstance(constraint, tuple | list)
    found = tuple(constraint) if is_several else (constraint,)
    for each in found:
        require_object(each, "constraint")
    return found


def constrained(
    constraint: Any, fields: Float[Array, "..."], grid: Any
) -> Float[Array, "..."]:
    """Return fields (channels, *shape) that satisfy all constraints, in their dtype.

    Raises:
        ValueError: a constraint returns a field of another shape, or complex numbers.
    """
    for each in as_sequence(constraint):
        found = jnp.asarray(each(fields, grid))
        if found.shape != fields.shape:
            raise ValueError(
                f"constraint must return a field of the shape {fields.shape} that it "
                f"is given, got {found.shape}"
            )
        if jnp.iscomplexobj(found):
            raise ValueError("constraint must return a real field, got complex numbers")
        fields = found.astype(fields.dtype)
    return fields


def records_of(constraint: Any) -> list[Any]:
    """Return what a file says of constraints.

    Raises:
        TypeError: the class of one is not registered.
        ValueError: the record of one makes another one.
    """
    records = []
    for each in as_sequence(constraint):
        record = recorded(each)
        if record is None:
            raise TypeError(
                f"a constraint of class {type(each).__name__} is not registered, so "
                "that no file can name it; make it an Equinox module and use "
                "training.register, or train without a folder"
            )
        _require_same(each, record)
        records.append(record)
    return records


def _require_same(constraint: Any, record: Any) -> None:
    """Check that a file would give the constraint back."""
    name = type(constraint).__name__
    try:
        again = recorded(_made(record))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a {name} cannot be made again of what a file keeps of it: {error}; give "
            "training.register a recorder"
        ) from error
    # As text, where NaN is itself.
    if json.dumps(again) != json.dumps(record):
        raise ValueError(
            f"a {name} of what a file keeps of this one, {shown(record['arguments'])}, "
            "is another one; give training.register a recorder of the arguments"
        )


def constraint_from(records: Any) -> Any:
    """Return the constraint of the records of a file.

    Raises:
        TypeError: what they describe is no constraint.
        ValueError: a class is not registered, or refuses its arguments.
    """
    found = tuple(map(_made, records or ()))
    return as_constraint(found[0] if len(found) == 1 else found)


def _made(record: Any) -> Any:
    found = made(record)
    leaves = jax.tree.leaves(found)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
        raise TypeError(
            f"a {type(found).__name__} is no constraint but a model, whose weights are "
            "no part of its arguments"
        )
    return found


def recorded_constraint(constraint: Any) -> list[Any]:
    """Return what decides about constraints, for the folder of a training."""
    return [
        recorded(each) or recorded_function(each) for each in as_sequence(constraint)
    ]
