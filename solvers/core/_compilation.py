"""Compiling functions of modules: arrays are traced, everything else is static.

The same split as `equinox.filter_jit`, in the few lines that a solve needs: sorting out
the arguments of a 10 x 10 system takes longer than solving it, 75 against 140 µs of
which the computation takes 20.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import jax
import numpy as np

from ...operators._operator import require_operator


def compile_modules(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, compiled once per structure of its positional arguments."""

    @partial(jax.jit, static_argnums=0)
    def from_leaves(static: tuple[Any, ...], arrays: list[Any]) -> Any:
        tree, _, values = static
        remaining = iter(arrays)
        leaves = [next(remaining) if value is _ARRAY else value for value in values]
        return function(*tree.unflatten(leaves))

    @wraps(function)
    def compiled(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        arrays = [leaf for leaf in leaves if isinstance(leaf, _ARRAYS)]
        values = [_ARRAY if isinstance(leaf, _ARRAYS) else leaf for leaf in leaves]
        # Equal values of different types, such as 1 and 1.0, are different programs.
        types = tuple(map(type, values))
        return from_leaves((tree, types, tuple(values)), arrays)

    return compiled


def compile_factory(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `__call__` of a factory, compiled, which takes linear operators."""
    compiled = compile_modules(make)

    @wraps(make)
    def checked(self: Any, A: Any) -> Any:
        require_operator(A)
        return compiled(self, A)

    return checked


_ARRAY = object()
_ARRAYS = (jax.Array, np.ndarray, float)
"""A number is one of them: a tolerance of another value is the same program."""
