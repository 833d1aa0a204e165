"""Classes that files name: what makes an object of plain numbers, and back.

A file says of a model which class it is of, and with which arguments it was made; the
weights are filled in by name. Nothing is executed but the constructors of classes that
are registered here, each by its own room.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from ...operators._arguments import shown
from ._checkpoint import NAMES

ALIKE = 0.5
"""How similar a name has to be to one that is proposed for it."""

FEW = 1000
"""A count that no constructor takes long for."""

ONE_BY_ONE = ("num_layers", "num_levels", "num_output_mlps", "num_dimensions")
"""Counts of parts that are made one after the other, each with arrays of its own."""

_RECORDERS: dict[type, Callable[[Any], Mapping[str, Any]]] = {}
_CLASSES: dict[str, type] = {}


def register(
    cls: type, recorder: Callable[[Any], Mapping[str, Any]] | None = None
) -> None:
    """Let files name a class of models or grids.

    Args:
        cls: the class. A constructor with a `key` is only traced, for the shapes of its
            weights.
        recorder: returns, for an object, the arguments of the constructor that make it
            again, without the `key`: numbers, names, dtypes, arrays, and sequences of
            them. By default these are what `arguments_of` has kept as the attribute
            `arguments`, or else the attributes with the names of the arguments; a
            `dtype` without such an attribute is that of the weights in the file.

    Raises:
        ValueError: another class of that name is registered.
    """
    other = _CLASSES.get(cls.__name__, cls)
    if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"{other} is registered as {cls.__name__} already")
    _CLASSES[cls.__name__] = cls
    _RECORDERS[cls] = recorder or _attributes


def arguments_of(local: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the arguments of a constructor, to keep in a static attribute.

    Args:
        local: the value of `locals()` in the first line of the constructor.

    Examples:
        >>> import equinox as eqx
        >>> from krylax.learned import training
        >>> class Model(eqx.Module):
        ...     arguments: tuple = eqx.field(static=True)
        ...     def __init__(self, width, *, num_modes=(8, 8), key=None):
        ...         self.arguments = training.arguments_of(locals())
        >>> Model(32, num_modes=[4, 4]).arguments
        (('width', 32), ('num_modes', (4, 4)))
    """
    left_out = ("self", "key", "__class__")
    return tuple(
        (name, _hashable(value))
        for name, value in local.items()
        if name not in left_out
    )


def recorded(instance: Any) -> dict[str, Any] | None:
    """Return the record of an object, None where its class is not registered."""
    cls = type(instance)
    if cls not in _RECORDERS:
        return None
    arguments = _RECORDERS[cls](instance)
    return {
        "class": cls.__name__,
        "arguments": {name: _plain(value) for name, value in arguments.items()},
    }


