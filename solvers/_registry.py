"""Learned operators that a data set's record can name.

Weights are no part of a record: a network is recorded by what identifies it, and made
from that again. The packages that have such operators register them on import, so that
nothing here knows them.
"""

from collections.abc import Callable, Mapping
from typing import Any

_RECORDERS: dict[type, Callable[[Any], dict[str, Any]]] = {}
_MAKERS: dict[str, Callable[..., Any]] = {}


def register(
    cls: type,
    recorder: Callable[[Any], dict[str, Any]] | None = None,
    maker: Callable[..., Any] | None = None,
) -> None:
    """Let records name a class.

    Args:
        cls: the class.
        recorder: returns the fields of its record, by default those of the dataclass.
        maker: returns the object of such fields, by default the class.
    """
    if recorder is not None:
        _RECORDERS[cls] = recorder
    _MAKERS[cls.__name__] = cls if maker is None else maker


def recorders() -> Mapping[type, Callable[[Any], dict[str, Any]]]:
    """Return what makes the fields of a record, by class."""
    return _RECORDERS


def makers() -> Mapping[str, Callable[..., Any]]:
    """Return what makes an object of the fields of its record, by name of the class."""
    return _MAKERS
