"""Families of linear systems and PDEs in JAX: fast, certified, differentiable.

The four namespaces are loaded on first use, so that the command line can print its
help without importing JAX (SPEC 1 of scientific-python.org).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import datasets as datasets
    from . import learned as learned
    from . import operators as operators
    from . import solvers as solvers
    from .solvers import Solution as Solution
    from .solvers import Status as Status
    from .solvers import solve as solve

    __version__: str

_NAMESPACES = ("datasets", "learned", "operators", "solvers")
_FROM_SOLVERS = ("Solution", "Status", "solve")


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return import_module(f"krylax.{name}")
    if name == "__version__":
        # It takes 50 ms, in which the command could not answer to Ctrl-C.
        return import_module("importlib.metadata").version("krylax")
    if name in _FROM_SOLVERS:
        return getattr(import_module("krylax.solvers"), name)
    raise AttributeError(f"module 'krylax' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*_NAMESPACES, *_FROM_SOLVERS, "__version__"])
