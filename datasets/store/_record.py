"""Objects as plain JSON, and back: what a configuration is made of.

Two records can be compared, hashed and shown.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..families._family import AbstractFamily

Recorders = Mapping[type, Callable[[Any], dict[str, Any]]]
# The newest that is read. Raised when a published data set could no longer be read by
# an older krylax, or would be read as another one; a family says which is its own.
FORMAT_VERSION = 2


def record(value: Any, recorders: Recorders = MappingProxyType({})) -> Any:
    """Return an object's type and fields as plain JSON values.

    Args:
        value: a dataclass (an Equinox module is one), a named function, a number, a
            string, None, or a tuple or list of these.
        recorders: what makes the fields of the record of other classes.

    Raises:
        ValueError: anything else; it could not be compared with a stored one.
    """
    if type(value) in recorders:
        return {"type": type(value).__name__, **recorders[type(value)](value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in _fields(value)]
        fields = {name: record(getattr(value, name), recorders) for name in names}
        return {"type": type(value).__name__, **fields}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [record(item, recorders) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    name = getattr(value, "__qualname__", "<")
    if "<" not in name:
        return f"{value.__module__}.{name}"
    raise ValueError(
        f"a data set's configuration holds numbers, strings, dataclasses and named "
        f"functions, got {value!r}: it could not be recorded; define it by name in a "
        "module"
    )


def configuration_hash(configuration: dict[str, Any]) -> str:
    """Return the SHA-256 of the configuration's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(configuration)).hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Return one line `key: theirs -> ours` per entry that differs."""
    left, right = _flat(theirs), _flat(ours)
    keys = [*left, *(key for key in right if key not in left)]
    pairs = [(key, left.get(key, "absent"), right.get(key, "absent")) for key in keys]
    return [f"{key}: {a} -> {b}" for key, a, b in pairs if a != b]


def record_text(stored: Any) -> str:
    """Return a record as a constructor call, for people to read."""
    if not isinstance(stored, dict):
        return str(stored)
    fields = [f"{key}={record_text(v)}" for key, v in stored.items() if key != "type"]
    return f"{stored['type']}({', '.join(fields)})"


def family_from_record(stored: dict[str, Any], format_version: int) -> AbstractFamily:
    """Return the family whose record was stored.

    Only classes that the program has imported are considered: a data set never names
    code to be loaded.

    Args:
        stored: the record.
        format_version: of the data set that holds it.

    Raises:
        ValueError: no such family is known.
    """
    all_known = list(_subclasses(AbstractFamily))
    known = {
        cls.__name__: cls for cls in all_known if cls.format_version == format_version
    }
    if stored["type"] not in known:
        names = sorted({cls.__name__ for cls in all_known if hasattr(cls, "name")})
        raise ValueError(
            f"the data set's family {stored['type']!r} is not known in format "
            f"{format_version} (known: {', '.join(names)}): import the module that "
            "defines it first"
        )
    try:
        return from_record(stored, known)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(
            f"the data set's family {record_text(stored)} cannot be made: {error}"
        ) from error


def from_record(stored: Any, known: Mapping[str, Any]) -> Any:
    """Return the object whose record was stored, made of the classes that are known.

    Raises:
        ValueError: one of its types is not known.
    """
    if isinstance(stored, list):
        return tuple(from_record(item, known) for item in stored)
    if not isinstance(stored, dict):
        return stored
    fields = {k: from_record(v, known) for k, v in stored.items() if k != "type"}
    if stored["type"] not in known:
        raise ValueError(
            f"{stored['type']!r} is not known to krylax; import the module that "
            "defines it first, such as krylax.learned.conjugate_directions"
        )
    return known[stored["type"]](**fields)


def _subclasses(cls: type) -> Iterator[type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _fields(value: Any) -> list[Any]:
    # What all families share comes last, what was added is left out at its default.
    fields = [
        field
        for field in dataclasses.fields(value)
        if field.init
        and not (
            field.metadata.get("is_recorded") == "unless default"
            and getattr(value, field.name) == field.default
        )
    ]
    return sorted(fields, key=lambda field: bool(field.kw_only))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: json.dumps(value)}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flat(item, f"{prefix}.{key}" if prefix else key))
    return flat
