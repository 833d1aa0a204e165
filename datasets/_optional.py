"""Packages that only some users need, imported where they are used."""

from importlib import import_module
from typing import Any


def require(module: str, extra: str) -> Any:
    """Return an optional module.

    Args:
        module: its name.
        extra: the extra of krylax that installs it.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{module} is not installed: pip install 'krylax[{extra}]'"
        ) from error
