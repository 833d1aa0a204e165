"""What an argument has to be: numbers, counts, flags, sequences and random keys.

Each check says in one sentence what was wrong, what was got and what is expected, where
NumPy and JAX would fail on what they make of it. Traced numbers are not known, and
only their shape and type are looked at.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_LONGEST = 200
"""Characters of a value that a message shows."""


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun, by default with an s for any number but one."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def number_of(value: Any) -> float:
    """Return one known real number, NaN for anything else.

    NaN fails every comparison, so that a check of a range is one of the type too.
    """
    if type(value) is float:
        return value
    try:
        numbers = as_reals(value, "")
    except ValueError:
        return math.nan
    return float(numbers) if numbers.ndim == 0 else math.nan


def is_unknown_number(value: Any) -> bool:
    """Whether this is one real number that is being traced."""
    return (
        isinstance(value, Tracer)
        and jnp.ndim(value) == 0
        and not jnp.issubdtype(value.dtype, jnp.complexfloating)
    )


def require_number(
    value: Any,
    name: str,
    low: int | float,
    high: int | float,
    wanted: str,
    *,
    closed: bool = False,
) -> None:
    """Check one real number, whose range is looked at where it is known.

    Args:
        value: the argument.
        name: its name.
        low: what it must be above.
        high: what it must be below.
        wanted: what it must be, in words.
        closed: whether `low` itself is in the range.

    Raises:
        ValueError: no real number, or one outside of the range.
    """
    if is_unknown_number(value):
        return
    number = number_of(value)
    if not (low < number < high or (closed and number == low)):
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}")


def require_integer(value: Any, name: str, hint: str = "") -> None:
    """Raise a `ValueError` where this is no integer that is known while tracing."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an integer, got {shown(value)}{hint}")


def require_count(value: Any, name: str, least: int = 1, hint: str = "") -> None:
    """Check a number that counts something, known while tracing.

    Raises:
        ValueError: no integer, or one below `least`.
    """
    require_integer(value, name, hint)
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}{hint}")


def require_flag(value: Any, name: str) -> None:
    """Raise a `ValueError` where a flag is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")


def require_function(value: Any, name: str, wanted: str) -> None:
    """Raise a `TypeError` where this cannot be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function {wanted}, got {shown(value)}")


def require_object(value: Any, name: str) -> None:
    """Raise a `TypeError` where a class is given in the place of one of its objects."""
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be an object, got the class {value.__name__}; make one, as "
            f"{value.__name__}(...)"
        )


def as_items(value: Any, name: str, wanted: str) -> tuple[Any, ...]:
    """Return the entries of a sequence or of another iterable.

    Raises:
        ValueError: it has no entries.
    """
    # Arrays without axes, strings and types have the methods of iterables.
    is_one = isinstance(value, str | bytes | type) or getattr(value, "ndim", 1) == 0
    if is_one or not isinstance(value, Iterable):
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}")
    return tuple(value)


def as_reals(value: Any, name: str) -> np.ndarray:
    """Return known real numbers as an array of 64-bit ones.

    Raises:
        ValueError: they are complex, or no numbers.
    """
    try:
        array = np.asarray(value)
        kinds = (jnp.integer, jnp.floating) + ((jnp.bool_,) if array.ndim else ())
        # An integer beyond 64 bits is an object to NumPy.
        is_long = isinstance(value, int) and array.dtype == object
        if is_long or any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
            return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name} must be real numbers, got {shown(value)}")


def require_key(key: Any) -> None:
    """Raise a `ValueError` where a key is none of JAX's."""
    is_array = isinstance(key, jax.Array | np.ndarray)
    is_typed = is_array and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    is_raw = is_array and key.dtype == np.uint32
    if not (is_typed and key.ndim == 0) and not (is_raw and key.ndim == 1):
        raise ValueError(
            f"key must be one random key, such as jax.random.key(0), got {shown(key)}"
        )