def made(record: Any, arrays: Mapping[str, np.ndarray] | None = None) -> Any:
    """Return the object of a record, of a model the shapes of its weights.

    Args:
        record: of the class and its arguments.
        arrays: those of the file, which have to be as many as the arguments count.

    Raises:
        ValueError: the class is not registered, or refuses these arguments; or the
            arrays are too few for them.
    """
    try:
        cls, arguments = class_of(record["class"]), dict(record["arguments"])
        is_drawn = _is_drawn(cls)
        if is_drawn:
            _require_arrays(arguments, {} if arrays is None else arrays)
        arguments = {name: _from_plain(value) for name, value in arguments.items()}
        if not is_drawn:
            return cls(**arguments)
        return eqx.filter_eval_shape(
            lambda key: cls(**arguments, key=key), jax.random.key(0)
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it describes no object of this krylax: {error}") from error


def class_of(name: str) -> type:
    """Return the class that is registered by a name.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    if name not in _CLASSES:
        raise ValueError(
            f"{shown(name)} is none of the classes that files can name, "
            f"{', '.join(sorted(_CLASSES)) or 'none'}; import the package that "
            "registers it"
        )
    return _CLASSES[name]


def model_of(name: str) -> type:
    """Return the class of models that is registered by a name.

    Raises:
        ValueError: there is none; the message names all of them, and the nearest one.
    """
    return _named(name, "model", [cls for cls in _RECORDERS if _is_drawn(cls)])


def constraint_of(name: str) -> type:
    """Return the class of constraints that is registered by a name.

    Raises:
        ValueError: as `model_of`.
    """
    classes = [cls for cls in _RECORDERS if not _is_drawn(cls)]
    return _named(name, "constraint", [c for c in classes if "__call__" in dir(c)])


def _named(name: str, kind: str, classes: Sequence[type]) -> type:
    known = {cls.__name__.lower(): cls for cls in classes}
    found = known.get(name.lower())
    if found is None or found.__name__ != name:
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=ALIKE)
        hint = f"; did you mean {known[near[0]].__name__!r}?" if near else ""
        names = ", ".join(sorted(cls.__name__ for cls in classes))
        raise ValueError(f"{shown(name)} is no {kind}; the {kind}s are {names}{hint}")
    return found


def _is_drawn(cls: type) -> bool:
    """Whether objects of a class have weights that are drawn from a key."""
    return "key" in inspect.signature(cls).parameters


def _require_arrays(arguments: dict[str, Any], arrays: Mapping[str, Any]) -> None:
    """Check that no count is beyond what there is, before anything is made.

    A constructor would take forever for a number of layers that no file can hold.
    """
    num_numbers = sum(array.size for array in arrays.values())
    for name, value in arguments.items():
        most = max(FEW, len(arrays) if name in ONE_BY_ONE else num_numbers)
        if _largest(value) > most:
            raise ValueError(
                f"{name} is {shown(value)}, and there are no more than {len(arrays)} "
                f"arrays of {num_numbers} numbers in all"
            )


def _largest(value: Any) -> int:
    if isinstance(value, list):
        return max(map(_largest, value), default=0)
    return value if type(value) is int else 0


def named_arrays(tree: Any) -> dict[str, Any]:
    """Return the arrays of a tree, or their shapes, by name."""
    leaves, _ = jax.tree.flatten_with_path(eqx.filter(tree, _is_array))
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in leaves
    }


def filled(
    like: Any,
    arrays: Mapping[str, np.ndarray],
    what: str,
    dtype: DTypeLike | None = None,
) -> Any:
    """Return a tree with arrays in the place of others of the same names and shapes.

    Args:
        like: the tree; instead of its arrays it may have their shapes.
        arrays: by name, of the same kind of number, in any precision.
        what: where the arrays come from, for messages.
        dtype: that they get, by default their own.

    Raises:
        ValueError: other names, shapes or kinds of numbers.
    """
    expected = named_arrays(like)
    if arrays.keys() != expected.keys():
        differing = sorted(arrays.keys() ^ expected.keys())
        raise ValueError(
            f"{what} holds other weights than its architecture: {shown(differing)}"
        )
    for name, leaf in expected.items():
        array = arrays[name]
        if array.shape != leaf.shape:
            raise ValueError(
                f"{what} holds {name} of shape {array.shape}, its architecture has "
                f"{leaf.shape}"
            )
        is_float = [jnp.issubdtype(a.dtype, jnp.floating) for a in (array, leaf)]
        if array.dtype != leaf.dtype and not all(is_float):
            raise ValueError(
                f"{what} holds {name} of dtype {array.dtype.name}, its architecture "
                f"has {leaf.dtype.name}"
            )
    parts, static = eqx.partition(like, _is_array)
    leaves = [jnp.asarray(arrays[name], dtype) for name in expected]
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(parts), leaves), static)


def _attributes(instance: Any) -> dict[str, Any]:
    """The arguments of the constructor, where attributes say what they were."""
    if hasattr(instance, "arguments"):
        return dict(instance.arguments)
    names = [n for n in inspect.signature(type(instance)).parameters if n != "key"]
    if not hasattr(instance, "dtype"):
        names = [name for name in names if name != "dtype"]
    missing = [name for name in names if not hasattr(instance, name)]
    if missing:
        raise TypeError(
            f"a {type(instance).__name__} has no attribute {shown(missing[0])} to make "
            "it from again; register it with a recorder"
        )
    return {name: getattr(instance, name) for name in names}


def _hashable(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def _plain(value: Any) -> Any:
    """A value as JSON holds it, arrays with their dtype."""
    if isinstance(value, jax.Array | np.ndarray):
        value = np.asarray(value)
        return {"dtype": value.dtype.name, "values": value.astype(float).tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.dtype | type) and jnp.dtype(value).name in NAMES:
        return jnp.dtype(value).name
    raise TypeError(f"no file can hold {shown(value)} as an argument of a constructor")


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_from_plain, value))
    if isinstance(value, dict):
        return np.asarray(value["values"], np.float64).astype(value["dtype"])
    return value
